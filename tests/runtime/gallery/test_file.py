from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import struct
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gallery_files import NETWORKS, RIDGE, contents, header, photo, refused, rewritten, sample
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save, save_file

from hmdrn_runtime.errors import EnrollmentError, GalleryError
from hmdrn_runtime.gallery.file import load_gallery, previous_path, save_gallery
from hmdrn_runtime.gallery.gallery import Gallery
from hmdrn_runtime.gallery.labels import clean_label


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "site.gallery"


@pytest.mark.parametrize("name", NETWORKS)
def test_a_gallery_is_read_as_it_was_written_to_the_last_bit(path, name):
    gallery = sample(NETWORKS[name])
    save_gallery(gallery, path)
    assert contents(load_gallery(path)) == contents(gallery)


def test_an_empty_gallery_is_read_as_it_was_written(path):
    for network in NETWORKS.values():
        save_gallery(Gallery(network, generation=7), path)
        assert contents(load_gallery(path)) == contents(Gallery(network, generation=7))


def is_label(text: str) -> bool:
    """Whether a gallery takes the text as a label."""
    try:
        clean_label(text)
    except EnrollmentError:
        return False
    return True


LABELS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=40).filter(is_label)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(LABELS, st.integers(0, 9)), max_size=6),
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=9, max_size=9),
)
def test_any_labels_and_figures_survive_writing_and_reading(path, plan, figures):
    gallery = Gallery(RIDGE)
    for label, seed in plan:
        array = np.array(figures, np.float32)
        gallery.add(label, [replace(photo(RIDGE, seed), arrays={"support": array, "query": -array})])
    save_gallery(gallery, path)
    found = load_gallery(path)
    assert contents(found) == contents(gallery)
    assert set(found) == {clean_label(label) for label, _ in plan}


def test_a_gallery_that_was_read_goes_on_as_the_one_that_was_written(path):
    gallery = sample()
    save_gallery(gallery, path)
    found = load_gallery(path)
    for one in (gallery, found):
        one.add("wasp", [photo(RIDGE, 8)])
        one.forget("ant", photo(RIDGE, 3).digest[:8])
    assert contents(found) == contents(gallery)


def test_equal_galleries_are_equal_files(tmp_path):
    other = Gallery(RIDGE)
    for label, seed, variant in reversed([("ant", 0, "fp16"), *(("Zimtkäfer", i, "fp32") for i in range(3))]):
        other.add(label, [photo(RIDGE, seed, variant)])
    other.add("ant", [photo(RIDGE, 3)])
    one = Gallery(RIDGE, sample().species, other.generation, other.history)
    save_gallery(one, tmp_path / "one")
    save_gallery(other, tmp_path / "other")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_the_file_is_one_that_any_reader_of_safetensors_can_read(path):
    save_gallery(sample(), path)
    tensors = load_file(path)
    assert {name: (a.dtype, a.shape) for name, a in tensors.items()} == dict.fromkeys(
        ("support", "query"), (np.float32, (5, 9))
    ) | {"sketches": (np.uint8, (5, 64))}
    assert header(path)["network"] == json.loads(json.dumps(asdict(RIDGE)))
    assert [s["label"] for s in header(path)["species"]] == ["Zimtkäfer", "ant"]


def test_the_path_may_be_a_string_and_may_start_at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    save_gallery(sample(), "~/site.gallery")
    assert contents(load_gallery("~/site.gallery")) == contents(sample())
    assert names(tmp_path) == ["site.gallery"]


def test_the_generation_before_is_kept_beside_the_new_one_and_can_be_read(path):
    first, second, third = (sample(first=turn) for turn in range(3))
    save_gallery(first, path)
    assert names(path.parent) == ["site.gallery"]
    save_gallery(second, path)
    assert contents(load_gallery(path)) == contents(second)
    assert contents(load_gallery(previous_path(path))) == contents(first)
    save_gallery(third, path)
    assert contents(load_gallery(path)) == contents(third)
    assert contents(load_gallery(previous_path(path))) == contents(second)
    assert names(path.parent) == ["site.gallery", "site.gallery.previous"]


def test_the_generation_before_is_a_file_of_its_own(path):
    save_gallery(sample(first=0), path)
    save_gallery(sample(first=1), path)
    path.write_bytes(b"overwritten in place")
    assert contents(load_gallery(previous_path(path))) == contents(sample(first=0))


def test_a_damaged_file_does_not_take_the_place_of_the_generation_before(path):
    save_gallery(sample(first=0), path)
    save_gallery(sample(first=1), path)
    path.write_bytes(b"damaged")
    save_gallery(sample(first=2), path)
    assert contents(load_gallery(path)) == contents(sample(first=2))
    assert contents(load_gallery(previous_path(path))) == contents(sample(first=0))
    assert path.with_name("site.gallery.damaged").read_bytes() == b"damaged"


@pytest.mark.parametrize("missing", [PermissionError, OSError(errno.EOPNOTSUPP, "no links on FAT")])
def test_without_hard_links_the_generation_before_is_kept_too(path, monkeypatch, missing):
    def no_link(*_: object, **__: object) -> None:
        raise missing

    monkeypatch.setattr(os, "link", no_link)
    for turn in range(3):
        save_gallery(sample(first=turn), path)
    assert contents(load_gallery(path)) == contents(sample(first=2))
    assert contents(load_gallery(previous_path(path))) == contents(sample(first=1))
    assert names(path.parent) == ["site.gallery", "site.gallery.previous"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes")
@pytest.mark.parametrize("links", [True, False], ids=["hard links", "no hard links"])
def test_a_private_gallery_and_the_generation_before_stay_private(path, monkeypatch, links):
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "as Linux refuses links to other users' files")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    save_gallery(sample(first=0), path)
    path.chmod(0o600)
    for turn in (1, 2):
        save_gallery(sample(first=turn), path)
        assert {stat.S_IMODE(file.stat().st_mode) for file in (path, previous_path(path))} == {0o600}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes")
def test_a_new_gallery_with_thumbnails_is_for_its_user_alone(path):
    gallery = sample()
    gallery.add("seen", [replace(photo(RIDGE, 77), thumbnail=b"a small JPEG")])
    save_gallery(gallery, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)
    gallery.add("seen", [replace(photo(RIDGE, 78), thumbnail=b"another")])
    save_gallery(gallery, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def disk_full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_leaves_the_old_gallery_and_nothing_else(path, monkeypatch):
    save_gallery(sample(first=0), path)
    before = path.read_bytes()
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", disk_full)
        with pytest.raises(
            GalleryError, match=r"cannot write gallery .*No space left on device; the file stays"
        ):
            save_gallery(sample(first=1), path)
    assert path.read_bytes() == before
    assert contents(load_gallery(path)) == contents(sample(first=0))
    assert not [name for name in names(path.parent) if name.endswith(".part")]


def test_a_disk_too_full_for_a_copy_leaves_only_the_old_gallery(path, monkeypatch):
    save_gallery(sample(first=0), path)
    monkeypatch.setattr(os, "link", disk_full)
    monkeypatch.setattr(shutil, "copyfile", disk_full)
    with pytest.raises(GalleryError, match="No space left on device"):
        save_gallery(sample(first=1), path)
    assert contents(load_gallery(path)) == contents(sample(first=0))
    assert names(path.parent) == ["site.gallery"]


def test_a_full_disk_where_there_was_no_gallery_leaves_nothing(path, monkeypatch):
    monkeypatch.setattr(os, "fsync", disk_full)
    with pytest.raises(GalleryError, match=r"No space left on device$"):
        save_gallery(sample(), path)
    assert names(path.parent) == []


def test_a_full_disk_leaves_the_generation_before_too(path, monkeypatch):
    save_gallery(sample(first=0), path)
    save_gallery(sample(first=1), path)
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", disk_full)
        with pytest.raises(GalleryError, match="the file stays as it was"):
            save_gallery(sample(first=2), path)
    assert contents(load_gallery(path)) == contents(sample(first=1))
    assert contents(load_gallery(previous_path(path))) == contents(sample(first=0))


def test_saving_after_a_full_disk_leaves_no_third_file(path, monkeypatch):
    save_gallery(sample(first=0), path)
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", disk_full)
        with pytest.raises(GalleryError, match="No space left"):
            save_gallery(sample(first=1), path)
    save_gallery(sample(first=2), path)
    assert names(path.parent) == ["site.gallery", "site.gallery.previous"]


@pytest.mark.parametrize("place", ["none/site.gallery", "file/site.gallery", "folder"])
def test_a_place_that_cannot_be_written_is_named(tmp_path, place):
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(GalleryError, match="cannot write gallery ") as caught:
        save_gallery(sample(), tmp_path / place)
    assert str(tmp_path / place) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "what was there" not in str(caught.value)
    assert names(tmp_path) == ["file", "folder"]
    assert names(tmp_path / "folder") == []


def test_a_missing_gallery_is_said_so(path):
    refused(path, "no gallery at .*: enroll species first, or check the path")
    path.mkdir()
    refused(path, "is a folder; give the path of a gallery file")
    (path / "manifest.json").write_text("{}")
    refused(path, "is a bundle; give the path of a gallery file")


def test_an_empty_path_is_no_gallery():
    with pytest.raises(GalleryError, match="is a folder; give the path of a gallery file"):
        load_gallery("")
    with pytest.raises(GalleryError, match="is a folder; give the path of a gallery file"):
        save_gallery(sample(), "")


def read_or_refused(path: Path) -> dict[str, Any] | None:
    """What a gallery holds; None where it is refused as it should be."""
    try:
        return contents(load_gallery(path))
    except GalleryError:
        return None


def test_a_flip_of_any_byte_is_refused_or_changes_nothing(path):
    save_gallery(sample(), path)
    data, whole = path.read_bytes(), contents(load_gallery(path))
    (size,) = struct.unpack("<Q", data[:8])
    rng = np.random.default_rng(0)
    # The length of the header, and a sample of the header and of the arrays.
    positions = {*range(8), *rng.integers(8, 8 + size, 300), *rng.integers(8 + size, len(data), 60)}
    refusals = 0
    for position in sorted(positions):
        damaged = bytearray(data)
        damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        found = read_or_refused(path)
        assert found in (None, whole), f"byte {position} of {len(data)}"
        refusals += found is None
    assert refusals > 0.9 * len(positions)


def test_a_flip_of_any_bit_of_the_statistics_is_refused(path):
    save_gallery(sample(), path)
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    for position in range(8 + size, len(data), 3):
        damaged = bytearray(data)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        refused(path, "is damaged: its SHA-256 does not match")


def test_a_byte_that_makes_a_number_endless_is_refused(path):
    save_gallery(sample(), path)
    data = path.read_bytes()
    position = data.index(b"9.876543") + 1
    path.write_bytes(data[:position] + b"e" + data[position + 1 :])
    refused(path, "damaged")


def test_a_cut_gallery_is_refused_wherever_it_was_cut(path):
    save_gallery(sample(), path)
    data = path.read_bytes()
    for length in [*range(32), *range(32, len(data), 41), len(data) - 1]:
        path.write_bytes(data[:length])
        refused(path, "is not a gallery, or a damaged one$")
    path.write_bytes(data + b"\0")
    refused(path, "is not a gallery, or a damaged one$")


def test_a_missing_folder_to_write_into_is_named_with_what_to_do(tmp_path):
    with pytest.raises(GalleryError) as caught:
        save_gallery(sample(), tmp_path / "none" / "site.gallery")
    assert f"the folder {tmp_path / 'none'} does not exist; make it first" in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 8,
        b"\xff" * 64,
        b"PK\x03\x04" + b"\0" * 60,
        b"not a gallery at all, but some text",
        b"\x80\x04.",
    ],
)
def test_what_is_no_safetensors_is_refused(path, data):
    path.write_bytes(data)
    refused(path, "is not a gallery, or a damaged one")


def test_what_is_something_else_is_named(tmp_path):
    save_file({"w": np.zeros(3, np.float32)}, tmp_path / "c", {"format": "hmdrn-checkpoint-1"})
    refused(tmp_path / "c", "is a checkpoint, not a gallery")
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff")
    refused(tmp_path / "a.jpg", "is a photo, not a gallery; give the path of a gallery file")


def test_another_safetensors_is_refused(path):
    save_file({"weights": np.zeros(3, np.float32)}, path)
    refused(path, "is a safetensors file, not a gallery")
    save_file({"weights": np.zeros(3, np.float32)}, path, {"format": "pt"})
    refused(path, "is a safetensors file, not a gallery")


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "{}", '{"format_version": "1"}'])
def test_a_safetensors_that_calls_itself_a_gallery_and_is_none_is_refused(path, text):
    save_file({"support": np.zeros((0, 9), np.float32)}, path, {"hmdrn_gallery": text})
    refused(path, "is damaged")


def test_a_refusal_points_to_the_generation_before_where_there_is_one(path):
    save_gallery(sample(first=0), path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(GalleryError) as alone:
        load_gallery(path)
    assert "the generation before" not in str(alone.value)
    save_gallery(sample(first=0), path)
    save_gallery(sample(first=1), path)
    path.write_bytes(path.read_bytes()[:-1])
    refused(path, f"; the generation before it is in {previous_path(path)}$")


def test_a_newer_format_asks_for_a_newer_sdk(path):
    save_gallery(sample(), path)
    rewritten(path, lambda metadata: metadata.update(format_version=3))
    refused(path, "has format version 3, this hmdrn reads 2: update hmdrn")


def write_raw(path: Path, metadata: str, arrays: dict[str, int]) -> None:
    """A safetensors file of metadata that may be anything, and arrays of zeros of so many bytes each."""
    header: dict[str, Any] = {"__metadata__": {"hmdrn_gallery": metadata}}
    end = 0
    for name, size in arrays.items():
        header[name] = {"dtype": "U8", "shape": [size], "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(end))


def test_metadata_too_large_for_their_arrays_are_refused_unparsed(path, monkeypatch):
    from hmdrn_runtime.gallery import file_format as gallery_format

    write_raw(path, "[]," * 3_000_000, {"a": 0})
    monkeypatch.setattr(gallery_format, "safe_open", None)
    refused(
        path, "is damaged: it has 90000.. bytes of metadata for 0 bytes of arrays, more than the limit of 8"
    )


def test_metadata_may_be_larger_beside_large_arrays(path):
    write_raw(path, "[]," * 3_000_000, {"a": 73_000_000})
    refused(path, "is damaged: not valid JSON")


def test_a_gallery_of_very_many_arrays_is_refused(path):
    write_raw(path, "{}", {f"a{i}": 0 for i in range(1000)})
    refused(path, "is damaged: 1000 arrays, over 16")


def test_more_species_than_photos_are_refused_before_any_is_looked_at(path):
    save_gallery(sample(), path)
    rewritten(path, lambda metadata: metadata.update(species=[{}] * 1000))
    refused(path, "is damaged: it has more species than rows in its arrays")


def test_a_file_sealed_by_hand_is_read(path):
    # Else the tests below could pass because of the checksum.
    save_gallery(sample(), path)
    rewritten(path, lambda metadata: metadata.update(generation=41))
    assert load_gallery(path).generation == 41


def with_entry(*way: str | int, value: object) -> Callable[[dict[str, Any]], None]:
    def change(metadata: dict[str, Any]) -> None:
        node: Any = metadata
        for key in way[:-1]:
            node = node[key]
        node[way[-1]] = value

    return change


@pytest.mark.parametrize(
    ("way", "value", "match"),
    [
        (("generation",), "2", "'generation' is str, expected int"),
        (("generation",), True, "'generation' is bool, expected int"),
        (("species",), {}, "'species' is dict, expected list"),
        (("species",), [], "no float32 array 'support' of shape"),
        (("species", 0), "moth", "expected an object"),
        (("species", 0, "label"), None, "'label' is NoneType, expected str"),
        (("species", 0, "label"), "ant", "species 'ant' is empty or there twice"),
        (("species", 0, "label"), " ", "is empty: give the species a name"),
        (("species", 0, "label"), "a\nb", "has control characters"),
        (("species", 0, "label"), "x" * 121, "has 121 characters"),
        (("species", 0, "photos"), [], "no float32 array 'support' of shape"),
        (("species", 0, "photos", 0, "digest"), 3, "'digest' is int, expected str"),
        (("species", 0, "photos", 0, "variant"), None, "'variant' is NoneType, expected str"),
        (("network",), None, "'network' is NoneType, expected dict"),
        (("network", "levels", 0, "channels"), 4, "no float32 array 'support' of shape"),
        (("network", "levels", 0, "channels"), "3", "'channels' is str, expected int"),
        (("network", "fingerprint"), None, "'fingerprint' is NoneType, expected str"),
        (("network", "statistics"), "tokens", "no float32 array 'support' of shape"),
    ],
)
def test_an_inconsistent_gallery_is_refused_despite_a_valid_checksum(path, way, value, match):
    save_gallery(sample(), path)
    rewritten(path, with_entry(*way, value=value))
    refused(path, f"is damaged: .*{match}|is damaged: {match}")


def test_an_empty_species_is_refused(path):
    save_gallery(sample(), path)
    rewritten(path, lambda metadata: metadata["species"].append({"label": "none", "photos": []}))
    refused(path, "species 'none' is empty or there twice")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_statistics_that_are_not_finite_are_refused(path, value):
    save_gallery(sample(), path)
    array = load_file(path)["query"]
    array[2, 5] = value
    rewritten(path, lambda metadata: None, query=array)
    refused(path, "array 'query' has values that are not finite")


@pytest.mark.parametrize("shape", [(5, 8), (4, 9), (45,), (5, 9, 1)])
def test_statistics_of_another_shape_are_refused(path, shape):
    save_gallery(sample(), path)
    rewritten(path, lambda metadata: None, support=np.ones(shape, np.float32))
    refused(path, r"no float32 array 'support' of shape \(5, 9\)")


def test_statistics_of_another_type_are_refused(path):
    save_gallery(sample(), path)
    rewritten(path, lambda metadata: None, support=np.ones((5, 9), np.float64))
    refused(path, r"no float32 array 'support' of shape \(5, 9\)")


def test_a_photo_that_is_twice_in_a_species_counts_once_or_is_refused(path):
    save_gallery(sample(), path)
    digest = header(path)["species"][0]["photos"][0]["digest"]
    rewritten(path, with_entry("species", 0, "photos", 1, "digest", value=digest))
    found = read_or_refused(path)
    assert found is None or len(found["species"][0][2]) == 2


def test_an_unknown_head_is_refused_as_an_error_of_the_gallery(path):
    save_gallery(sample(), path)
    rewritten(path, with_entry("network", "head", value="cosine"))
    refused(path, "head 'cosine'")


def test_half_a_character_is_refused(path):
    save_gallery(sample(), path)
    metadata = header(path)
    metadata["species"][0]["label"] = "\ud800"
    path.write_bytes(save(load_file(path), {"hmdrn_gallery": json.dumps(metadata)}))
    refused(path, "damaged")


def test_species_in_another_order_are_sorted_or_refused(path):
    save_gallery(sample(), path)
    tensors = load_file(path)
    order = [3, 4, 0, 1, 2]
    rewritten(
        path, lambda metadata: metadata["species"].reverse(), **{n: a[order] for n, a in tensors.items()}
    )
    found = read_or_refused(path)
    assert found is None or found == contents(sample())


def test_saving_does_not_change_the_gallery(path):
    gallery = sample()
    before = contents(gallery)
    save_gallery(gallery, path)
    assert contents(gallery) == before
