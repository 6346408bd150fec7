from __future__ import annotations

import pytest
from photo_folders import CLASSES, SPLITS, make_folder, make_zip, names_of, refused

from hmdrn_runtime.datasets.dataset import find_splits, open_dataset, open_species
from hmdrn_runtime.errors import DatasetError
from hmdrn_runtime.images.formats import IMAGE_SUFFIXES


def test_a_layout_of_classes_is_detected(make):
    path = make(CLASSES)
    dataset = open_dataset(path)
    assert names_of(dataset) == {"robin": ["robin/1.jpg", "robin/2.jpg"], "wren": ["wren/1.jpg"]}
    assert dataset.source == path
    assert dataset.split is None
    assert len(dataset) == 3
    assert find_splits(path) == ()
    assert dataset.classes["robin"][1].read() == b"bytes of robin/2.jpg"


def test_a_layout_of_splits_is_detected(make):
    path = make(SPLITS)
    assert find_splits(path) == ("train", "val")
    train = open_dataset(path, "train")
    assert train.split == "train"
    assert names_of(train) == {
        "robin": ["train/robin/1.jpg", "train/robin/2.jpg"],
        "wren": ["train/wren/1.jpg"],
    }
    assert train.classes["wren"][0].read() == b"bytes of train/wren/1.jpg"


def test_all_splits_together_join_their_classes(make):
    dataset = open_dataset(make(SPLITS))
    assert dataset.split == "all"
    assert len(dataset) == 5
    assert list(dataset.classes) == ["crow", "robin", "wren"]
    assert names_of(dataset)["robin"] == ["train/robin/1.jpg", "train/robin/2.jpg", "val/robin/1.jpg"]
    assert dataset.classes["robin"][2].read() == b"bytes of val/robin/1.jpg"


@pytest.mark.parametrize("names", [CLASSES, SPLITS])
def test_a_wrapping_folder_is_unwrapped(make, names):
    path = make(names, "my photos/")
    assert find_splits(path) == (() if names is CLASSES else ("train", "val"))
    dataset = open_dataset(path)
    assert [photo.name for photos in dataset.classes.values() for photo in photos] == sorted(
        names, key=lambda name: (name.split("/")[-2], name)
    )
    assert dataset.classes["robin"][0].read() == f"bytes of {names[0]}".encode()


def test_a_wrapping_folder_may_stand_next_to_files_that_are_no_images(make):
    path = make((*[f"birds/{name}" for name in CLASSES], "README.md", "docs/licence.txt"))
    assert list(open_dataset(path).classes) == ["robin", "wren"]
    assert find_splits(path) == ()


@pytest.mark.parametrize("split", ["train", "Val", "test", "novel", "val_seen", "train-2", "validation"])
def test_a_lone_folder_called_like_a_split_is_one(make, split):
    path = make(CLASSES, f"{split}/")
    assert find_splits(path) == (split,)
    assert list(open_dataset(path, split).classes) == ["robin", "wren"]


def test_a_lone_class_is_not_a_wrapper(make):
    path = make(("robin/1.jpg", "robin/2.jpg"))
    assert names_of(open_dataset(path)) == {"robin": ["robin/1.jpg", "robin/2.jpg"]}


def test_species_are_folders_with_their_photos_directly_in_them(make):
    assert names_of(open_species(make(CLASSES))) == names_of(open_dataset(make(CLASSES)))


def test_a_folder_between_a_species_and_its_photos_is_refused(tmp_path):
    path = make_folder(tmp_path / "data", ("Monarch/2024/1.jpg", "Monarch/2024/2.jpg"))
    with pytest.raises(
        DatasetError, match=r"'Monarch/2024/1\.jpg'.*directly in the species' folder"
    ) as caught:
        open_species(path)
    assert f"if 'Monarch' only wraps the species, give {path / 'Monarch'}" in str(caught.value)
    assert list(open_species(path / "Monarch").classes) == ["2024"]


def test_a_zip_of_species_may_be_wrapped(tmp_path):
    assert list(open_species(make_zip(tmp_path / "data.zip", CLASSES, "species/")).classes) == [
        "robin",
        "wren",
    ]


def test_a_zip_of_one_species_with_photos_too_deep_is_refused(tmp_path):
    path = make_zip(tmp_path / "data.zip", ("Monarch/2024/1.jpg", "Monarch/2024/2.jpg"))
    with pytest.raises(DatasetError, match=r"'Monarch/2024/1\.jpg'.*pack the content of 'Monarch'"):
        open_species(path)
    plain = make_zip(tmp_path / "plain.zip", ("Monarch/1.jpg",))
    assert list(open_species(plain).classes) == ["Monarch"]


@pytest.mark.parametrize(
    "names", [SPLITS, (*CLASSES, "crow/raw/1.jpg"), (*CLASSES, "a/b/c/d/1.jpg"), ("a.jpg",), ()]
)
def test_no_refusal_of_species_advises_splits(make, names):
    with pytest.raises(DatasetError) as caught:
        open_species(make(names))
    assert "split" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".heic", ".HEIF", ".avif", ".jxl", ".dng", ".CR3", ".nef"])
def test_photos_of_optional_formats_are_not_skipped(make, suffix):
    dataset = open_dataset(make((*CLASSES, f"wren/2{suffix}")))
    assert [photo.name for photo in dataset.classes["wren"]] == ["wren/1.jpg", f"wren/2{suffix}"]


def test_a_single_photo_is_not_a_data_set(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"x")
    refused(tmp_path / "photo.jpg", "is a file; give the folder that holds a folder of photos for each class")


def test_two_layouts_in_one_are_refused_with_an_example_of_each(make):
    refused(make((*CLASSES, "val/crow/1.jpg")), r"'robin/1\.jpg'.*'val/crow/1\.jpg'")


def test_two_layouts_in_one_wrapper_are_refused(make):
    refused(make((*CLASSES, "val/crow/1.jpg"), "birds/"), "mixes two layouts")


def test_images_at_the_root_are_refused_with_the_layout(make):
    refused(make(("wren.jpg", "robin.jpg")), r"'robin\.jpg'.*<class>/<image>")


def test_images_at_the_root_next_to_classes_are_refused(make):
    refused(make((*CLASSES, "cover.png")), r"outside of any class folder, such as 'cover\.png'")


def test_images_too_deep_are_refused(make):
    refused(make((*CLASSES, "a/b/c/1.jpg")), r"too deep in folders, such as 'a/b/c/1\.jpg'")
    refused(make(("w/a/b/c/1.jpg", "w/d/e/f/1.jpg")), "too deep")


def test_every_image_suffix_counts_in_any_case(make):
    names = tuple(f"robin/{i}{suffix}" for i, suffix in enumerate(IMAGE_SUFFIXES))
    names += ("robin/A.JPG", "robin/B.Jpeg")
    assert len(open_dataset(make((*names, "robin/notes.txt", "robin/jpg", "robin/x.jpg.part")))) == len(names)


def test_hidden_and_foreign_files_are_skipped(make):
    litter = (
        ".hidden.jpg",
        ".git/objects/1.jpg",
        "robin/._1.jpg",
        "robin/.thumbs/1.jpg",
        "__MACOSX/robin/1.jpg",
        "__MACOSX/cover.jpg",
        "robin/__MACOSX/1.jpg",
        "robin/Thumbs.db",
        "robin/desktop.ini",
        "index.html",
    )
    assert names_of(open_dataset(make(CLASSES + litter))) == names_of(open_dataset(make(CLASSES)))


def test_a_hidden_folder_above_the_data_does_not_matter(tmp_path):
    assert len(open_dataset(make_folder(tmp_path / ".cache" / "data", CLASSES))) == 3


def test_class_names_that_differ_visibly_are_kept_unchanged(tmp_path):
    labels = ("Robin", "robin", "rob in", "caf\u00e9", "cafe", "001.Black_footed, (Albatross)", "a'b", "sp.")
    path = make_zip(tmp_path / "data.zip", tuple(f"{label}/1.jpg" for label in labels))
    dataset = open_dataset(path)
    assert list(dataset.classes) == sorted(labels)
    for label in labels:
        assert dataset.classes[label][0].read() == f"bytes of {label}/1.jpg".encode()


def test_classes_and_photos_are_sorted_by_name(make):
    names = ("b/10.jpg", "b/9.jpg", "a/x.jpg", "B/1.jpg", "a b/1.jpg", "a/X.jpg")
    assert names_of(open_dataset(make(names))) == {
        "B": ["B/1.jpg"],
        "a": ["a/X.jpg", "a/x.jpg"],
        "a b": ["a b/1.jpg"],
        "b": ["b/10.jpg", "b/9.jpg"],
    }
