from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hmdrn_runtime.bundle.bundle import MANIFEST_NAME, compute_sha256, open_bundle
from hmdrn_runtime.bundle.manifest import Fusion, Graph, Input, Level, Manifest, Network, Tensor
from hmdrn_runtime.errors import BundleError


def graph(file: str) -> Graph:
    return Graph(file, "fp32", "onnx", 18, ("onnxruntime",), (Tensor("x", "float32", ("n", 3)),), ())


SMALL = Manifest(
    name="small",
    network=Network(
        "ab" * 32, "conv4", "ridge", (Level("high", 4, 3),), Fusion({"high": 1.0}, 9.5, 12.0), "gram"
    ),
    input=Input(84, 92, "crop", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    variants={
        "fp32": {"solve": graph("graphs/fp32/solve.onnx"), "classify": graph("graphs/fp32/classify.onnx")},
        "fp16": {"solve": graph("graphs/fp32/solve.onnx")},
    },
    files={},
)
CONTENTS = {
    "graphs/fp32/solve.onnx": b"not really a graph",
    "graphs/fp32/classify.onnx": b"neither is this",
    "graphs/fp32/constants.bin": bytes(range(64)),
}


def write(folder: Path, manifest: Manifest = SMALL, **names: str) -> Path:
    """A bundle of made-up files; `names` are digests to claim besides, by path."""
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENTS.items()}
    for name, content in CONTENTS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    files = dict(manifest.files) or digests
    (folder / MANIFEST_NAME).write_text(
        replace(manifest, files={**files, **names}).to_json(), encoding="utf-8"
    )
    return folder


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return write(tmp_path / "small.hmdrn")


def refused(folder: Path, match: str, **options: str) -> None:
    with pytest.raises(BundleError, match=match) as caught:
        open_bundle(folder, **options)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_bundle_that_is_whole_opens_and_shows_its_graphs(small):
    bundle = open_bundle(small)
    assert (bundle.path, bundle.variant, bundle.manifest.name) == (small, "fp32", "small")
    assert bundle.graph("solve") == SMALL.variants["fp32"]["solve"]
    assert bundle.graph_path("solve").read_bytes() == CONTENTS["graphs/fp32/solve.onnx"]


def test_an_exported_bundle_opens_and_says_what_it_is(exported):
    bundle = open_bundle(exported("conv4", "ridge"))
    network = bundle.manifest.network
    assert (network.backbone, network.head, network.statistics) == ("conv4", "ridge", "gram")
    assert network.levels == (Level("high", 64, 25), Level("mid", 64, 100))
    assert network.packed == 2 * 2080
    assert set(bundle.manifest.variants["fp32"]) == {"enroll", "solve", "classify", "encode", "explain"}
    on_disk = {p.relative_to(bundle.path).as_posix() for p in bundle.path.rglob("*") if p.is_file()}
    assert set(bundle.manifest.files) == on_disk - {MANIFEST_NAME}
    assert Manifest.from_json(bundle.manifest.to_json(), "m") == bundle.manifest


def test_the_path_may_be_a_string_and_may_start_at_home(small, monkeypatch):
    assert open_bundle(str(small)).path == small
    monkeypatch.setenv("HOME", str(small.parent))
    assert open_bundle("~/small.hmdrn").path == small


def test_another_variant_has_its_own_graphs(small):
    bundle = open_bundle(small, "fp16")
    assert bundle.variant == "fp16"
    with pytest.raises(BundleError, match=r"no graph 'classify' in variant 'fp16': it has solve$"):
        bundle.graph("classify")


def test_an_unknown_variant_is_refused_with_the_existing_ones(small):
    refused(small, "no variant 'int8': it has fp16, fp32", variant="int8")


def test_an_unknown_graph_is_refused_with_the_existing_ones(small):
    with pytest.raises(BundleError, match="no graph 'train' in variant 'fp32': it has "):
        open_bundle(small).graph_path("train")


@pytest.mark.parametrize("name", CONTENTS)
def test_any_flipped_byte_in_any_file_is_refused_and_named(small, name):
    content = CONTENTS[name]
    for position in range(len(content)):
        for flip in (0x01, 0x80):
            damaged = bytearray(content)
            damaged[position] ^= flip
            (small / name).write_bytes(damaged)
            refused(small, f"{name} was changed or damaged: .*export the bundle again or copy it anew")
    (small / name).write_bytes(content)
    assert open_bundle(small).manifest.name == "small"


def test_a_changed_byte_in_any_exported_file_is_refused_and_named(exported, tmp_path):
    folder = tmp_path / "copy.hmdrn"
    shutil.copytree(exported("conv4", "ridge"), folder)
    rng = np.random.default_rng(0)
    names = list(open_bundle(folder).manifest.files)
    for name in names:
        content = (folder / name).read_bytes()
        damaged = bytearray(content)
        damaged[rng.integers(len(content))] ^= 1
        (folder / name).write_bytes(damaged)
        refused(folder, f"{name} was changed or damaged")
        (folder / name).write_bytes(content)
    assert set(open_bundle(folder).manifest.files) == set(names)


@pytest.mark.parametrize("name", CONTENTS)
def test_a_file_made_longer_or_shorter_is_refused_and_named(small, name):
    for content in (CONTENTS[name] + b"\0", CONTENTS[name][:-1], b""):
        (small / name).write_bytes(content)
        refused(small, f"{name} was changed or damaged")


@pytest.mark.parametrize("name", CONTENTS)
def test_a_missing_file_is_named(small, name):
    (small / name).unlink()
    refused(small, f"is incomplete: cannot read {name} \\(No such file or directory\\)")


def test_a_folder_in_the_place_of_a_file_is_refused(small):
    (small / "graphs/fp32/constants.bin").unlink()
    (small / "graphs/fp32/constants.bin").mkdir()
    refused(small, "is incomplete: cannot read graphs/fp32/constants.bin")


def test_a_missing_manifest_is_named(small):
    (small / MANIFEST_NAME).unlink()
    refused(small, "is not a bundle: cannot read its manifest.json")


def test_a_folder_named_like_the_manifest_is_refused(small):
    (small / MANIFEST_NAME).unlink()
    (small / MANIFEST_NAME).mkdir()
    refused(small, "is not a bundle: cannot read its manifest.json")


def test_a_missing_bundle_is_refused_with_the_command_to_make_one(tmp_path):
    refused(tmp_path / "none.hmdrn", "no bundle at .*: make one with hmdrn-export")
    (tmp_path / "file.hmdrn").write_bytes(b"zip?")
    refused(tmp_path / "file.hmdrn", r"file\.hmdrn is a file, and a bundle is a folder")


def test_a_manifest_edited_by_hand_is_refused(small):
    path = small / MANIFEST_NAME
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"scale": 9.5', '"scale": 9.25'), encoding="utf-8")
    refused(small, "manifest.json was changed after it was written")
    path.write_text(text + " ", encoding="utf-8")
    refused(small, "manifest.json was changed after it was written")
    path.write_text(text, encoding="utf-8")
    assert open_bundle(small).manifest.network.fusion.scale == 9.5


def test_replacing_a_file_and_its_digest_is_still_noticed(small):
    name = "graphs/fp32/solve.onnx"
    (small / name).write_bytes(b"another graph")
    text = (small / MANIFEST_NAME).read_text(encoding="utf-8")
    forged = text.replace(
        hashlib.sha256(CONTENTS[name]).hexdigest(), hashlib.sha256(b"another graph").hexdigest()
    )
    assert forged != text
    (small / MANIFEST_NAME).write_text(forged, encoding="utf-8")
    refused(small, "manifest.json was changed after it was written")


def test_a_manifest_that_is_not_text_is_refused(small):
    (small / MANIFEST_NAME).write_bytes(b"\xff\xfe\x00")
    refused(small, "manifest.json is damaged: not UTF-8; export the bundle again")


def test_a_newer_format_asks_for_a_newer_sdk(small):
    text = (small / MANIFEST_NAME).read_text(encoding="utf-8")
    (small / MANIFEST_NAME).write_text(
        text.replace('"format_version": 1', '"format_version": 2'), encoding="utf-8"
    )
    refused(small, "format version 2, this SDK reads 1: update hmdrn")


@pytest.mark.parametrize("name", ["../secret", "graphs/../../secret", "graphs/fp32/../../../secret"])
def test_files_outside_the_bundle_are_refused_even_with_their_digest(tmp_path, name):
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    folder = write(tmp_path / "evil.hmdrn", **{name: hashlib.sha256(b"secret").hexdigest()})
    refused(folder, "names .*secret', outside the bundle")


def test_an_absolute_path_is_refused_even_with_its_digest(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    folder = write(tmp_path / "evil.hmdrn", **{str(secret): hashlib.sha256(b"secret").hexdigest()})
    refused(folder, "outside the bundle")


def test_a_graph_without_a_digest_is_refused(tmp_path):
    known = {"graphs/fp32/solve.onnx": hashlib.sha256(CONTENTS["graphs/fp32/solve.onnx"]).hexdigest()}
    folder = write(tmp_path / "b.hmdrn", replace(SMALL, files=known))
    refused(folder, "no digest for graphs/fp32/classify.onnx")
    assert set(open_bundle(folder, "fp16").manifest.variants["fp16"]) == {"solve"}


def test_an_impossible_file_name_is_refused(tmp_path):
    refused(write(tmp_path / "b.hmdrn", **{"graphs/\0": "0" * 64}), "is damaged|is incomplete")


def test_files_that_the_manifest_does_not_list_are_ignored(small):
    (small / "notes.txt").write_text("mine")
    assert open_bundle(small).manifest.name == "small"


def test_the_manifest_is_plain_json(small):
    assert json.loads((small / MANIFEST_NAME).read_bytes())["name"] == "small"


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3_000_001])
def test_a_digest_does_not_depend_on_how_a_file_is_read(tmp_path, size):
    content = np.random.default_rng(size).bytes(size)
    (tmp_path / "f").write_bytes(content)
    assert compute_sha256(tmp_path / "f") == hashlib.sha256(content).hexdigest()


def test_the_digest_of_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        compute_sha256(Path(os.fspath(tmp_path)) / "none")


def test_a_manifest_over_the_limit_is_refused_unread(small):
    (small / MANIFEST_NAME).write_text('{"a": [' + "[]," * 333_333 + "[]]}")
    refused(small, "is damaged, with over 1000000 bytes")
