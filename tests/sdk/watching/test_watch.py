"""Watching as an API, with the package's own model and with predictions that a test chooses."""

from __future__ import annotations

import gc
import itertools
import json
import os
import threading
import time
import tracemalloc
import zipfile
from io import BytesIO

import numpy as np
import pytest
from fake_classifier import FakeClassifier, make_prediction
from films import RATE, film
from PIL import Image

import hmdrn
from hmdrn.watching.smoothing import Smoothing


def labels_in_order(results):
    return [label for label, _ in itertools.groupby(r.label for r in results) if label is not None]


class Slowed:
    """A recognizer on a slower device."""

    def __init__(self, recognizer, seconds):
        self.recognizer, self.seconds = recognizer, seconds

    def classify_batch(self, images):
        time.sleep(self.seconds)
        answers = self.recognizer.classify_batch(images)
        self.done = time.monotonic()
        return answers


def test_it_labels_the_drawn_species_of_a_film_in_order(site, recognizer):
    watching = hmdrn.watch(recognizer, site.film)
    assert labels_in_order(watching) == site.labels
    summary = watching.summary
    assert (summary.read, summary.classified, summary.dropped) == (3 * RATE, 3 * RATE, 0)
    assert {label: seen.times for label, seen in summary.species.items()} == dict.fromkeys(site.labels, 1)


@pytest.mark.slow
def test_it_labels_the_species_of_a_film_of_photos_in_order(shared, tmp_path):
    """Five photos of each enrolled; others shown, at 30 frames a second, two seconds each."""
    recognizer = hmdrn.load("default", threads=1)
    shown = []
    with zipfile.ZipFile(shared("data/butterflies.zip")) as archive:
        names = sorted(name for name in archive.namelist() if name.startswith("val/"))
        classes = sorted({name.split("/")[1] for name in names})[:5]
        for label in classes:
            photos = [archive.read(name) for name in names if name.split("/")[1] == label]
            recognizer.enroll(label, photos[:5])
            shown.append([Image.open(BytesIO(photo)).convert("RGB") for photo in photos[5:7]])
    path = film(tmp_path / "photographs.mp4", [two[i] for i in range(2) for two in shown])
    watching = hmdrn.watch(recognizer, path)
    assert labels_in_order(watching) == classes * 2
    assert watching.summary.classified == 2 * len(classes) * 2 * RATE


@pytest.mark.slow
def test_at_five_results_a_second_they_stay_fresh_and_drops_are_counted(site, recognizer):
    slow = Slowed(recognizer, 0.2)
    watching = hmdrn.watch(slow, site.film, every_frame=False, max_seconds=20)
    results = []
    for result in watching:
        captured = result.frame.captured
        assert 0.2 <= slow.done - captured <= result.latency <= time.monotonic() - captured
        results.append(result)
    summary = watching.summary
    # A busy machine may hold up any one frame. A film's frame waits for a 30th of a second at most, so half
    # of the answers are far fresher than two slow frames, which is what a queue of one frame would give.
    latencies = [result.latency for result in results]
    assert np.percentile(latencies, 80) < 0.4
    assert np.percentile(latencies, 50) < 0.3
    assert summary.read == 3 * RATE
    assert summary.dropped >= 3 * RATE - 20
    assert summary.read == summary.classified + summary.dropped
    assert labels_in_order(results) == site.labels


def test_the_percentiles_of_latency_are_those_of_the_results(site):
    watching = hmdrn.watch(Slowed(FakeClassifier(), 0.001), site.film)
    latencies = [1000 * result.latency for result in watching]
    reported = watching.summary.to_dict()["latency_ms"]
    for name, percent in (("p50", 50), ("p90", 90), ("p99", 99)):
        exact = np.percentile(latencies, percent, method="inverted_cdf")
        assert reported[name] == pytest.approx(exact, rel=0.011)


def test_only_the_region_is_classified(site):
    classifier = FakeClassifier()
    results = list(hmdrn.watch(classifier, site.film, region=(10, 20, 70, 60), max_frames=3))
    assert [image.size for image in classifier.images] == [(60, 40)] * 3
    assert {sighting.box for result in results for sighting in result.sightings} == {(10, 20, 70, 60)}
    expected = results[0].frame.image.crop((10, 20, 70, 60))
    assert np.array_equal(np.asarray(classifier.images[0]), np.asarray(expected))


def test_a_region_outside_the_image_is_an_error(site):
    with pytest.raises(hmdrn.ImageError, match=r"box \(500, 0, 600, 90\) lies outside"):
        list(hmdrn.watch(FakeClassifier(), site.film, region=(500, 0, 600, 90)))


def test_a_region_over_the_border_is_clipped_and_reported_once(site):
    events = []
    classifier = FakeClassifier()
    watching = hmdrn.watch(
        classifier, site.film, region=(100, -5, 500, 90), max_frames=3, on_event=events.append
    )
    assert {s.box for result in watching for s in result.sightings} == {(100, 0, 160, 90)}
    assert [image.size for image in classifier.images] == [(60, 90)] * 3
    (event,) = events
    assert event.state == "region"
    assert "100,-5,500,90" in event.message
    assert "160x160 pixels: 100,0,160,90 is used" in event.message


def test_frames_are_rgb(tmp_path):
    path = film(tmp_path / "red.mp4", [Image.new("RGB", (64, 64), (200, 30, 60))], seconds=0.1, side=64)
    (result,) = hmdrn.watch(FakeClassifier(), path, max_frames=1)
    assert np.asarray(result.frame.image).mean(axis=(0, 1)) == pytest.approx([200, 30, 60], abs=6)


@pytest.mark.parametrize("shape", [(40, 60, 3), (40, 60)])
def test_a_crop_of_a_frame_is_that_of_its_image_which_is_not_made_for_it(shape):
    frame = hmdrn.Frame(0, 0.0, 0.0, 0.0, np.random.default_rng(0).integers(0, 256, shape, np.uint8))
    crop = frame.crop((10.4, 5, 70, 30))
    assert "image" not in vars(frame)
    assert np.array_equal(crop, frame.image.crop((10, 5, 60, 30)))
    with pytest.raises(hmdrn.ImageError, match="lies outside the image"):
        frame.crop((70, 0, 90, 20))


def test_each_box_of_a_detector_is_classified_with_a_separate_label(site):
    def boxes(frame):
        if frame.index % 10 == 9:
            return None
        return [(0, 0, 60, 60), (80, 80, 150, 150)] if frame.index < 40 else [(80, 80, 150, 150)]

    classifier = FakeClassifier(
        *[make_prediction("Jay"), make_prediction("Tit")] * 36, make_prediction("Tit")
    )
    watching = hmdrn.watch(classifier, site.film, boxes=boxes)
    results = list(watching)
    assert watching.summary.skipped == 9
    assert watching.summary.classified == 81
    assert {len(r.sightings) for r in results if r.frame.index < 40} == {2}
    labels = {s.track: s.smoothed.label for r in results[10:30] for s in r.sightings}
    assert labels == {1: "Jay", 2: "Tit"}
    gone = [(r.frame.position, number) for r in results for number in r.gone]
    ((when, number),) = gone
    assert number == 1
    assert 38 / RATE + 1 < when < 38 / RATE + 1.2


def test_a_subject_is_gone_also_while_the_detector_is_silent(site):
    watching = hmdrn.watch(
        FakeClassifier(), site.film, boxes=lambda f: [(0, 0, 60, 60)] if f.index < 10 else None
    )
    results = list(watching)
    assert [result.gone for result in results] == [()] * 10 + [(1,)]
    last = results[-1]
    assert (last.skipped, last.sightings, last.changed) == (True, (), False)
    assert 9 / RATE + 1 < last.frame.position < 9 / RATE + 1.1
    assert [result.skipped for result in results[:10]] == [False] * 10
    assert (watching.summary.classified, watching.summary.skipped) == (10, 80)


def test_in_a_loop_the_frames_numbers_go_on_for_boxes_too(site):
    source, sink = os.pipe()
    os.write(sink, b'{"frame": 92, "boxes": [[0, 0, 60, 60]]}\n{"boxes": [[0, 0, 60, 60]]}\n')
    os.write(sink, b'{"frame": 2, "boxes": []}\n')
    os.close(sink)
    watching = hmdrn.watch(FakeClassifier(), site.film, boxes=source, loop=True)
    results = list(watching)
    os.close(source)
    assert [(result.frame.index, result.detector_frame_id) for result in results] == [(92, 92), (93, None)]
    assert [result.frame.position for result in results] == pytest.approx([92 / RATE, 93 / RATE])
    # Of a film of 90 frames, the third once more.
    (third,) = [r for r in hmdrn.watch(FakeClassifier(), site.film, max_frames=3) if r.frame.index == 2]
    assert np.array_equal(np.asarray(results[0].frame.image), np.asarray(third.frame.image))
    assert watching.summary.unused_lines == 1


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64])
def test_boxes_may_be_arrays_and_are_given_back_as_plain_numbers(site, kind):
    given = np.array([[0, 0, 60, 60], [80, 80, 150, 150]], kind)
    for boxes in (given, list(given), [tuple(box) for box in given]):
        (result,) = hmdrn.watch(FakeClassifier(), site.film, boxes=lambda frame, b=boxes: b, max_frames=1)
        assert [s.box for s in result.sightings] == [(0, 0, 60, 60), (80, 80, 150, 150)]
        assert json.loads(json.dumps([s.box for s in result.sightings])) == given.tolist()
    nothing = hmdrn.watch(
        FakeClassifier(), site.film, boxes=lambda frame: np.empty((0, 4), kind), max_frames=2
    )
    assert [result.sightings for result in nothing] == [(), ()]


def test_one_box_in_place_of_a_list_is_reported(site):
    for box in (np.array([1.0, 2, 30, 40]), (1, 2, 30, 40)):
        events = []
        watching = hmdrn.watch(FakeClassifier(), site.film, boxes=lambda f, b=box: b, on_event=events.append)
        assert list(watching) == []
        assert "single box, (1" in events[0].message
        assert watching.summary.unreadable == 90


def test_it_ends_in_time_also_while_boxes_are_awaited(site):
    source, sink = os.pipe()
    watching = hmdrn.watch(FakeClassifier(), site.film, boxes=source, max_seconds=0.3)
    late = threading.Timer(10, watching.stop)
    late.start()
    assert list(watching) == []
    late.cancel()
    assert 0.3 <= watching.summary.seconds < 5
    os.close(sink)


def test_a_film_played_like_a_camera_uses_each_line_of_boxes_once(site):
    source, sink = os.pipe()

    def detect():
        for number in range(4):
            os.write(sink, b'{"frame": "shot %d", "boxes": [[0, 0, 60, 60]]}\n' % number)
            time.sleep(0.25)
        os.close(sink)

    threading.Thread(target=detect).start()
    watching = hmdrn.watch(FakeClassifier(), site.film, boxes=source, every_frame=False, loop=True)
    assert [result.detector_frame_id for result in watching] == [f"shot {number}" for number in range(4)]
    summary = watching.summary
    assert summary.skipped > 4
    assert summary.read == summary.classified + summary.skipped + summary.dropped


def test_a_bad_box_does_not_affect_the_others(site):
    events = []
    boxes = [(0, 0, 60, 60), (900, 0, 990, 60), (20, 20, 21, 21)]
    watching = hmdrn.watch(
        FakeClassifier(), site.film, boxes=lambda frame: boxes, max_frames=1, on_event=events.append
    )
    ((sighting,),) = [result.sightings for result in watching]
    assert sighting.box == (0, 0, 60, 60)
    assert [event.state for event in events] == ["unreadable"] * 2
    assert "lies outside" in events[0].message


def test_a_frame_without_boxes_has_no_sightings(site):
    classifier = FakeClassifier()
    watching = hmdrn.watch(classifier, site.film, boxes=lambda frame: [], max_frames=5)
    assert [(r.sightings, r.label, r.changed) for r in watching] == [((), None, False)] * 5
    assert classifier.images == []


def test_each_photo_of_a_folder_is_separate_and_a_bad_one_is_reported(site, recognizer, tmp_path):
    for place, photo in enumerate(site.photos):
        (tmp_path / f"{place}.jpg").write_bytes(photo.read_bytes())
    (tmp_path / "1b.jpg").write_bytes(b"no photo")
    events = []
    watching = hmdrn.watch(recognizer, tmp_path, on_event=events.append)
    results = list(watching)
    assert [result.label for result in results] == site.labels
    assert [result.frame.file for result in results] == [str(tmp_path / f"{i}.jpg") for i in range(3)]
    assert [event.state for event in events] == ["unreadable"]
    assert "1b.jpg" in events[0].message
    assert (watching.summary.read, watching.summary.unreadable) == (4, 1)


def test_a_loop_reports_a_bad_photo_once_and_ends_without_a_good_one(site, tmp_path):
    (tmp_path / "b.jpg").write_bytes(b"no photo")
    events = []
    with pytest.raises(hmdrn.SourceError, match="has no photo that can be read"):
        list(hmdrn.watch(FakeClassifier(), tmp_path, loop=True, on_event=events.append))
    assert [event.state for event in events] == ["unreadable"]
    (tmp_path / "a.jpg").write_bytes(site.photos[0].read_bytes())
    events.clear()
    watching = hmdrn.watch(FakeClassifier(), tmp_path, loop=True, max_frames=3, on_event=events.append)
    assert [result.frame.index for result in watching] == [0, 2, 4]
    assert [event.state for event in events] == ["unreadable"]
    assert watching.summary.unreadable == 2


def test_a_loop_that_is_left_lets_go_of_its_source(site):
    watching = hmdrn.watch(FakeClassifier(), site.film, loop=True)
    for result in watching:
        if result.frame.index == 100:
            break
    until = time.monotonic() + 5
    while any(t.name == "hmdrn-watch" for t in threading.enumerate()) and time.monotonic() < until:
        time.sleep(0.01)
    assert not any(t.name == "hmdrn-watch" for t in threading.enumerate())
    assert watching.summary.classified == 101


def test_stop_and_the_limits_end_it(site):
    watching = hmdrn.watch(FakeClassifier(), site.film, loop=True)
    for number, _ in enumerate(watching):
        if number == 6:
            watching.stop()
    assert watching.summary.classified == 7
    watching = hmdrn.watch(FakeClassifier(), site.film, loop=True, max_seconds=0.3)
    assert len(list(watching)) > 0
    assert watching.summary.seconds >= 0.3


def test_what_does_not_fit_together_is_refused(site, recognizer):
    with pytest.raises(hmdrn.HmdrnError, match="a region or boxes, not both"):
        hmdrn.watch(recognizer, site.film, region=(0, 0, 9, 9), boxes=lambda frame: [])
    with pytest.raises(hmdrn.HmdrnError, match="stall_after is 0"):
        hmdrn.watch(recognizer, site.film, stall_after=0)
    for limit in ("max_frames", "max_seconds"):
        for value in (0, -1):
            with pytest.raises(hmdrn.HmdrnError, match=f"{limit} is {value}: give"):
                hmdrn.watch(recognizer, site.film, **{limit: value})
    for boxes in ([(0, 0, 60, 60)], np.zeros((1, 4)), True, 1.5):
        with pytest.raises(hmdrn.HmdrnError, match=f"boxes is {type(boxes).__name__}: give a callable"):
            hmdrn.watch(recognizer, site.film, boxes=boxes)
    with pytest.raises(hmdrn.HmdrnError, match=r"cannot read boxes from .*: it is a folder"):
        hmdrn.watch(recognizer, site.film, boxes=site.film.parent)
    with pytest.raises(hmdrn.HmdrnError, match="cannot watch with None: give a bundle's path"):
        hmdrn.watch(None, site.film)
    with pytest.raises(hmdrn.HmdrnError, match="a gallery or a recognizer"):
        hmdrn.watch(recognizer, site.film, site.gallery)
    with pytest.raises(hmdrn.GalleryError, match="nothing has been enrolled"):
        list(hmdrn.watch("default", site.film))


def test_a_loop_keeps_nothing_of_the_frames_and_subjects_that_have_passed(site):
    class Same:
        def classify_batch(self, images):
            return [make_prediction("Jay")] * len(images)

    def passing(frame):
        """Another subject every 40 frames, each somewhere else, and gone before the next but two."""
        left = 50 * (frame.index // 40 % 3)
        return [(left, 0, left + 40, 40)]

    watching = hmdrn.watch(Same(), site.film, boxes=passing, loop=True, max_frames=1600)
    gone = held = objects = 0
    tracemalloc.start()
    try:
        for result in watching:
            gone += len(result.gone)
            if result.frame.index == 700:
                held, objects = tracemalloc.get_traced_memory()[0], len(gc.get_objects())
        more = len(gc.get_objects()) - objects
        grown = tracemalloc.get_traced_memory()[0] - held
    finally:
        tracemalloc.stop()
    assert gone == 39
    assert more < 200
    assert grown < 3 * 160 * 160 * 3  # the frames that are on their way


def test_it_is_iterated_over_once(site):
    watching = hmdrn.watch(FakeClassifier(), site.film, max_frames=2)
    assert len(list(watching)) == 2
    with pytest.raises(hmdrn.HmdrnError, match=r"iterated over already: make another with hmdrn\.watch"):
        list(watching)
    assert watching.summary.classified == 2


def test_smoothing_is_by_the_films_time_not_by_how_fast_it_is_read(site):
    answers = [make_prediction("Jay")] * 30 + [make_prediction("Tit")] * 60
    (change,) = [
        result.frame.index
        for result in hmdrn.watch(FakeClassifier(*answers), site.film, smoothing=Smoothing(0.5, 0.1, 1))
        if result.changed and result.label == "Tit"
    ]
    # The averages meet where the new answers weigh as much as the older: exp(-t / 0.5) is about a half.
    assert 30 + 0.3 * RATE <= change <= 30 + 0.6 * RATE
