"""`hmdrn prepare` turns tiny archives of the original layouts into zips that train and eval read."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from drawn_archives import GREY, RED, cub_files, jpeg, pack, table
from outcomes import assert_refused

from hmdrn.dataset_prep import archives
from hmdrn_runtime.datasets.dataset import find_splits, open_dataset


def breed(i: int) -> str:
    return f"n{2085620 + i:08d}-breed_{i}"


def dogs_files() -> dict[str, bytes]:
    photo = jpeg(box=(10, 5, 30, 25))
    return {f"Images/{breed(i)}/{breed(i)[:9]}_7.jpg": photo for i in range(120)}


def dogs_boxes() -> dict[str, bytes]:
    small = "<object><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>"
    large = "<bndbox>\n\t<xmin>10</xmin>\n\t<ymin>5</ymin><xmax>30</xmax><ymax>25</ymax></bndbox>"
    note = f"<annotation>{small}<object>{large}</object></annotation>".encode()
    return {f"Annotation/{breed(i)}/{breed(i)[:9]}_7": note for i in range(120)}


def mat(**variables) -> bytes:
    savemat = pytest.importorskip("scipy.io").savemat
    file = io.BytesIO()
    savemat(file, variables)
    return file.getvalue()


def car_names() -> np.ndarray:
    names = [f"Maker Model {i} 2012" for i in range(195)] + ["Ram C/V Cargo Van Minivan 2012"]
    return np.array(names, dtype=object)


def car_notes(path: str, first: int = 1) -> np.ndarray:
    fields = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class")
    kinds = [(field, float) for field in fields] + [(path, object)]
    prefix = "car_ims/" if path == "relative_im_path" else ""
    rows = [(6, 5, 25, 24, i, f"{prefix}{i + first - 1:05d}.jpg") for i in range(1, 197)]
    return np.array(rows, dtype=kinds)


def car_photos(folder: str) -> dict[str, bytes]:
    return {f"{folder}/{i:05d}.jpg": jpeg(box=(5, 4, 25, 24)) for i in range(1, 197)}


def aircraft_files() -> dict[str, bytes]:
    root = "fgvc-aircraft-2013b/data/"
    names = [f"{700 + i}-100" for i in range(99)] + ["F-16A/B"]
    photos = {f"{root}images/{i:07d}.jpg": jpeg(60, 60, (10, 5, 40, 35), banner=20) for i in range(100)}
    parts = {
        f"{root}images_variant_{part}.txt": table((f"{i:07d}", names[i]) for i in range(start, 100, 3))
        for start, part in enumerate(("train", "val", "test"))
    }
    boxes = table((f"{i:07d}", 11, 6, 40, 35) for i in range(100))
    return {
        **photos,
        **parts,
        f"{root}variants.txt": table((n,) for n in names),
        f"{root}images_box.txt": boxes,
    }


@pytest.fixture
def cub(tmp_path):
    return pack(tmp_path / "CUB_200_2011.tgz", cub_files())


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out.zip"


def splits_of(path: Path) -> dict[str, list[str]]:
    assert find_splits(path) == ("test", "train", "val")
    return {split: list(open_dataset(path, split).classes) for split in find_splits(path)}


def assert_disjoint(splits: dict[str, list[str]], train: int, val: int, test: int) -> None:
    assert [len(splits[name]) for name in ("train", "val", "test")] == [train, val, test]
    assert len(set().union(*splits.values())) == train + val + test


def photos_of(path: Path):
    return [photo.load() for photos in open_dataset(path).classes.values() for photo in photos]


def assert_all_of(image, color) -> None:
    assert np.abs(np.asarray(image).astype(int) - color).max() < 25, np.asarray(image).reshape(-1, 3)


def assert_nothing_left(folder: Path, *kept: Path) -> None:
    assert sorted(folder.iterdir()) == sorted(kept)


# ---------------------------------------------------------------- the data sets


@pytest.mark.parametrize("form", ["CUB.tgz", "CUB.tar", "CUB.zip", "CUB"])
def test_cub_in_every_form_is_cropped_to_its_boxes_and_split_as_hmdrn(form, hmdrn, tmp_path, out):
    archive = pack(tmp_path / form, cub_files())
    outcome = hmdrn("prepare", "cub", archive, "--output", out, "--json")
    assert outcome.code == 0, outcome.err
    splits = splits_of(out)
    assert_disjoint(splits, 130, 20, 50)
    assert splits["test"][:2] == ["003.Bird_3", "007.Bird_7"]
    assert splits["val"] == [f"{i}.Bird_{i}" for i in range(121, 200, 4)]
    for image in photos_of(out):
        assert image.size == (20, 20)
        assert_all_of(image, RED)
    record = json.loads(out.with_suffix(".json").read_text())
    assert {**record, "output": str(out)} == outcome.json
    assert record["schema"] == "hmdrn.prepare/1"
    assert record["classes"] == {name: splits[name] for name in ("train", "val", "test")}
    assert record["photos"] == {"train": 130, "val": 20, "test": 50}
    assert record["zip"]["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    digest = hashlib.sha256(archive.read_bytes()).hexdigest() if archive.is_file() else None
    assert record["archives"] == [{"name": form, "sha256": digest}]
    assert_nothing_left(tmp_path, archive, out, out.with_suffix(".json"))


def test_the_result_is_the_same_each_time_and_its_photos_are_stored(hmdrn, cub, tmp_path):
    for name in ("a.zip", "b.zip"):
        assert hmdrn("prepare", "cub", cub, "-o", tmp_path / name).code == 0
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert "test/003.Bird_3/Bird_0003.jpg" in archive.namelist()


@pytest.mark.parametrize(("rule", "test"), [("frn", (3, 7)), ("chen", (4, 8))])
def test_the_rules_of_frn_and_chen_differ_by_where_they_count_from(rule, test, hmdrn, cub, out):
    assert hmdrn("prepare", "cub", cub, "-o", out, "--split", rule).code == 0
    splits = splits_of(out)
    assert_disjoint(splits, 100, 50, 50)
    assert splits["test"][:2] == [f"{i:03d}.Bird_{i}" for i in test]


def test_uncropped_photos_without_a_side_are_kept_byte_by_byte(hmdrn, tmp_path, out):
    photo = jpeg(200, 150)
    archive = pack(tmp_path / "cub.tgz", cub_files(photo=photo))
    assert hmdrn("prepare", "cub", archive, "-o", out, "--no-crop", "--side", 0).code == 0
    assert {p.read() for photos in open_dataset(out).classes.values() for p in photos} == {photo}
    assert hmdrn("prepare", "cub", archive, "-o", out, "--no-crop").code == 0
    assert {image.size for image in photos_of(out)} == {(133, 100)}


def test_a_box_counts_the_files_pixels_even_if_the_photo_is_turned(hmdrn, tmp_path, out):
    turned = PIL.Image.Exif()
    turned[0x0112] = 6
    photo = jpeg(60, 40, (5, 4, 45, 24), exif=turned)
    files = cub_files(photo=photo)
    files["CUB_200_2011/bounding_boxes.txt"] = table((i, 5.0, 4.0, 40.0, 20.0) for i in range(1, 201))
    assert hmdrn("prepare", "cub", pack(tmp_path / "cub.tgz", files), "-o", out).code == 0
    for image in photos_of(out):
        assert image.size == (20, 40)
        assert_all_of(image, RED)


def test_dogs_are_split_by_seed_and_cropped_to_the_largest_box_on_demand(hmdrn, tmp_path, out):
    images = pack(tmp_path / "images.tar", dogs_files())
    boxes = pack(tmp_path / "annotation.tar", dogs_boxes())
    assert hmdrn("prepare", "dogs", images, "-o", out).code == 0
    first = splits_of(out)
    assert_disjoint(first, 70, 20, 30)
    assert photos_of(out)[0].size == (40, 30)
    assert hmdrn("prepare", "dogs", images, boxes, "-o", out, "--crop").code == 0
    assert splits_of(out) == first
    for image in photos_of(out):
        assert image.size == (20, 20)
        assert_all_of(image, RED)
    assert hmdrn("prepare", "dogs", images, "-o", out, "--seed", 1).code == 0
    assert splits_of(out) != first
    assert_disjoint(splits_of(out), 70, 20, 30)


@pytest.mark.slow
def test_cars_of_both_forms_are_read(hmdrn, tmp_path, out):
    packed = [
        pack(tmp_path / "cars_train.tgz", car_photos("cars_train")),
        pack(tmp_path / "cars_test.tgz", car_photos("cars_test")),
        pack(
            tmp_path / "car_devkit.tgz",
            {
                "devkit/cars_meta.mat": mat(class_names=car_names()),
                "devkit/cars_train_annos.mat": mat(annotations=car_notes("fname")),
            },
        ),
    ]
    labels = tmp_path / "cars_test_annos_withlabels.mat"
    labels.write_bytes(mat(annotations=car_notes("fname")))
    outcome = hmdrn("prepare", "cars", *packed, labels, "-o", out, "--crop", "--json")
    assert outcome.code == 0, outcome.err
    assert_disjoint(splits_of(out), 130, 17, 49)
    assert outcome.json["photos"] == {"train": 260, "val": 34, "test": 98}
    van = open_dataset(out).classes["Ram C-V Cargo Van Minivan 2012"]
    assert [photo.name.rpartition("/")[2] for photo in van] == ["test_00196.jpg", "train_00196.jpg"]
    for image in photos_of(out):
        assert image.size == (20, 20)
        assert_all_of(image, RED)

    assert_refused(hmdrn("prepare", "cars", *packed, "-o", out), "cars_test_annos_withlabels.mat")
    assert hmdrn("prepare", "cars", packed[0], packed[2], "-o", out, "--json").code == 0
    assert len(open_dataset(out)) == 196

    newer = tmp_path / "cars_annos.mat"
    newer.write_bytes(mat(annotations=car_notes("relative_im_path"), class_names=car_names()))
    images = pack(tmp_path / "car_ims.tgz", car_photos("car_ims"))
    assert hmdrn("prepare", "cars", images, newer, "-o", out).code == 0
    assert_disjoint(splits_of(out), 130, 17, 49)


def test_aircraft_lose_their_banner_and_are_split_as_frn_does(hmdrn, tmp_path, out):
    archive = pack(tmp_path / "fgvc-aircraft-2013b.tar.gz", aircraft_files())
    assert hmdrn("prepare", "aircraft", archive, "-o", out).code == 0
    splits = splits_of(out)
    assert_disjoint(splits, 50, 25, 25)
    assert splits["test"][0] == "703-100"
    assert splits["test"][-1] == "F-16A-B"
    for image in photos_of(out):
        assert image.size == (60, 40)
        assert_all_of(np.asarray(image)[37:], GREY)
    assert hmdrn("prepare", "aircraft", archive, "-o", out, "--crop").code == 0
    for image in photos_of(out):
        assert image.size == (30, 30)
        assert_all_of(image, RED)


# ---------------------------------------------------------------- a split file


def test_a_split_file_decides_and_leaves_out_unnamed_classes(hmdrn, cub, tmp_path, out):
    names = {"train": ["001.Bird_1", "002.Bird_2"], "val": ["009.Bird_9"], "test": ["200.Bird_200"]}
    (tmp_path / "split.json").write_text(json.dumps(names))
    outcome = hmdrn("prepare", "cub", cub, "-o", out, "--split-file", tmp_path / "split.json", "--json")
    assert outcome.code == 0, outcome.err
    assert splits_of(out) == {split: sorted(names[split]) for split in names}
    assert len(outcome.json["left_out"]) == 196
    assert outcome.json["split"]["rule"] == "file"


def test_a_split_file_may_spell_a_name_as_the_original_list(hmdrn, tmp_path, out):
    archive = pack(tmp_path / "aircraft.zip", aircraft_files())
    (tmp_path / "s.json").write_text(
        json.dumps({"train": ["F-16A/B"], "val": ["700-100"], "test": ["701-100"]})
    )
    assert hmdrn("prepare", "aircraft", archive, "-o", out, "--split-file", tmp_path / "s.json").code == 0
    assert splits_of(out)["train"] == ["F-16A-B"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "not valid JSON"),
        ('{"train": ["001.Bird_1"], "val": []}', "'test'"),
        ('{"train": ["Dodo"], "val": [], "test": []}', "'Dodo'"),
        ('{"train": ["001.Bird_1"], "val": [], "test": ["001.Bird_1"]}', "twice"),
        ('{"train": [], "val": [], "test": []}', "names no class"),
        ('{"train": ["../../etc"], "val": [], "test": []}', "split.json"),
    ],
)
def test_a_split_file_that_does_not_fit_is_refused(content, words, hmdrn, cub, tmp_path, out):
    split = tmp_path / "split.json"
    split.write_text(content)
    assert_refused(hmdrn("prepare", "cub", cub, "-o", out, "--split-file", split), "split.json", words)
    assert_nothing_left(tmp_path, cub, split)


def test_choices_that_do_not_fit_are_refused(hmdrn, cub, tmp_path, out):
    assert_refused(hmdrn("prepare", "cub", cub, "-o", tmp_path / "out.tar"), ".zip")
    assert_refused(hmdrn("prepare", "cub", cub, "-o", tmp_path / "no" / "out.zip"), "out.zip")
    assert_refused(
        hmdrn("prepare", "cub", cub, "-o", out, "--split", "frn", "--split-file", cub), "choose one"
    )
    assert_refused(hmdrn("prepare", "fish", cub, "-o", out), "fish")
    assert_refused(hmdrn("prepare", "cub", cub, "-o", out, "--side", 5), "5 pixels")
    images = pack(tmp_path / "images.tar", dogs_files())
    assert_refused(hmdrn("prepare", "dogs", images, "-o", out, "--split", "chen"), "chen", "seeded")
    same = pack(tmp_path / "cub.zip", cub_files())
    before = same.read_bytes()
    assert_refused(hmdrn("prepare", "cub", same, "-o", same), "would replace an input")
    assert same.read_bytes() == before


# ---------------------------------------------------------------- wrong and damaged archives


@pytest.mark.parametrize("dataset", ["cub", "dogs", "cars", "aircraft"])
def test_a_wrong_archive_is_named_with_its_missing_parts(dataset, hmdrn, tmp_path, out):
    archive = pack(tmp_path / "holiday.tgz", {"beach/1.jpg": jpeg()})
    assert_refused(hmdrn("prepare", dataset, archive, "-o", out), "holiday.tgz", "pass ")
    assert_nothing_left(tmp_path, archive)


@pytest.mark.parametrize(
    "name", ["images.txt", "image_class_labels.txt", "bounding_boxes.txt", "classes.txt"]
)
def test_a_missing_list_is_named(name, hmdrn, tmp_path, out):
    files = {path: data for path, data in cub_files().items() if not path.endswith(f"/{name}")}
    archive = pack(tmp_path / "cub.tgz", files)
    assert_refused(hmdrn("prepare", "cub", archive, "-o", out), "cub.tgz", name)
    assert_nothing_left(tmp_path, archive)


def test_a_missing_annotation_of_a_dog_is_named(hmdrn, tmp_path, out):
    images = pack(tmp_path / "images.tar", dogs_files())
    assert_refused(hmdrn("prepare", "dogs", images, "-o", out, "--crop"), "annotation.tar", "images.tar")


def test_missing_photos_are_counted(hmdrn, tmp_path, out):
    files = cub_files()
    for i in (5, 6):
        del files[f"CUB_200_2011/images/{i:03d}.Bird_{i}/Bird_{i:04d}.jpg"]
    archive = pack(tmp_path / "cub.zip", files)
    assert_refused(hmdrn("prepare", "cub", archive, "-o", out), "cub.zip", "Bird_0005.jpg", "1 more")


def test_archives_of_fewer_classes_need_a_split_file(hmdrn, tmp_path, out):
    archive = pack(tmp_path / "cub.tgz", cub_files(8))
    assert_refused(hmdrn("prepare", "cub", archive, "-o", out), "200 classes", "8", "--split-file")
    (tmp_path / "s.json").write_text('{"train": ["001.Bird_1"], "val": [], "test": ["002.Bird_2"]}')
    assert hmdrn("prepare", "cub", archive, "-o", out, "--split-file", tmp_path / "s.json").code == 0


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("images.txt", b"\xff\xfe\x00", "not text"),
        ("images.txt", b"1\n", "line 1"),
        ("image_class_labels.txt", b"1 one\n", "'one'"),
        ("bounding_boxes.txt", b"1 1 2 3 nan\n", "1 2 3 nan"),
        ("bounding_boxes.txt", table((i, 500, 500, 9, 9) for i in range(1, 201)), "outside of it"),
        ("classes.txt", b"1 ..\n", "'..'"),
        ("classes.txt", b"1 a\n2 a\n", "pass"),
    ],
)
def test_a_damaged_list_is_named(name, content, words, hmdrn, tmp_path, out):
    archive = pack(tmp_path / "cub.tgz", {**cub_files(), f"CUB_200_2011/{name}": content})
    assert_refused(hmdrn("prepare", "cub", archive, "-o", out), words)
    assert_nothing_left(tmp_path, archive)


def test_a_damaged_photo_is_left_out_and_named(hmdrn, tmp_path, out):
    photo = "CUB_200_2011/images/150.Bird_150/Bird_0150.jpg"
    whole = hmdrn("prepare", "cub", pack(tmp_path / "cub.tgz", cub_files()), "-o", out, "--json").json
    archive = pack(tmp_path / "cub.tgz", {**cub_files(), photo: b"no photo"})
    outcome = hmdrn("prepare", "cub", archive, "-o", out, "--json")
    assert outcome.code == 0
    assert "left out 1 damaged photos" in outcome.err
    assert photo in outcome.err
    assert (whole["unreadable"], outcome.json["unreadable"]) == ([], [photo])
    assert sum(outcome.json["photos"].values()) == sum(whole["photos"].values()) - 1
    assert len(open_dataset(out)) == sum(outcome.json["photos"].values())


@pytest.mark.parametrize("content", [b"", b"no photo", jpeg()[:300]])
def test_damaged_photos_of_strict_data_are_named_and_nothing_is_written(content, hmdrn, tmp_path, out):
    photo, other = (f"CUB_200_2011/images/{n}.Bird_{n}/Bird_0{n}.jpg" for n in (150, 151))
    archive = pack(tmp_path / "cub.tgz", {**cub_files(), photo: content, other: content})
    out.write_bytes(b"from before")
    for extra in ((), ("--no-crop",), ("--no-crop", "--side", 0)):
        outcome = hmdrn("prepare", "cub", archive, "-o", out, "--strict-data", *extra)
        assert_refused(outcome, "2 photos cannot be read", photo, other, "cub.tgz")
    assert_nothing_left(tmp_path, archive, out)
    assert out.read_bytes() == b"from before"


@pytest.mark.slow
def test_a_damaged_matlab_file_is_named(hmdrn, tmp_path, out):
    images, notes = pack(tmp_path / "car_ims.tgz", car_photos("car_ims")), tmp_path / "cars_annos.mat"
    whole = mat(annotations=car_notes("relative_im_path"), class_names=car_names())
    other = mat(annotations=car_notes("fname"), class_names=car_names())
    numbers = mat(annotations=np.arange(3), class_names=car_names())
    zeroed = whole[: len(whole) // 2] + bytes(len(whole) // 2)  # crashes scipy
    for content in (b"", b"no matlab", mat(other=1), other, numbers, whole[: len(whole) // 2], zeroed):
        notes.write_bytes(content)
        assert_refused(hmdrn("prepare", "cars", images, notes, "-o", out), "cars_annos.mat")
    assert_nothing_left(tmp_path, images, notes)


@pytest.mark.parametrize("form", ["cub.tgz", "cub.tar", "cub.zip"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_an_archive_that_is_cut_off_is_refused(form, share, hmdrn, tmp_path, out):
    archive = pack(tmp_path / form, cub_files())
    data = archive.read_bytes()
    archive.write_bytes(data[: int(len(data) * share)])
    assert_refused(hmdrn("prepare", "cub", archive, "-o", out), form)
    assert_nothing_left(tmp_path, archive)


def test_a_tar_that_is_cut_off_between_two_members_is_refused(hmdrn, tmp_path, out):
    archive = pack(tmp_path / "images.tar", dogs_files())
    with tarfile.open(archive) as whole:
        end = whole.getmembers()[-1].offset
    archive.write_bytes(archive.read_bytes()[:end])
    assert_refused(hmdrn("prepare", "dogs", archive, "-o", out), "images.tar ends early")


def test_a_tgz_whose_sum_does_not_match_is_refused(hmdrn, cub, tmp_path, out):
    data = bytearray(cub.read_bytes())
    data[-8] ^= 1
    cub.write_bytes(data)
    assert_refused(hmdrn("prepare", "cub", cub, "-o", out), "CUB_200_2011.tgz", "CRC")
    assert_nothing_left(tmp_path, cub)


def test_a_missing_archive_is_named(hmdrn, tmp_path, out):
    assert_refused(hmdrn("prepare", "cub", tmp_path / "gone.tgz", "-o", out), "gone.tgz does not exist")


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (OSError(28, "No space left"), 2)])
def test_nothing_is_left_of_a_run_that_ends_halfway(error, code, hmdrn, cub, tmp_path, out, monkeypatch):
    def fail(*arguments):
        raise error

    out.write_bytes(b"from before")
    monkeypatch.setattr(zipfile.ZipFile, "writestr", fail)
    outcome = hmdrn("prepare", "cub", cub, "-o", out)
    assert outcome.code == code
    assert len(outcome.err.strip().split("\n")) == 1
    assert_nothing_left(tmp_path, cub, out)
    assert out.read_bytes() == b"from before"


def test_a_record_that_cannot_be_written_leaves_no_zip(hmdrn, cub, tmp_path, out):
    out.with_suffix(".json").mkdir()
    assert_refused(hmdrn("prepare", "cub", cub, "-o", out), "out.json", "is a folder")
    assert_nothing_left(tmp_path, cub, out.with_suffix(".json"))


def test_cars_say_which_extra_reads_their_lists(hmdrn, tmp_path, out, monkeypatch):
    find = importlib.util.find_spec
    hidden = lambda name, *more: None if name == "scipy" else find(name, *more)  # noqa: E731
    monkeypatch.setattr(importlib.util, "find_spec", hidden)
    assert_refused(hmdrn("prepare", "cars", tmp_path, "-o", out), "scipy", "'.[train]'")


# ---------------------------------------------------------------- hostile archives


@pytest.mark.parametrize(
    "name", ["../evil.txt", "CUB_200_2011/../../evil.jpg", "/etc/evil.txt", "C:/evil.txt"]
)
@pytest.mark.parametrize("form", ["cub.tgz", "cub.zip"])
def test_a_member_outside_of_the_archive_is_refused(form, name, hmdrn, tmp_path, out):
    archive = pack(tmp_path / form, {**cub_files(4), name: b"evil"})
    assert_refused(hmdrn("prepare", "cub", archive, "-o", out), form, "outside of itself")
    assert_nothing_left(tmp_path, archive)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
@pytest.mark.parametrize("name", ["images.txt", "images/003.Bird_3/Bird_0003.jpg"])
def test_a_link_in_place_of_a_file_is_not_followed(kind, name, hmdrn, tmp_path, out):
    files = cub_files()
    del files[f"CUB_200_2011/{name}"]
    archive = pack(tmp_path / "cub.tar", files)
    with tarfile.open(archive, "a") as more:
        info = tarfile.TarInfo(f"CUB_200_2011/{name}")
        info.type, info.linkname = kind, "CUB_200_2011/classes.txt"
        more.addfile(info)
    assert_refused(hmdrn("prepare", "cub", archive, "-o", out), name, "is a link")
    assert_nothing_left(tmp_path, archive)


@pytest.mark.parametrize("linked", ["classes.txt", "images/003.Bird_3"])
def test_links_in_a_folder_are_not_followed(linked, hmdrn, tmp_path, out):
    folder = pack(tmp_path / "CUB", cub_files())
    place = folder / "CUB_200_2011" / linked
    place.rename(tmp_path / "elsewhere")
    try:
        place.symlink_to(tmp_path / "elsewhere")
    except OSError:
        pytest.skip("no links here")
    assert_refused(hmdrn("prepare", "cub", folder, "-o", out), place.name, "links are not followed")


@pytest.mark.parametrize("form", ["cub.tgz", "cub.zip", "CUB"])
def test_a_member_that_is_too_large_is_refused(form, hmdrn, tmp_path, out, monkeypatch):
    archive = pack(tmp_path / form, {**cub_files(4), "CUB_200_2011/classes.txt": bytes(200_000)})
    monkeypatch.setattr(archives, "MAX_MEMBER_BYTES", 100_000)
    assert_refused(hmdrn("prepare", "cub", archive, "-o", out), "classes.txt", "200000 bytes")


@pytest.mark.parametrize("form", ["cub.tgz", "cub.zip", "CUB"])
def test_an_archive_of_too_many_members_is_refused(form, hmdrn, tmp_path, out, monkeypatch):
    archive = pack(tmp_path / form, cub_files(20))
    monkeypatch.setattr(archives, "MAX_MEMBERS", 10)
    assert_refused(hmdrn("prepare", "cub", archive, "-o", out), "more than 10 members")


def test_a_lone_matlab_file_is_a_source_of_its_own(tmp_path):
    (tmp_path / "cars_annos.mat").write_bytes(b"data")
    members = archives.read_members(tmp_path / "cars_annos.mat", lambda name: True)
    assert list(members) == [("cars_annos.mat", b"data")]
