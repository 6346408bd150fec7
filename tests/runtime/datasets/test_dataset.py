from __future__ import annotations

import os
import pickle
import shutil
import struct
import threading
import zipfile
from pathlib import Path

import pytest

from hmdrn_runtime.datasets import dataset as datasets
from hmdrn_runtime.datasets import files as data_files
from hmdrn_runtime.datasets.dataset import Dataset, find_splits, open_dataset, open_species
from hmdrn_runtime.errors import DatasetError

CLASSES = ("robin/1.jpg", "robin/2.jpg", "wren/1.jpg")
SPLITS = ("train/robin/1.jpg", "train/robin/2.jpg", "train/wren/1.jpg", "val/crow/1.jpg", "val/robin/1.jpg")


def make_folder(root: Path, names: tuple[str, ...], wrapper: str = "") -> Path:
    for name in names:
        path = root / wrapper / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"bytes of {name}".encode())
    return root


def make_zip(
    path: Path, names: tuple[str, ...], wrapper: str = "", packing: int = zipfile.ZIP_STORED
) -> Path:
    with zipfile.ZipFile(path, "w", packing) as archive:
        for name in names:
            archive.writestr(wrapper + name, f"bytes of {name}")
    return path


@pytest.fixture(params=["folder", "zip"])
def make(request, tmp_path):
    """Makes a folder or a zip of the given names."""

    def made(names: tuple[str, ...], wrapper: str = "") -> Path:
        if request.param == "folder":
            return make_folder(tmp_path / "data", names, wrapper)
        return make_zip(tmp_path / "data.zip", names, wrapper)

    return made


def names_of(dataset: Dataset) -> dict[str, list[str]]:
    return {label: [photo.name for photo in photos] for label, photos in dataset.classes.items()}


def refused(path: Path | str, told: str, split: str = "all") -> None:
    with pytest.raises(DatasetError, match=told) as caught:
        open_dataset(path, split)
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------- layouts


def test_a_layout_of_classes_is_recognised(make):
    path = make(CLASSES)
    dataset = open_dataset(path)
    assert names_of(dataset) == {"robin": ["robin/1.jpg", "robin/2.jpg"], "wren": ["wren/1.jpg"]}
    assert dataset.source == path
    assert dataset.split is None
    assert len(dataset) == 3
    assert find_splits(path) == ()
    assert dataset.classes["robin"][1].read() == b"bytes of robin/2.jpg"


def test_a_layout_of_splits_is_recognised(make):
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


def test_a_lone_class_is_no_wrapper(make):
    path = make(("robin/1.jpg", "robin/2.jpg"))
    assert names_of(open_dataset(path)) == {"robin": ["robin/1.jpg", "robin/2.jpg"]}


# ---------------------------------------------------------------- species to enroll


def test_species_are_folders_with_their_photos_directly_in_them(make):
    assert names_of(open_species(make(CLASSES))) == names_of(open_dataset(make(CLASSES)))


def test_a_folder_between_a_species_and_its_photos_is_no_species(tmp_path):
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


def test_a_zip_of_one_species_is_told_like_a_folder_that_its_photos_lie_too_deep(tmp_path):
    path = make_zip(tmp_path / "data.zip", ("Monarch/2024/1.jpg", "Monarch/2024/2.jpg"))
    with pytest.raises(DatasetError, match=r"'Monarch/2024/1\.jpg'.*pack what is in 'Monarch'"):
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
def test_photos_of_formats_that_not_everyone_reads_are_not_passed_over(make, suffix):
    dataset = open_dataset(make((*CLASSES, f"wren/2{suffix}")))
    assert [photo.name for photo in dataset.classes["wren"]] == ["wren/1.jpg", f"wren/2{suffix}"]


def test_a_single_photo_is_no_data_set(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"x")
    refused(tmp_path / "photo.jpg", "is a file; give the folder that holds a folder of photos for each class")


# ---------------------------------------------------------------- layouts that are none


def test_two_layouts_in_one_are_refused_with_an_example_of_each(make):
    refused(make((*CLASSES, "val/crow/1.jpg")), r"'robin/1\.jpg'.*'val/crow/1\.jpg'")


def test_two_layouts_in_one_wrapper_are_refused(make):
    refused(make((*CLASSES, "val/crow/1.jpg"), "birds/"), "mixes two layouts")


def test_images_at_the_root_are_sent_to_class_folders(make):
    refused(make(("wren.jpg", "robin.jpg")), r"'robin\.jpg'.*<class>/<image>")


def test_images_at_the_root_next_to_classes_are_refused(make):
    refused(make((*CLASSES, "cover.png")), r"outside of any class folder, such as 'cover\.png'")


def test_images_too_deep_are_refused(make):
    refused(make((*CLASSES, "a/b/c/1.jpg")), r"too deep in folders, such as 'a/b/c/1\.jpg'")
    refused(make(("w/a/b/c/1.jpg", "w/d/e/f/1.jpg")), "too deep")


def test_every_image_suffix_counts_in_any_case(make):
    names = tuple(f"robin/{i}{suffix}" for i, suffix in enumerate(datasets.IMAGE_SUFFIXES))
    names += ("robin/A.JPG", "robin/B.Jpeg")
    assert len(open_dataset(make((*names, "robin/notes.txt", "robin/jpg", "robin/x.jpg.part")))) == len(names)


def test_hidden_and_foreign_files_are_passed_over(make):
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


def test_class_names_are_kept_as_they_are(tmp_path):
    labels = ("Robin", "robin", "robin ", "caf\u00e9", "cafe\u0301", "001.Black_footed, (Albatross)", "a'b")
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


# ---------------------------------------------------------------- splits and paths asked for


def test_an_unknown_split_is_refused_with_those_there_are(make):
    refused(make(SPLITS), r"no split 'test': choose one of train, val, or all", split="test")


def test_a_split_of_a_data_set_without_splits_is_refused(make):
    refused(make(CLASSES), "has no splits, so none called 'train'", split="train")


def test_a_missing_path_is_named(tmp_path):
    refused(tmp_path / "nowhere", "nowhere does not exist")
    with pytest.raises(DatasetError, match="nowhere does not exist"):
        find_splits(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("path", ["a\0b", "~no-such-user-at-all/data", "x" * 5000, None])
def test_a_path_that_cannot_be_is_refused(path):
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
    assert open_dataset(photographed).empty == ("crow",)


def test_class_folders_without_a_photo_are_those_of_the_split(make):
    path = make((*SPLITS, "train/crow/notes.txt", "val/wren/notes.txt", "test/owl/notes.txt"))
    assert open_dataset(path, "train").empty == ("crow",)
    assert open_dataset(path, "val").empty == ("wren",)
    assert open_dataset(path).empty == ("owl",), "crow and wren have photos in the other split"


def test_an_empty_class_folder_without_any_file_is_named(tmp_path):
    make_folder(tmp_path / "data", CLASSES)
    (tmp_path / "data" / "crow" / "nested").mkdir(parents=True)
    with zipfile.ZipFile(make_zip(tmp_path / "data.zip", CLASSES), "a") as archive:
        archive.writestr("crow/nested/", "")
    for source in ("data", "data.zip"):
        assert open_dataset(tmp_path / source).empty == ("crow",)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "is not a regular file")
    make_folder(tmp_path / "data", CLASSES)
    os.mkfifo(tmp_path / "data" / "robin" / "3.jpg")
    assert len(open_dataset(tmp_path / "data")) == 3


# ---------------------------------------------------------------- folders


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
    assert names_of(open_dataset(root)) == {
        "crow": ["crow/1.jpg"],
        "robin": ["robin/1.jpg", "robin/2.jpg"],
        "wren": ["wren/1.jpg", "wren/2.jpg"],
    }


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


# ---------------------------------------------------------------- zips


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


def test_a_file_that_is_no_zip_is_refused(tmp_path):
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


def test_a_huge_file_that_is_no_image_does_not_matter(tmp_path):
    path = make_zip(tmp_path / "data.zip", (*CLASSES, "features.npy"))
    patched_directory(path, "features.npy", 24, struct.pack("<I", 2**31))
    assert len(open_dataset(path)) == 3


def test_the_size_really_read_is_checked(tmp_path, monkeypatch):
    dataset = open_dataset(make_zip(tmp_path / "data.zip", CLASSES, packing=zipfile.ZIP_DEFLATED))
    monkeypatch.setattr(data_files, "MAX_MEMBER_BYTES", 10)
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


def test_dots_inside_of_names_are_no_way_out(tmp_path):
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


# ---------------------------------------------------------------- identity


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
