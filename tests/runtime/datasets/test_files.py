from __future__ import annotations

import os
import pickle
import struct
import threading
import zipfile
from pathlib import Path

import pytest
from photo_folders import CLASSES, SPLITS, make_folder, make_zip, names_of, refused

from hmdrn_runtime.datasets import files as dataset_files
from hmdrn_runtime.datasets.dataset import find_splits, open_dataset
from hmdrn_runtime.datasets.files import find_photos
from hmdrn_runtime.errors import DatasetError
from hmdrn_runtime.messages import HmdrnWarning


def test_links_are_followed_but_not_in_circles(tmp_path):
    root = make_folder(tmp_path / "data", CLASSES)
    make_folder(tmp_path / "elsewhere", ("1.jpg",))
    try:
        (root / "crow").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
        (root / "wren" / "2.jpg").symlink_to(tmp_path / "elsewhere" / "1.jpg")
        (root / "wren" / "3.jpg").symlink_to(tmp_path / "gone.jpg")
        (root / "wren" / "self").symlink_to(root / "wren", target_is_directory=True)
        (root / "loop").symlink_to(root, target_is_directory=True)
    except OSError:
        pytest.skip("no links here")
    dataset = open_dataset(root)
    assert names_of(dataset) == {
        "crow": ["crow/1.jpg"],
        "robin": ["robin/1.jpg", "robin/2.jpg"],
        "wren": ["wren/1.jpg", "wren/2.jpg", "wren/3.jpg"],
    }
    with pytest.raises(DatasetError, match=r"wren/3\.jpg is a link to a missing file, .*gone\.jpg: put"):
        dataset.classes["wren"][2].read()
    assert len(dataset.digest()) == 64, "a photo that cannot be read counts by its name"


def test_links_to_nothing_and_special_files_are_named(tmp_path):
    root = make_folder(tmp_path / "data", CLASSES)
    try:
        (root / "owl").symlink_to(tmp_path / "gone", target_is_directory=True)
        os.mkfifo(root / "robin" / "3.jpg")
    except (OSError, AttributeError):
        pytest.skip("no links or pipes here")
    (note,) = open_dataset(root).notes
    assert note.startswith("left out 2 that are not photos: ")
    assert "owl (a link to nothing)" in note
    assert "robin/3.jpg (not a regular file)" in note


def test_images_that_are_not_photos_are_named(make):
    dataset = open_dataset(make((*CLASSES, "robin/old.psd", "wren/Map.SVG", "wren/notes.txt")))
    assert len(dataset) == 3
    assert dataset.notes == ("left out 2 that are not photos: robin/old.psd, wren/Map.SVG",)
    assert open_dataset(make(CLASSES)).classes.keys() == {"robin", "wren"}


def test_photos_of_a_folder_are_listed_with_a_warning_of_the_others(tmp_path):
    root = make_folder(tmp_path / "data", ("b.jpg", "a/c.webp", "a/d.XCF", "e.txt"))
    with pytest.warns(HmdrnWarning, match=r"data'?: left out 1 that are not photos: a/d\.XCF$"):
        assert find_photos(root) == [root / "a" / "c.webp", root / "b.jpg"]


@pytest.mark.parametrize(
    "suffix", ["jfif", "jpe", "mpo", "pgm", "ppm", "pnm", "pbm", "dib", "jp2", "JFIF", "heic", "HIF", "nef"]
)
def test_every_kind_of_photo_is_listed(make, suffix):
    assert len(open_dataset(make((*CLASSES, f"robin/3.{suffix}"))).classes["robin"]) == 3


@pytest.mark.skipif(os.sep != "/", reason="a backslash parts folders here")
def test_a_backslash_in_a_folders_name_is_part_of_it(tmp_path):
    dataset = open_dataset(make_folder(tmp_path / "data", ("a\\b/1.jpg",)))
    assert list(dataset.classes) == ["a\\b"]
    assert dataset.classes["a\\b"][0].read() == b"bytes of a\\b/1.jpg"


def test_a_photo_that_is_gone_is_named(tmp_path):
    dataset = open_dataset(make_folder(tmp_path / "data", CLASSES))
    (tmp_path / "data" / "robin" / "1.jpg").unlink()
    with pytest.raises(DatasetError, match=r"1\.jpg cannot be read"):
        dataset.classes["robin"][0].read()


@pytest.mark.parametrize(
    "packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_zips_of_every_packing_are_read(tmp_path, packing):
    dataset = open_dataset(make_zip(tmp_path / "data.zip", CLASSES, packing=packing))
    assert dataset.classes["robin"][0].read() == b"bytes of robin/1.jpg"


def test_a_zip_of_backslashes_is_read(tmp_path):
    names = tuple(name.replace("/", "\\") for name in SPLITS)
    path = make_zip(tmp_path / "data.zip", ("train\\", *names))
    assert find_splits(path) == ("train", "val")
    assert names_of(open_dataset(path, "val")) == {"crow": ["val/crow/1.jpg"], "robin": ["val/robin/1.jpg"]}
    assert open_dataset(path, "val").classes["crow"][0].read() == b"bytes of val\\crow\\1.jpg"


def test_a_file_that_is_not_a_zip_is_refused(tmp_path):
    (tmp_path / "data.zip").write_text("no zip")
    refused(tmp_path / "data.zip", "cannot be read as a zip")
    (tmp_path / "data.zip").write_bytes(b"")
    refused(tmp_path / "data.zip", "cannot be read as a zip")


def test_a_truncated_zip_is_refused(tmp_path):
    path = make_zip(tmp_path / "data.zip", CLASSES)
    path.write_bytes(path.read_bytes()[:-60])
    refused(path, "cannot be read as a zip")


def test_a_damaged_photo_in_a_zip_is_named_when_read(tmp_path):
    path = make_zip(tmp_path / "data.zip", CLASSES)
    path.write_bytes(path.read_bytes().replace(b"bytes of robin/1", b"BYTES of robin/1"))
    dataset = open_dataset(path)
    with pytest.raises(DatasetError, match=r"'robin/1\.jpg' in .*data\.zip cannot be read \(BadZipFile"):
        dataset.classes["robin"][0].read()
    assert dataset.classes["robin"][1].read() == b"bytes of robin/2.jpg"


@pytest.mark.parametrize(
    "packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_any_damage_to_a_zip_is_a_dataset_error(tmp_path, packing):
    path = make_zip(tmp_path / "data.zip", CLASSES[:1], packing=packing)
    whole = path.read_bytes()
    for place in range(len(whole)):
        for value in (0x00, 0xFF):
            path.write_bytes(whole[:place] + bytes([value]) + whole[place + 1 :])
            try:
                for photos in open_dataset(path).classes.values():
                    assert photos[0].read() == b"bytes of robin/1.jpg"
            except DatasetError as error:
                message = str(error)
                assert "\n" not in message


def patched_directory(path: Path, name: str, offset: int, value: bytes) -> Path:
    """Overwrite a field of a member's record in the central directory."""
    data = bytearray(path.read_bytes())
    record = data.rindex(name.encode()) - 46
    assert data[record : record + 4] == b"PK\x01\x02"
    data[record + offset : record + offset + len(value)] = value
    path.write_bytes(data)
    return path


def test_an_encrypted_zip_is_refused(tmp_path):
    path = patched_directory(make_zip(tmp_path / "data.zip", CLASSES), "robin/2.jpg", 8, b"\x01\x00")
    refused(path, r"'robin/2\.jpg' in .*data\.zip is encrypted")


def test_a_member_that_declares_a_huge_size_is_refused(tmp_path):
    size = 256 * 1024 * 1024 + 1
    path = patched_directory(
        make_zip(tmp_path / "data.zip", CLASSES), "wren/1.jpg", 24, struct.pack("<I", size)
    )
    refused(path, rf"'wren/1\.jpg' in .*data\.zip unpacks to {size} bytes")


def test_a_huge_file_that_is_not_an_image_is_ignored(tmp_path):
    path = make_zip(tmp_path / "data.zip", (*CLASSES, "features.npy"))
    patched_directory(path, "features.npy", 24, struct.pack("<I", 2**31))
    assert len(open_dataset(path)) == 3


def test_the_size_really_read_is_checked(tmp_path, monkeypatch):
    dataset = open_dataset(make_zip(tmp_path / "data.zip", CLASSES, packing=zipfile.ZIP_DEFLATED))
    monkeypatch.setattr(dataset_files, "MAX_MEMBER_BYTES", 10)
    with pytest.raises(DatasetError, match="unpacks to more than 10 bytes"):
        dataset.classes["robin"][0].read()


def test_a_member_of_an_unknown_packing_is_refused_when_read(tmp_path):
    path = make_zip(tmp_path / "data.zip", CLASSES[:1])
    dataset = open_dataset(patched_directory(path, "robin/1.jpg", 10, b"\x63\x00"))
    with pytest.raises(DatasetError, match=r"'robin/1\.jpg'.*packed unusually"):
        dataset.classes["robin"][0].read()


@pytest.mark.parametrize(
    "name",
    [
        "/etc/robin/1.jpg",
        "../robin/1.jpg",
        "robin/../../1.jpg",
        "..\\robin\\1.jpg",
        "C:\\robin\\1.jpg",
        "../x.txt",
    ],
)
def test_a_member_outside_of_the_zip_is_refused(tmp_path, name):
    refused(make_zip(tmp_path / "data.zip", (*CLASSES, name)), "has a member outside of itself")


def test_dots_inside_names_do_not_leave_the_zip(tmp_path):
    path = make_zip(tmp_path / "data.zip", ("robin/a..b.jpg", "dr. no.../1.jpg"))
    assert list(open_dataset(path).classes) == ["dr. no...", "robin"]


def test_a_zip_is_not_unpacked_and_its_directory_is_parsed_once(tmp_path, monkeypatch):
    opened = []
    plain = zipfile.ZipFile

    def counted(path):
        opened.append(path)
        return plain(path)

    path = make_zip(tmp_path / "data.zip", SPLITS)
    monkeypatch.setattr(zipfile, "ZipFile", counted)
    dataset = open_dataset(path)
    for _ in range(20):
        for photos in dataset.classes.values():
            for photo in photos:
                photo.read()
    dataset.digest()
    assert len(opened) == 1
    assert sorted(tmp_path.iterdir()) == [path]


def test_a_zip_is_read_by_many_threads(tmp_path):
    path = tmp_path / "data.zip"
    contents = {f"robin/{i}.jpg": bytes([i]) * (20_000 + i) for i in range(40)}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    photos = open_dataset(path).classes["robin"]
    wrong: list[object] = []

    def read(start: int) -> None:
        try:
            for photo in photos[start:] + photos[:start]:
                if photo.read() != contents[photo.name]:
                    wrong.append(photo.name)
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=read, args=(5 * i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_data_set_can_be_sent_to_another_process(make):
    dataset = open_dataset(make(SPLITS))
    sent = pickle.loads(pickle.dumps(dataset))
    assert sent.digest() == dataset.digest()
    assert names_of(sent) == names_of(dataset)


def test_a_forked_process_opens_the_zip_anew(tmp_path, monkeypatch):
    dataset = open_dataset(make_zip(tmp_path / "data.zip", CLASSES))
    photo = dataset.classes["robin"][0]
    parents = photo._files._archive
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert photo.read() == b"bytes of robin/1.jpg"
    assert photo._files._archive is not parents
    monkeypatch.setattr(os, "getpid", lambda: -2)
    dataset.source.unlink()
    with pytest.raises(DatasetError, match="cannot be read as a zip"):
        photo.read()
