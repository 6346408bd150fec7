"""`hmdrn watch`, as the entry point runs it."""

from __future__ import annotations

import json
import os
import threading

import pytest
from outcomes import assert_refused
from PIL import Image

from hmdrn.watching import overlay
from hmdrn_runtime.backends import report


def lines_of(outcome):
    return [json.loads(line) for line in outcome.out.splitlines()]


@pytest.fixture
def watch(hmdrn, site):
    """Run `hmdrn watch` on the drawn gallery, by default on its film."""

    def call(*options, source=site.film, gallery=site.gallery):
        return hmdrn("watch", "default", "--gallery", gallery, "--source", source, "--threads", 1, *options)

    return call


@pytest.fixture
def typed(tmp_path):
    """A pipe that boxes can be read from, with some lines in it; it stands for standard input."""

    def make(*boxes: object) -> str:
        path = tmp_path / "boxes"
        os.mkfifo(path)
        text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in boxes)
        threading.Thread(target=path.write_text, args=(text,), daemon=True).start()
        return str(path)

    return make


def test_it_prints_a_line_for_each_change_and_the_summary_on_stderr(watch, site):
    outcome = watch()
    assert outcome.code == 0
    events = lines_of(outcome)
    assert [event["label"] for event in events] == site.labels
    assert [event["before"]["label"] for event in events] == [None, *site.labels[:-1]]
    for event in events:
        assert (event["schema"], event["event"], event["state"]) == ("hmdrn.watch/1", "label", "species")
        assert event["time"].endswith("Z")
        assert event["position"] == pytest.approx(event["frame"] / 30, abs=1e-3)
    for text in ("90 read, 90 classified, 0 dropped", "p50", "p90", "p99", *site.labels):
        assert text in outcome.err


def test_with_json_the_summary_is_the_last_line(watch, site):
    outcome = watch("--json")
    *_, summary = lines_of(outcome)
    assert summary["event"] == "summary"
    assert (summary["read"], summary["classified"], summary["dropped"]) == (90, 90, 0)
    assert sorted(seen["label"] for seen in summary["species"]) == sorted(site.labels)
    assert sum(seen["frames"] for seen in summary["species"]) <= 90
    assert summary["latency_ms"]["p50"] <= summary["latency_ms"]["p90"] <= summary["latency_ms"]["p99"]
    assert outcome.err == ""


def test_it_warns_when_the_bundles_engines_do_not_run(watch, monkeypatch):
    monkeypatch.setattr(report, "has_engines", lambda bundle: True)
    outcome = watch("--max-frames", 1)
    assert "warning: the TensorRT engines do not run, so onnxruntime" in outcome.err
    assert "hmdrn build" in outcome.err


def test_with_all_every_frame_has_its_prediction(watch):
    events = lines_of(watch("--all", "--max-frames", 7))
    frames = [event for event in events if event["event"] == "frame"]
    assert [event["frame"] for event in frames] == list(range(7))
    for event in frames:
        (sighting,) = event["sightings"]
        assert (sighting["track"], sighting["box"]) == (0, None)
        assert sighting["answer"]["label"] == sighting["answer"]["ranking"][0]["label"]


def test_a_detectors_boxes_are_classified_and_a_bad_line_is_reported(watch, typed):
    boxes = [
        *[{"frame": i, "boxes": [[10, 10, 150, 150]]} for i in range(5)],
        "{",
        {"frame": 6, "boxes": [[0, 0, 80, 80], [80, 80, 160, 160]]},
        {"frame": 9, "boxes": []},
    ]
    outcome = watch("--boxes", typed(*boxes), "--all", "--hold", 1, "--json")
    assert outcome.code == 0
    events = lines_of(outcome)
    answered = [e for e in events if e["event"] == "frame" and "boxes_frame" in e]
    counts = {event["boxes_frame"]: len(event["sightings"]) for event in answered}
    assert counts == {**dict.fromkeys(range(5), 1), 6: 2, 9: 0}
    messages = [event["message"] for event in events if event["event"] == "source"]
    assert messages[0].startswith("line 6 of the boxes is damaged")
    assert messages[1:] == ["the boxes have ended"]
    assert outcome.err.splitlines() == [f"hmdrn: {' '.join(message.split())}" for message in messages]
    summary = events[-1]
    assert (summary["bad_lines"], summary["unused_lines"]) == (1, 0)
    assert (summary["classified"], summary["skipped"]) == (8, 3)
    # The box of the first frames overlaps neither of those of frame 6 by much.
    frames = {e["frame"]: e for e in events if e["event"] == "frame"}
    assert [[s["track"] for s in frames[i]["sightings"]] for i in (0, 4, 5, 6)] == [[1], [1], [], [2, 3]]


def test_the_summary_counts_late_lines_of_boxes(watch, typed):
    lines = [{"frame": i, "boxes": []} for i in (1, 0, 2)]
    outcome = watch("--boxes", typed(*lines, "{"))
    assert outcome.code == 0
    assert "1 bad, 1 late or overtaken" in outcome.err


def test_a_subject_is_gone_while_the_detector_is_silent(watch, typed):
    lines = [{"frame": 0, "boxes": [[10, 10, 150, 150]]}, {"frame": 60, "boxes": []}]
    outcome = watch("--boxes", typed(*lines), "--all", "--json")
    *events, ended, summary = lines_of(outcome)
    assert [(event["event"], event["frame"]) for event in events] == [
        ("frame", 0),
        ("gone", 31),
        ("frame", 60),
    ]
    assert events[1]["track"] == 1
    assert (ended["state"], summary["classified"], summary["skipped"]) == ("boxes", 2, 60)


def test_a_region_is_given_in_pixels(watch):
    *_, event = lines_of(watch("--region", "10,20,150,150", "--all", "--max-frames", 1, "--hold", 1))
    assert event["box"] == [10, 20, 150, 150]


def test_a_region_over_the_border_is_an_event_and_a_line_on_stderr(watch):
    outcome = watch("--region", "10,20,1500,150", "--all", "--max-frames", 2, "--hold", 1, "--json")
    assert outcome.code == 0
    assert outcome.err.count("10,20,160,150 is used") == 1
    source, *_ = [event for event in lines_of(outcome) if event["event"] == "source"]
    assert source["state"] == "region"
    boxes = [e["sightings"][0]["box"] for e in lines_of(outcome) if e["event"] == "frame"]
    assert boxes == [[10, 20, 160, 150]] * 2


def test_the_overlay_is_a_film(watch, tmp_path):
    assert watch("--overlay", tmp_path / "seen.mp4", "--max-frames", 10).code == 0
    capture = overlay.open_cv2("testing").VideoCapture(str(tmp_path / "seen.mp4"))
    assert capture.read()[0]


def test_unknowns_are_saved_with_a_calibrated_gallery(hmdrn, watch, site, tmp_path):
    for place, photo in enumerate(site.photos):
        (tmp_path / "species" / site.labels[place]).mkdir(parents=True)
        (tmp_path / "species" / site.labels[place] / "a.jpg").write_bytes(photo.read_bytes())
    gallery = tmp_path / "calibrated.gallery"
    assert hmdrn("enroll", "default", tmp_path / "species", "-g", gallery, "--far", 0.01).code == 0
    strangers = tmp_path / "strangers"
    strangers.mkdir()
    for place, photo in enumerate(site.photos):
        Image.open(photo).transpose(Image.Transpose.TRANSPOSE).convert("L").save(strangers / f"{place}.png")
    options = ("--snapshots", tmp_path / "kept", "--snapshot-every", 0)
    outcome = watch(*options, "--json", source=strangers, gallery=gallery)
    assert outcome.code == 0
    *_, summary = lines_of(outcome)
    assert summary["unknown"]["frames"] > 0
    assert len(list((tmp_path / "kept").rglob("*.jpg"))) == summary["unknown"]["frames"]


def test_snapshots_are_refused_if_nothing_can_be_unknown(watch, tmp_path):
    assert_refused(watch("--snapshots", tmp_path / "kept"), "not calibrated", "run hmdrn gallery calibrate")
    assert not (tmp_path / "kept").exists()


def test_classify_and_watch_read_the_same_photos_of_a_folder(watch, hmdrn, site, tmp_path):
    photo = site.photos[0].read_bytes()
    shown = ["a.jpg", "nest/b.JPG", "nest/deep/c.jpeg"]
    litter = [
        ".hidden.jpg",
        ".git/d.jpg",
        "__MACOSX/e.jpg",
        "nest/._b.jpg",
        "nest/.thumbs/f.jpg",
        "notes.txt",
    ]
    for name in shown + litter:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(photo)
    (tmp_path / "nest" / "again").symlink_to(tmp_path)
    expected = [str(tmp_path / name) for name in shown]
    assert [e["file"] for e in lines_of(watch("--all", source=tmp_path)) if e["event"] == "frame"] == expected
    done = hmdrn("classify", "default", tmp_path, "--gallery", site.gallery, "--json")
    assert [row["image"] for row in done.json] == expected


def test_the_time_of_a_photo_is_that_of_its_capture_by_exif_or_file(watch, site, tmp_path):
    exif = Image.Exif()
    exif[306] = "2020:05:01 08:30:00"  # DateTime
    exif[0x9010] = "+02:00"  # OffsetTime
    with Image.open(site.photos[0]) as photo:
        photo.save(tmp_path / "a.jpg", exif=exif)
        photo.save(tmp_path / "b.jpg")
    os.utime(tmp_path / "b.jpg", (1e9, 1e9))
    events = lines_of(watch("--all", source=tmp_path))
    times = [event["time"] for event in events if event["event"] == "frame"]
    assert times == ["2020-05-01T06:30:00.000Z", "2001-09-09T01:46:40.000Z"]


def test_snapshots_are_not_saved_among_the_watched_photos(watch, site, tmp_path):
    (tmp_path / "a.jpg").write_bytes(site.photos[0].read_bytes())
    for folder in (tmp_path, tmp_path / "kept" / "here"):
        assert_refused(
            watch("--snapshots", folder, source=tmp_path), "cannot keep snapshots in", "are watched"
        )


def test_a_folder_with_a_bad_photo_is_classified_and_ends_with_2(watch, site, tmp_path):
    (tmp_path / "a.jpg").write_bytes(site.photos[0].read_bytes())
    (tmp_path / "b.jpg").write_bytes(b"no photo")
    outcome = watch("--json", source=tmp_path)
    assert outcome.code == 2
    label, source, summary = lines_of(outcome)
    assert (label["label"], label["file"]) == (site.labels[0], str(tmp_path / "a.jpg"))
    assert (source["state"], summary["unreadable"]) == ("unreadable", 1)
    assert "b.jpg" in outcome.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--region", "1,2,3"], ["--region", "1,2,3", "four numbers"]),
        (["--region", "a,b,c,d"], ["--region"]),
        (["--region", "500,0,600,90"], ["lies outside the image of 160x160 pixels"]),
        (["--region", "1,2,30,40", "--boxes", "-"], ["a region or boxes"]),
        (["--boxes", "missing"], ["missing", "cannot read boxes"]),
        (["--boxes", "."], ["cannot read boxes from .", "it is a folder", "a named pipe"]),
        (["--overlay", "seen.mkv"], ["seen.mkv", ".mp4"]),
        (["--mqtt", "mqtt://127.0.0.1:9/a"], ["cannot reach the broker"]),
        (["--stall-after", "0"], ["--stall-after"]),
        (["--max-frames", "0"], ["--max-frames"]),
    ],
)
def test_a_wrong_option_is_one_line_that_names_it(watch, options, words):
    assert_refused(watch(*options), *words)


def test_the_overlay_does_not_replace_an_input(watch, site, tmp_path):
    film, gallery, boxes = tmp_path / "mine.mp4", tmp_path / "g.mp4", tmp_path / "boxes.mp4"
    film.write_bytes(site.film.read_bytes())
    gallery.write_bytes(site.gallery.read_bytes())
    boxes.write_text('{"boxes": []}\n')
    (tmp_path / "link.mp4").symlink_to(film)
    for output in (film, gallery, boxes, tmp_path / "link.mp4"):
        refused = watch("--overlay", output, "--boxes", boxes, source=film, gallery=gallery)
        assert_refused(refused, "would replace an input")
    assert film.read_bytes() == site.film.read_bytes()
    assert gallery.read_bytes() == site.gallery.read_bytes()


def test_a_wrong_source_is_one_line_that_names_it(watch, tmp_path):
    (tmp_path / "text.mp4").write_bytes(b"no film" * 100)
    (tmp_path / "photos").mkdir()
    for source, words in {
        tmp_path / "missing.mp4": ["no such file or folder", "missing.mp4"],
        tmp_path / "text.mp4": ["text.mp4", "not a video"],
        tmp_path / "photos": ["photos", "holds no photo"],
        "99": ["camera 99", "no such device"],
        "csi://0": ["csi://0"],
        "rtsp://keeper:secret@127.0.0.1:9/a": ["cannot open rtsp://***@127.0.0.1:9/a"],
        "gopher://a": ["gopher"],
    }.items():
        assert_refused(watch(source=source), *words)


def test_an_empty_gallery_is_refused_before_a_camera_is_opened(watch, hmdrn, tmp_path, site):
    from hmdrn_runtime.gallery.file import load_gallery, save_gallery
    from hmdrn_runtime.gallery.gallery import Gallery

    save_gallery(Gallery(load_gallery(site.gallery).network), tmp_path / "empty.gallery")
    assert_refused(watch(source="99", gallery=tmp_path / "empty.gallery"), "has no species")
