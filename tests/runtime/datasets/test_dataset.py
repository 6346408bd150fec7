from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

import pytest
from photo_folders import CLASSES, SPLITS, make_folder, make_zip, refused

from hmdrn_runtime.datasets.dataset import find_splits, open_dataset
from hmdrn_runtime.errors import DatasetError


def test_the_digest_is_that_of_the_data_and_not_of_its_packing(tmp_path):
    folder = make_folder(tmp_path / "data", SPLITS)
    wrapped = make_zip(tmp_path / "wrapped.zip", SPLITS[::-1], "birds/", zipfile.ZIP_DEFLATED)
    plain = make_zip(tmp_path / "plain.zip", SPLITS)
    assert len({open_dataset(path).digest() for path in (folder, wrapped, plain)}) == 1
    assert len(open_dataset(folder).digest()) == 64
    assert open_dataset(folder, "train").digest() != open_dataset(folder).digest()


def test_the_digest_changes_with_a_byte_a_name_and_a_class(tmp_path):
    def changed(old: str, new: str) -> str:
        root = make_folder(tmp_path / new.replace("/", "_"), CLASSES)
        (root / new).parent.mkdir(exist_ok=True)
        shutil.move(root / old, root / new)
        return open_dataset(root).digest()

    whole = open_dataset(make_folder(tmp_path / "data", CLASSES)).digest()
    digests = {whole, changed("robin/1.jpg", "robin/3.jpg"), changed("robin/1.jpg", "crow/1.jpg")}
    (tmp_path / "data" / "robin" / "1.jpg").write_bytes(b"Bytes of robin/1.jpg")
    digests.add(open_dataset(tmp_path / "data").digest())
    assert len(digests) == 4


COMPOSED, DECOMPOSED = "M\u00e9sange", "Me\u0301sange"


@pytest.mark.parametrize("other", [DECOMPOSED, f"{COMPOSED} ", f"\u3000{COMPOSED}"])
def test_two_spellings_of_a_name_are_one_class(make, other):
    dataset = open_dataset(make((f"{COMPOSED}/1.jpg", f"{COMPOSED}/2.jpg", f"{other}/2.jpg", "wren/1.jpg")))
    assert list(dataset.classes) == [COMPOSED, "wren"]
    photos = dataset.classes[COMPOSED]
    assert {photo.read().decode() for photo in photos} == {
        f"bytes of {name}" for name in (f"{COMPOSED}/1.jpg", f"{COMPOSED}/2.jpg", f"{other}/2.jpg")
    }
    assert len({photo.name for photo in photos}) == 3, "names tell photos apart"
    assert dataset.lookalikes == ()


def test_the_digest_does_not_depend_on_the_spelling_of_names(tmp_path):
    paths = [make_named(tmp_path / str(i), name) for i, name in enumerate((COMPOSED, DECOMPOSED))]
    paths += [zip_named(tmp_path / f"{i}.zip", name) for i, name in enumerate((COMPOSED, DECOMPOSED))]
    digests = {open_dataset(path).digest() for path in paths}
    assert len(digests) == 1


def make_named(path: Path, name: str) -> Path:
    (path / name).mkdir(parents=True)
    (path / name / f"{name}.jpg").write_bytes(b"a photo")
    return path


def zip_named(path: Path, name: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}/{name}.jpg", b"a photo")
    return path


def test_a_split_is_found_in_either_spelling(make):
    path = make((f"{DECOMPOSED}/robin/1.jpg", "train/robin/2.jpg"))
    assert find_splits(path) == (COMPOSED, "train")
    for name in (COMPOSED, DECOMPOSED):
        assert len(open_dataset(path, name)) == 1


def test_classes_that_look_alike_are_named_over_all_splits(make):
    dataset = open_dataset(make(("train/Grey Wren/1.jpg", "val/grey_wren/1.jpg")), "train")
    assert list(dataset.classes) == ["Grey Wren"]
    assert dataset.lookalikes == (("Grey Wren", "grey_wren"),)
    assert dataset.warnings == ("'Grey Wren' and 'grey_wren' look alike and count as 2 classes",)


def test_an_unknown_split_is_refused_with_the_existing_ones(make):
    refused(make(SPLITS), r"no split 'test': choose one of train, val, or all", split="test")


def test_a_split_of_a_data_set_without_splits_is_refused(make):
    refused(make(CLASSES), "has no splits, so none called 'train'", split="train")


def test_a_missing_path_is_named(tmp_path):
    refused(tmp_path / "nowhere", "nowhere does not exist")
    with pytest.raises(DatasetError, match="nowhere does not exist"):
        find_splits(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("path", ["a\0b", "~no-such-user-at-all/data", "x" * 5000, None])
def test_an_impossible_path_is_refused(path):
    refused(path, "does not exist|cannot be read")


def test_a_tilde_in_a_path_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    make_folder(tmp_path / "data", CLASSES)
    assert open_dataset("~/data").source == tmp_path / "data"


def test_an_empty_folder_is_refused(tmp_path):
    refused(tmp_path, "holds no images")


def test_an_empty_zip_is_refused(tmp_path):
    refused(make_zip(tmp_path / "data.zip", ()), "holds no images")


def test_a_data_set_without_images_is_refused(make):
    refused(make(("robin/notes.txt", ".hidden/robin/1.jpg")), r"holds no images \(\.jpg")


@pytest.mark.parametrize("wrapper", ["", "photos/"])
def test_class_folders_without_a_photo_are_named(make, wrapper):
    photographed = make((*CLASSES, "robin/more/notes.txt", "crow/notes.txt", ".hidden/notes.txt"), wrapper)
    assert open_dataset(photographed).empty_classes == ("crow",)


def test_empty_class_folders_are_those_of_the_split(make):
    path = make((*SPLITS, "train/crow/notes.txt", "val/wren/notes.txt", "test/owl/notes.txt"))
    assert open_dataset(path, "train").empty_classes == ("crow",)
    assert open_dataset(path, "val").empty_classes == ("wren",)
    assert open_dataset(path).empty_classes == ("owl",), "crow and wren have photos in the other split"


def test_an_empty_class_folder_without_any_file_is_named(tmp_path):
    make_folder(tmp_path / "data", CLASSES)
    (tmp_path / "data" / "crow" / "nested").mkdir(parents=True)
    with zipfile.ZipFile(make_zip(tmp_path / "data.zip", CLASSES), "a") as archive:
        archive.writestr("crow/nested/", "")
    for source in ("data", "data.zip"):
        assert open_dataset(tmp_path / source).empty_classes == ("crow",)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "is not a regular file")
    make_folder(tmp_path / "data", CLASSES)
    os.mkfifo(tmp_path / "data" / "robin" / "3.jpg")
    assert len(open_dataset(tmp_path / "data")) == 3
