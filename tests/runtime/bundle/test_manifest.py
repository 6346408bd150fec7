from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmdrn_runtime.bundle.manifest import (
    FORMAT_VERSION,
    Fusion,
    Graph,
    Input,
    Level,
    Manifest,
    Network,
    Tensor,
    read_network,
)
from hmdrn_runtime.errors import BundleError, GalleryError, HmdrnError
from hmdrn_runtime.io.json_document import JsonObject

NETWORK = Network(
    fingerprint="ab" * 32,
    backbone="conv4",
    head="ridge",
    levels=(Level("high", 4, 3), Level("mid", 2, 12)),
    fusion=Fusion({"high": 1.0625, "mid": 0.25}, 9.5, 12.0),
    statistics="gram",
)
GRAPH = Graph(
    file="graphs/fp32/solve.onnx",
    precision="fp32",
    dialect="onnx",
    opset=18,
    backends=("onnxruntime", "tensorrt"),
    inputs=(Tensor("gram", "float32", ("classes", 13)), Tensor("shots", "float32", ("classes",))),
    outputs=(Tensor("operator", "float32", ("classes", 13)),),
)
MANIFEST = Manifest(
    name="käfer",
    network=NETWORK,
    input=Input(84, 92, "crop", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    variants={"fp32": {"solve": GRAPH}, "fp16": {"solve": replace(GRAPH, file="graphs/fp16/solve.onnx")}},
    files={"graphs/fp32/solve.onnx": "01" * 32, "graphs/fp16/solve.onnx": "02" * 32},
    model={"licence": "CC0-1.0", "metrics": {"accuracy": 83.1}},
    provenance={"hmdrn_version": "0.1.0"},
    verification={"fp32": {"failures": []}},
)


def sealed(values: dict[str, Any]) -> str:
    """A manifest's text with the seal that its values call for, made by hand."""
    body = {key: value for key, value in values.items() if key != "sha256"}

    def text(content: dict[str, Any]) -> str:
        return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    return text({**body, "sha256": hashlib.sha256(text(body).encode()).hexdigest()})


def values() -> dict[str, Any]:
    return json.loads(MANIFEST.to_json())


def entries(node: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The way to every entry of every object, those that say what they like left out."""
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        here = (*path, key)
        if here[0] in ("sha256", "format_version"):
            continue
        if isinstance(node, dict):
            yield here
        if here[0] not in ("model", "provenance", "verification"):
            yield from entries(child, here)


def at(node: Any, path: tuple[str | int, ...]) -> Any:
    for key in path:
        node = node[key]
    return node


ENTRIES = list(entries(values()))
# Entries whose names are free: without one of them the manifest is another, but a whole one.
# Bundles of before half precision and INT8 have no rules and no calibration.
NAMED_FREELY = {("variants", "fp32"), ("variants", "fp16"), ("precision_rules",), ("calibration",)} | {
    path for path in ENTRIES if path[0] in ("files", "variants") and len(path) in (2, 3)
}


def refused(text: str, match: str) -> None:
    with pytest.raises(BundleError, match=match) as caught:
        Manifest.from_json(text, "birds.hmdrn/manifest.json")
    assert "birds.hmdrn/manifest.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_written_is_read_as_it_was():
    assert Manifest.from_json(MANIFEST.to_json(), "m") == MANIFEST


def test_the_seal_is_the_digest_of_everything_else():
    assert MANIFEST.to_json() == sealed(values())


@settings(deadline=None)
@given(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.floats(allow_nan=False, allow_infinity=False),
    st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.integers() | st.none(), max_size=3),
)
def test_any_name_figure_and_note_survives_writing_and_reading(name, scale, note):
    fusion = replace(NETWORK.fusion, scale=scale)
    manifest = replace(MANIFEST, name=name, network=replace(NETWORK, fusion=fusion), provenance=note)
    assert Manifest.from_json(manifest.to_json(), "m") == manifest


@pytest.mark.parametrize(
    ("level", "packed"),
    [(Level("high", 64, 25), 2080), (Level("h", 640, 25), 205_120), (Level("m", 1, 1), 1)],
)
def test_the_packed_size_of_a_level_is_that_of_its_triangle(level, packed):
    assert level.packed == packed == sum(range(level.channels + 1))


def test_the_packed_size_of_a_network_is_that_of_all_its_levels():
    assert NETWORK.packed == 10 + 3


@pytest.mark.parametrize("path", ENTRIES, ids=lambda path: ".".join(map(str, path)))
def test_a_value_changed_by_hand_is_seen(path):
    changed = values()
    at(changed, path[:-1])[path[-1]] = "changed"
    text = json.dumps(changed, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    refused(text, "was changed after it was written: export the bundle again")


@pytest.mark.parametrize("path", ENTRIES, ids=lambda path: ".".join(map(str, path)))
def test_an_entry_removed_by_hand_is_seen_and_missed_even_under_a_new_seal(path):
    changed = values()
    del at(changed, path[:-1])[path[-1]]
    text = json.dumps(changed, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    refused(text, "was changed after it was written: export the bundle again")
    if path not in NAMED_FREELY:
        refused(sealed(changed), f"is damaged: no entry '{path[-1]}'")


@pytest.mark.parametrize("path", ENTRIES, ids=lambda path: ".".join(map(str, path)))
def test_a_value_of_the_wrong_type_is_refused_and_named_even_under_a_new_seal(path):
    for wrong in (None, True):
        changed = values()
        at(changed, path[:-1])[path[-1]] = wrong
        refused(sealed(changed), f"is damaged: (.*{path[-1]}|expected an object)")


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text + "\n",
        lambda text: text.rstrip("\n"),
        lambda text: " " + text,
        lambda text: text.replace('"name": ', '"name":  ', 1),
        lambda text: text.replace("  ", "\t", 1),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("ä", "\\u00e4"),
        lambda text: json.dumps(json.loads(text)),
        lambda text: text.replace('"opset": 18', '"opset": 18.0', 1),
    ],
)
def test_a_manifest_that_means_the_same_in_other_bytes_is_refused(change):
    text = MANIFEST.to_json()
    assert change(text) != text
    assert json.loads(change(text)) == json.loads(text)
    refused(change(text), "was changed after it was written")


def test_an_entry_given_twice_is_refused():
    text = MANIFEST.to_json()
    twice = text.replace('  "name": ', '  "name": "other",\n  "name": ', 1)
    assert json.loads(twice) == json.loads(text)
    refused(twice, "was changed after it was written")


def test_no_flip_of_a_single_byte_goes_unnoticed():
    data = MANIFEST.to_json().encode()
    unseen = []
    for position in range(len(data)):
        for flip in (0x01, 0x20):
            damaged = bytearray(data)
            damaged[position] ^= flip
            try:
                text = damaged.decode()
            except UnicodeDecodeError:
                continue
            try:
                Manifest.from_json(text, "m")
            except BundleError:
                continue
            unseen.append((position, flip))
    assert unseen == []


def test_a_cut_manifest_is_refused():
    text = MANIFEST.to_json()
    for length in range(0, len(text) - 1, 97):
        refused(text[:length], "is damaged: not valid JSON|was changed")


def test_a_newer_manifest_asks_for_a_newer_sdk_and_an_older_one_for_a_new_export():
    newer = {**values(), "format_version": FORMAT_VERSION + 1, "an_entry_of_the_future": 1}
    refused(
        sealed(newer), f"format version {FORMAT_VERSION + 1}, this SDK reads {FORMAT_VERSION}: update hmdrn"
    )
    older = {**values(), "format_version": FORMAT_VERSION - 1}
    refused(sealed(older), f"format version {FORMAT_VERSION - 1}, .*: export the bundle again")


@pytest.mark.parametrize("version", ["1", 1.0, None, True])
def test_a_format_version_that_is_no_int_is_damage(version):
    refused(sealed({**values(), "format_version": version}), "'format_version' is .*, expected int")


@pytest.mark.parametrize("seal", [None, 3, "", "0" * 64])
def test_a_manifest_without_its_own_seal_is_refused(seal):
    text = json.dumps({**values(), "sha256": seal}, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    refused(text, "was changed after it was written|'sha256' is .*, expected str")


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", '"manifest"', "{", "\0"])
def test_what_is_no_manifest_is_refused(text):
    refused(text, "is damaged")


def test_an_unknown_head_is_refused_by_name():
    changed = values()
    changed["network"]["head"] = "cosine"
    refused(sealed(changed), "head 'cosine'")


def test_a_network_without_levels_is_refused():
    changed = values()
    changed["network"]["levels"] = []
    refused(sealed(changed), "0 levels")


def test_an_unknown_preprocessing_is_refused_by_name():
    changed = values()
    changed["input"]["preprocessing"] = "stretch"
    refused(sealed(changed), "preprocessing 'stretch', which this SDK does not know")


def test_a_fusion_without_a_weight_for_a_level_is_refused():
    changed = values()
    del changed["network"]["fusion"]["weights"]["mid"]
    refused(sealed(changed), "no entry 'mid'")


def test_a_network_is_read_from_a_gallery_too():
    document = JsonObject(values()["network"], "gallery x: network", GalleryError)
    assert read_network(document) == NETWORK


def with_scale(number: str) -> str:
    """The manifest with a number written by hand, which JSON's writer would not write, and any seal."""
    text = MANIFEST.to_json()
    assert '"scale": 9.5' in text
    return text.replace('"scale": 9.5', f'"scale": {number}')


@pytest.mark.parametrize("number", ["NaN", "Infinity", "9e999"])
def test_a_number_that_is_not_finite_is_refused(number):
    refused(with_scale(number), "is damaged|was changed")


def test_half_a_character_is_refused():
    refused(MANIFEST.to_json().replace("käfer", "\\ud800"), "is damaged|was changed")


@pytest.mark.parametrize("depth", [400, 900, 1500, 5000, 100_000])
def test_deep_nesting_is_refused(depth):
    nested = "[" * depth + "]" * depth
    refused(MANIFEST.to_json().replace('"scale": 9.5', f'"scale": {nested}'), "is damaged|was changed")


def test_an_unknown_head_in_a_gallery_is_an_error_of_the_gallery():
    with pytest.raises(GalleryError):
        read_network(
            JsonObject({**values()["network"], "head": "cosine"}, "gallery x: network", GalleryError)
        )


@pytest.mark.parametrize(
    "path",
    [("input", "mean", 0), ("input", "std", 2), ("variants", "fp32", "solve", "inputs", 0, "shape", 1)],
)
def test_an_element_of_the_wrong_type_is_refused(path):
    changed = values()
    at(changed, path[:-1])[path[-1]] = None
    with pytest.raises(HmdrnError):
        Manifest.from_json(sealed(changed), "m")


def test_the_sample_is_not_changed_by_reading_it():
    before = copy.deepcopy(values())
    Manifest.from_json(MANIFEST.to_json(), "m")
    assert values() == before
