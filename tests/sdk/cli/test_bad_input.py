"""Bad input ends with one line that names it, exit code 2, and nothing written."""

from __future__ import annotations

import shutil
import struct
import zlib

import pytest
from outcomes import assert_refused

from hmdrn.loading import resolve_bundle
from hmdrn_runtime.bundle.bundle import CHECKPOINT


@pytest.fixture
def copied_bundle(tmp_path):
    return shutil.copytree(resolve_bundle("default"), tmp_path / "copy.hmdrn")


def huge_png(side: int = 30_000) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


def bad_images(photo):
    """Name and content of files that are no usable image."""
    jpeg = photo("whole.jpg").read_bytes()
    return {
        "truncated.jpg": jpeg[: len(jpeg) // 2],
        "text.jpg": b"this is not a photograph",
        "empty.png": b"",
        "tiny.png": photo("one.png", (1, 1)).read_bytes(),
        "huge.png": huge_png(),
    }


BAD = ["truncated.jpg", "text.jpg", "empty.png", "tiny.png", "huge.png"]


@pytest.mark.parametrize("name", BAD)
def test_a_bad_image_is_refused_by_classify(name, hmdrn, gallery, photo, tmp_path):
    (tmp_path / name).write_bytes(bad_images(photo)[name])
    assert_refused(hmdrn("classify", "default", tmp_path / name, "--gallery", gallery), name)


@pytest.mark.parametrize("name", [*BAD, "missing.jpg", "no photos"])
def test_a_bad_image_does_not_keep_classify_from_answering_the_others(name, hmdrn, gallery, photo, tmp_path):
    bad = tmp_path / name
    if name in BAD:
        bad.write_bytes(bad_images(photo)[name])
    elif name == "no photos":
        bad.mkdir()
    good = [photo("a.png", seed=1), photo("b.png", seed=2)]
    outcome = hmdrn("classify", "default", good[0], bad, good[1], "--gallery", gallery, "--json")
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1
    assert outcome.err.startswith(f"hmdrn: {bad}")
    assert [entry["image"] for entry in outcome.json] == [str(good[0]), str(bad), str(good[1])]
    assert set(outcome.json[1]) == {"schema", "image", "error"}
    assert str(bad) in outcome.json[1]["error"]
    alone = hmdrn("classify", "default", *good, "--gallery", gallery, "--json").json
    assert [entry["label"] for entry in outcome.json[::2]] == [entry["label"] for entry in alone]
    table = hmdrn("classify", "default", good[0], bad, good[1], "--gallery", gallery)
    assert (table.code, table.err) == (2, outcome.err)
    assert "a.png" in table.out
    assert name not in table.out


@pytest.mark.parametrize("name", BAD)
def test_a_bad_image_is_refused_by_enroll_and_nothing_is_written(name, hmdrn, photo, tmp_path):
    photo("species/Good/a.png")
    photo("species/Zebra/a.png")
    (tmp_path / "species" / "Zebra" / name).write_bytes(bad_images(photo)[name])
    target = tmp_path / "new.gallery"
    assert_refused(hmdrn("enroll", "default", tmp_path / "species", "--gallery", target, "--json"), name)
    assert not list(tmp_path.glob("*new.gallery*"))


@pytest.mark.parametrize("name", BAD)
def test_a_bad_image_is_left_out_by_eval_and_demo_and_named(name, hmdrn, photo, tmp_path):
    for label in "AB":
        photo(f"species/{label}/a.png", seed=1)
        photo(f"species/{label}/b.png", seed=2)
        (tmp_path / "species" / label / name).write_bytes(bad_images(photo)[name])
    setting = ("--way", 2, "--shot", 1, "--queries", 1, "--episodes", 2)
    for command in (
        ("eval", "default", tmp_path / "species", *setting),
        ("demo", "--photos", tmp_path / "species", "--output", tmp_path / "demo.png"),
    ):
        outcome = hmdrn(*command)
        assert outcome.code == 0, outcome.err
        assert "warning: 2 photos that cannot be read, left out: " in outcome.err
        assert outcome.err.count(name) >= 2
    strict = hmdrn("eval", "default", tmp_path / "species", *setting, "--strict-data")
    assert_refused(strict, "2 photos cannot be read", f"A/{name}", f"B/{name}")


def test_unreadable_photos_are_left_out_when_asked(hmdrn, photo, tmp_path):
    photo("species/Good/a.png")
    (tmp_path / "species" / "Good" / "b.jpg").write_bytes(b"no photograph")
    outcome = hmdrn(
        "enroll",
        "default",
        tmp_path / "species",
        "--gallery",
        tmp_path / "g.gallery",
        "--skip-unreadable",
        "--json",
    )
    assert outcome.code == 0
    assert [entry["photo"] for entry in outcome.json["skipped"]] == ["Good/b.jpg"]
    assert outcome.json["species"][0]["shots"] == 1


def test_a_photo_left_out_is_named_once_and_a_refusal_names_the_option(hmdrn, photo, tmp_path):
    photo("species/Good/a.png")
    (tmp_path / "species" / "Good" / "b.jp2").write_bytes(b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(60))
    arguments = ("enroll", "default", tmp_path / "species", "--gallery", tmp_path / "g.gallery")
    assert_refused(hmdrn(*arguments), "Good/b.jp2", "convert it to JPEG or PNG", "--skip-unreadable")
    outcome = hmdrn(*arguments, "--skip-unreadable")
    assert outcome.code == 0
    assert outcome.err.startswith("hmdrn: left out: Good/b.jp2 is JPEG 2000")
    assert outcome.err.count("b.jp2") == 1


@pytest.mark.parametrize("extra", [(), ("--skip-unreadable",)])
def test_a_species_without_a_readable_photo_is_refused(extra, hmdrn, photo, tmp_path):
    photo("species/Good/a.png")
    (tmp_path / "species" / "Barren").mkdir()
    target = tmp_path / "g.gallery"
    assert_refused(hmdrn("enroll", "default", tmp_path / "species", "--gallery", target, *extra), "Barren")
    (tmp_path / "species" / "Barren" / "a.jpg").write_bytes(b"no photograph")
    assert_refused(hmdrn("enroll", "default", tmp_path / "species", "--gallery", target, *extra), "a")
    assert not target.exists()


def test_a_folder_between_a_species_and_its_photos_is_refused_by_enroll(hmdrn, photo, tmp_path):
    photo("species/Monarch/2024/a.png")
    target = tmp_path / "g.gallery"
    outcome = hmdrn("enroll", "default", tmp_path / "species", "--gallery", target)
    assert_refused(outcome, "directly in the species' folder", f"give {tmp_path / 'species' / 'Monarch'}")
    assert not target.exists()


def test_a_wrong_folder_or_gallery_is_refused_by_enroll_before_any_work(hmdrn, photo, specimens, tmp_path):
    image = photo()
    assert_refused(
        hmdrn("enroll", "default", image, "--gallery", tmp_path / "g"), "is a file; give the folder"
    )
    missing = tmp_path / "none" / "g"
    assert_refused(hmdrn("enroll", "default", "nowhere", "--gallery", missing), str(missing), "make it first")
    assert_refused(
        hmdrn("enroll", "default", specimens, "--gallery", tmp_path),
        "is a folder; give the path of a gallery",
    )


def test_an_empty_folder_is_refused(hmdrn, tmp_path):
    (tmp_path / "nothing").mkdir()
    assert_refused(hmdrn("enroll", "default", tmp_path / "nothing", "--gallery", tmp_path / "g"), "nothing")


def test_an_over_long_label_is_refused(hmdrn, photo, tmp_path):
    photo(f"species/{'x' * 130}/a.png")
    assert_refused(
        hmdrn("enroll", "default", tmp_path / "species", "--gallery", tmp_path / "g"), "130 characters"
    )
    assert not (tmp_path / "g").exists()


def test_missing_things_are_named(hmdrn, gallery, photo, tmp_path):
    image = photo()
    missing = tmp_path / "missing"
    assert_refused(hmdrn("classify", "default", missing, "--gallery", gallery), str(missing))
    assert_refused(hmdrn("classify", missing, image, "--gallery", gallery), str(missing))
    assert_refused(hmdrn("classify", "default", image, "--gallery", missing), str(missing))
    assert_refused(hmdrn("enroll", "default", missing, "--gallery", gallery), str(missing))
    assert_refused(hmdrn("eval", "default", missing), str(missing))
    assert_refused(hmdrn("inspect", missing), str(missing))
    assert_refused(hmdrn("export", "--precision", "fp32", "--checkpoint", missing), str(missing))
    assert_refused(hmdrn("demo", "--photos", missing), str(missing))
    assert_refused(hmdrn("train", missing, "--output", tmp_path / "run"), str(missing))


def test_a_video_in_place_of_photos_is_refused_with_what_reads_it(hmdrn, gallery, tmp_path):
    video = tmp_path / "clip.mp4"
    video.write_bytes(b"\0\0\0\x18ftypisom" + bytes(100))
    for verb in ("classify", "explain", "enroll"):
        outcome = hmdrn(verb, "default", video, "--gallery", gallery)
        assert_refused(outcome, str(video), "is a video", "hmdrn watch --source", "enroll_from_video.py")


def test_a_mistyped_default_is_guessed(hmdrn, gallery, photo):
    outcome = hmdrn("classify", "defualt", photo(), "--gallery", gallery)
    assert_refused(outcome, "no bundle at defualt", "did you mean default?")


def test_a_bundle_and_a_gallery_are_not_confused(hmdrn, gallery, photo, copied_bundle):
    image = photo()
    assert_refused(hmdrn("classify", gallery, image, "--gallery", gallery), f"{gallery} is a gallery")
    outcome = hmdrn("classify", "default", image, "--gallery", copied_bundle)
    assert_refused(outcome, "is a bundle; give the path of a gallery file")


def test_inspect_of_nothing_says_both_that_it_might_be(hmdrn, tmp_path):
    assert_refused(hmdrn("inspect", tmp_path / "x"), f"no bundle or gallery at {tmp_path / 'x'}")


def test_what_is_no_checkpoint_is_named_with_what_to_give_instead(hmdrn, gallery, copied_bundle, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "model.safetensors").write_bytes(b"")
    (run / "state.pt").write_bytes(b"")
    (copied_bundle / CHECKPOINT).unlink()
    for given, words in (
        (gallery, "is a gallery: give the file of a checkpoint"),
        (copied_bundle, f"is a bundle without {CHECKPOINT}: give a checkpoint"),
        (run, f"is a folder: give {run / 'model.safetensors'}"),
        (run / "state.pt", f"the run's checkpoint, {run / 'model.safetensors'}"),
    ):
        assert_refused(hmdrn("export", "--checkpoint", given), str(given), words)


def test_a_photo_is_no_gallery_and_no_bundle(hmdrn, gallery, photo):
    image = photo()
    assert_refused(hmdrn("classify", "default", image, "--gallery", image), str(image))
    assert_refused(hmdrn("classify", image, image, "--gallery", gallery), str(image))


def test_a_gallery_of_other_weights_is_refused(hmdrn, gallery, photo, exported):
    outcome = hmdrn("classify", exported("conv4", "ridge"), photo(), "--gallery", gallery)
    assert_refused(outcome, "other weights")


@pytest.mark.parametrize("name", ["manifest.json", "solve.onnx", "constants.bin", "weights.safetensors"])
def test_a_bundle_with_one_byte_changed_is_refused(name, hmdrn, gallery, photo, copied_bundle):
    file = sorted(copied_bundle.rglob(name))[0]
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    assert_refused(hmdrn("classify", copied_bundle, photo(), "--gallery", gallery), name)


def test_a_damaged_gallery_is_refused_and_the_generation_before_is_named(
    hmdrn, gallery, specimens, photo, tmp_path
):
    photo("more/Another/a.png")
    assert hmdrn("enroll", "default", tmp_path / "more", "--gallery", gallery).code == 0
    data = bytearray(gallery.read_bytes())
    data[-5] ^= 1
    gallery.write_bytes(data)
    outcome = hmdrn("classify", "default", photo(), "--gallery", gallery)
    assert_refused(outcome, str(gallery), f"{gallery}.previous")
    assert hmdrn("inspect", f"{gallery}.previous").code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("--way", 1),
        ("--shot", 0),
        ("--queries", 0),
        ("--episodes", 0),
        ("--way", 50),
        ("--shot", 500),
        ("--split", "val"),
        ("--seed", -1),
    ],
)
def test_impossible_episodes_are_refused(arguments, hmdrn, specimens):
    assert_refused(hmdrn("eval", "default", specimens, *arguments))


def test_mistakes_on_the_command_line_take_one_line(hmdrn):
    assert_refused(hmdrn("classify"), "BUNDLE")
    verbs = "classify, correct, demo, distill, doctor, enroll"
    assert_refused(hmdrn("fly"), "'fly'", verbs, "see hmdrn --help")
    assert_refused(hmdrn("clasify"), "did you mean classify?")
    assert_refused(hmdrn("classify", "default", "a.jpg"), "--gallery", "see hmdrn classify --help")
    assert_refused(hmdrn("export", "--precision", "fp12"), "fp12")


def test_int8_without_photographs_to_calibrate_on_is_refused(hmdrn, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert_refused(hmdrn("export", "--precision", "int8"), "--calibration")
    assert list(tmp_path.iterdir()) == []


def test_a_picture_that_cannot_be_written_is_refused(hmdrn, tmp_path):
    assert_refused(hmdrn("demo", "--output", tmp_path / "no" / "such" / "folder.png"), "folder.png")
    assert_refused(hmdrn("demo", "--output", tmp_path / "no" / "demo.png"), "make it first")
    assert_refused(hmdrn("demo", "--output", tmp_path / "demo.xyz"), "demo.xyz", ".png")
    assert_refused(hmdrn("demo", "--output", tmp_path), "is a folder; give the path of a file")


def test_a_gallery_that_cannot_be_written_is_refused(hmdrn, specimens, photo):
    target = photo("file.png") / "below-a-file.gallery"
    assert_refused(hmdrn("enroll", "default", specimens, "--gallery", target), "below-a-file.gallery")


def test_a_gallery_under_the_home_folder_is_added_to_and_not_overwritten(
    hmdrn, specimens, photo, tmp_path, monkeypatch
):
    monkeypatch.setenv("HOME", str(tmp_path))
    photo("more/Another/a.png")
    assert hmdrn("enroll", "default", specimens, "--gallery", "~/g.gallery").code == 0
    assert hmdrn("enroll", "default", tmp_path / "more", "--gallery", "~/g.gallery").code == 0
    assert len(hmdrn("inspect", tmp_path / "g.gallery", "--json").json["species"]) == 5


@pytest.mark.parametrize("path", ["~no-such-user/x", "x" * 300], ids=["no such home", "too long"])
def test_a_path_that_cannot_be_is_refused_wherever_it_is_given(path, hmdrn, gallery, photo, specimens):
    image = photo()
    assert_refused(hmdrn("classify", "default", path, "--gallery", gallery))
    assert_refused(hmdrn("classify", "default", image, "--gallery", path))
    assert_refused(hmdrn("classify", path, image, "--gallery", gallery))
    assert_refused(hmdrn("enroll", "default", specimens, "--gallery", path))
    assert_refused(hmdrn("enroll", "default", path, "--gallery", gallery))
    assert_refused(hmdrn("inspect", path))
    assert_refused(hmdrn("eval", "default", path))
    assert_refused(hmdrn("export", "--precision", "fp32", "--checkpoint", path))
    assert_refused(hmdrn("demo", "--output", f"{path}.png"))


def test_folders_below_the_species_folders_are_refused(hmdrn, photo, tmp_path):
    photo("deep/Jay/raw/a.png")
    photo("deep/Tit/raw/a.png")
    target = tmp_path / "g.gallery"
    assert_refused(hmdrn("enroll", "default", tmp_path / "deep", "--gallery", target), "deep")
    assert not target.exists()


def test_any_changed_byte_of_a_manifest_is_refused_in_one_line(hmdrn, gallery, photo, copied_bundle):
    image, manifest = photo(), copied_bundle / "manifest.json"
    data = manifest.read_bytes()
    digits = [i for i, byte in enumerate(data) if byte in b"0123456789.-"]
    for position in [*range(0, len(data), 97), *digits[::40]]:
        for byte in (b"9", b"e", b" ", b"\xff"):
            if data[position : position + 1] != byte:
                manifest.write_bytes(data[:position] + byte + data[position + 1 :])
                assert_refused(hmdrn("inspect", copied_bundle), "manifest.json")
    manifest.write_bytes(data)
    assert hmdrn("classify", copied_bundle, image, "--gallery", gallery).code == 0
