"""Wrong arguments from Python: each is an HmdrnError in one line, never a TypeError or AttributeError."""

from __future__ import annotations

import copy
import io
import pickle
from concurrent.futures import Future

import numpy as np
import PIL.Image
import pytest

import hmdrn
from hmdrn_runtime.arguments import check_count, check_number
from hmdrn_runtime.errors import HmdrnError

WRONG = (None, 2.5, "3", True, [], {}, object(), b"x", np.array([1, 2]))


@pytest.fixture(scope="module")
def photos():
    return hmdrn.draw_specimens(range(2), 2, size=84)


@pytest.fixture(scope="module")
def enrolled(photos):
    recognizer = hmdrn.load("default", threads=1)
    for number, label in enumerate(("ant", "bee")):
        recognizer.enroll(label, photos[number])
    return recognizer


@pytest.fixture
def birds(enrolled, gallery):
    return hmdrn.Recognizer(enrolled.bundle, enrolled.backend, gallery)


@pytest.fixture
def report(birds, photos):
    return birds.enroll("ant", photos[0])


@pytest.fixture
def gallery(enrolled):
    return hmdrn.Gallery(enrolled.bundle.manifest.network, enrolled.gallery.species)


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch, photos):
    """Photos are watched, and galleries written, in a folder of each test."""
    monkeypatch.chdir(tmp_path)
    PIL.Image.fromarray(photos[0][0]).save("a.png")


CALLS = {
    "load.bundle": lambda w, **_: hmdrn.load(w),
    "load.gallery": lambda w, **_: hmdrn.load(gallery=w),
    "load.backend": lambda w, **_: hmdrn.load(backend=w),
    "load.threads": lambda w, **_: hmdrn.load(threads=w),
    "load.variant": lambda w, **_: hmdrn.load(variant=w),
    "open_bundle.path": lambda w, **_: hmdrn.open_bundle(w),
    "Recognizer.bundle": lambda w, birds, **_: hmdrn.Recognizer(w, birds.backend),
    "Recognizer.gallery": lambda w, birds, **_: hmdrn.Recognizer(birds.bundle, birds.backend, w),
    "enroll.label": lambda w, birds, photos, **_: birds.enroll(w, photos[0]),
    "enroll.photos": lambda w, birds, **_: birds.enroll("ant", w),
    "review.report": lambda w, birds, photos, **_: birds.review(w, photos[0]),
    "review.photos": lambda w, birds, report, **_: birds.review(report, w),
    "enroll_stream.frames": lambda w, birds, **_: birds.enroll_stream("ant", w),
    "enroll_stream.shots": lambda w, birds, photos, **_: birds.enroll_stream("ant", photos[0], shots=w),
    "enroll_stream.patience": lambda w, birds, photos, **_: birds.enroll_stream("ant", photos[0], patience=w),
    "enroll_stream.unfit": lambda w, birds, photos, **_: birds.enroll_stream("ant", photos[0], unfit=w),
    "classify.image": lambda w, birds, **_: birds.classify(w),
    "classify.top": lambda w, birds, photos, **_: birds.classify(photos[0][0], top=w),
    "classify.boxes": lambda w, birds, photos, **_: birds.classify(photos[0][0], boxes=w),
    "classify_batch.images": lambda w, birds, **_: birds.classify_batch(w),
    "classify_batch.top": lambda w, birds, photos, **_: birds.classify_batch(photos[0], top=w),
    "classify_async.image": lambda w, birds, **_: birds.classify_async(w).result(60),
    "explain.image": lambda w, birds, **_: birds.explain(w),
    "explain.box": lambda w, birds, photos, **_: birds.explain(photos[0][0], box=w),
    "explain.against": lambda w, birds, photos, **_: birds.explain(photos[0][0], against=w),
    "forget.label": lambda w, birds, **_: birds.forget(w),
    "forget.photo": lambda w, birds, **_: birds.forget("ant", w),
    "save_gallery.path": lambda w, birds, **_: birds.save_gallery(w),
    "save_gallery.settle": lambda w, birds, **_: birds.save_gallery("x/g", w),
    "Gallery.add": lambda w, gallery, **_: gallery.add("ant", w),
    "Gallery.forget": lambda w, gallery, **_: gallery.forget(w),
    "Gallery.rename": lambda w, gallery, **_: gallery.rename(w, "wasp"),
    "Gallery.merge": lambda w, gallery, **_: gallery.merge(w),
    "Gallery.merge.only": lambda w, gallery, **_: gallery.merge(gallery, w),
    "Gallery.select": lambda w, gallery, **_: gallery.select(w),
    "Gallery.compact": lambda w, gallery, **_: gallery.compact(w),
    "Gallery.calibrate": lambda w, gallery, **_: gallery.calibrate(w),
    "load_gallery": lambda w, **_: hmdrn.load_gallery(w),
    "save_gallery.gallery": lambda w, **_: hmdrn.save_gallery(w, "x/g"),
    "edit_gallery.wait": lambda w, **_: hmdrn.edit_gallery("x/g", wait=w).__enter__(),
    "reenroll.gallery": lambda w, birds, **_: hmdrn.reenroll(w, birds),
    "reenroll.recognizer": lambda w, gallery, **_: hmdrn.reenroll(gallery, w),
    "LiveWorker.work": lambda w, **_: hmdrn.LiveWorker(w),
    "LiveWorker.waiting": lambda w, **_: hmdrn.LiveWorker(len, w),
    "calibrate_threshold": lambda w, **_: hmdrn.calibrate_threshold(w),
    "calibrate_threshold.far": lambda w, birds, **_: hmdrn.calibrate_threshold(birds, w),
    "calibrate_threshold.unknown": lambda w, birds, **_: hmdrn.calibrate_threshold(birds, unknown=w),
    "evaluate_acceptance": lambda w, **_: hmdrn.evaluate_acceptance(w),
    "Calibration.from_dict": lambda w, **_: hmdrn.Calibration.from_dict(w),
    "open_dataset": lambda w, **_: hmdrn.open_dataset(w),
    "BundleScorer": lambda w, **_: hmdrn.BundleScorer(w),
    "evaluate.scorer": lambda w, **_: hmdrn.evaluate(w, {}, []),
    "evaluate.classes": lambda w, birds, **_: hmdrn.evaluate(
        hmdrn.BundleScorer(birds), w, [hmdrn.EpisodeSetting()]
    ),
    "evaluate.settings": lambda w, birds, **_: hmdrn.evaluate(hmdrn.BundleScorer(birds), {}, w),
    "compare_accuracy": lambda w, **_: hmdrn.compare_accuracy(w, w),
    "draw_specimens": lambda w, **_: hmdrn.draw_specimens(w, 1),
    "draw_specimens.count": lambda w, **_: hmdrn.draw_specimens([0], w),
    "draw_specimens.size": lambda w, **_: hmdrn.draw_specimens([0], 1, size=w),
    "profile_bundle.recognizer": lambda w, **_: next(hmdrn.profile_bundle(w, hmdrn.ProfileSettings())),
    "profile_bundle.settings": lambda w, birds, **_: next(hmdrn.profile_bundle(birds, w)),
    "Smoothing.seconds": lambda w, **_: hmdrn.Smoothing(seconds=w),
    "Smoothing.hysteresis": lambda w, **_: hmdrn.Smoothing(hysteresis=w),
    "Smoothing.hold": lambda w, **_: hmdrn.Smoothing(hold=w),
    "watch.bundle": lambda w, **_: hmdrn.watch(w, "a.png"),
    "watch.source": lambda w, birds, **_: hmdrn.watch(birds, w),
    "watch.smoothing": lambda w, birds, **_: hmdrn.watch(birds, "a.png", smoothing=w),
    "watch.stall_after": lambda w, birds, **_: hmdrn.watch(birds, "a.png", stall_after=w),
    "watch.max_frames": lambda w, birds, **_: hmdrn.watch(birds, "a.png", max_frames=w),
    "watch.max_seconds": lambda w, birds, **_: hmdrn.watch(birds, "a.png", max_seconds=w),
    "LatencyHistogram.percentile": lambda w, **_: hmdrn.LatencyHistogram().percentile(w),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_wrong_argument_is_an_error_of_ours_in_one_line(call, birds, photos, report, gallery):
    for wrong in WRONG:
        message = ""
        try:  # some of them are right for some
            CALLS[call](wrong, birds=birds, photos=photos, report=report, gallery=gallery)
        except HmdrnError as error:
            message = str(error)
        assert "\n" not in message


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda b, p: b.classify(p, top=2.5), "top is 2.5: ask for at least 1 species, a whole number"),
        (lambda b, p: b.classify(p, top="3"), "top is '3': ask for at least 1 species, a whole number"),
        (lambda b, p: b.classify(p, top=True), "top is True: ask for at least 1"),
        (lambda b, p: b.classify([p, p]), "for several photos call classify_batch"),
        (lambda b, p: hmdrn.load(threads="2"), "threads is '2': give at least 1, a whole number, or None"),
        (lambda b, p: hmdrn.load(None), "None cannot be used as a path"),
        (lambda b, p: hmdrn.watch(b, "a.png", max_frames="3"), "max_frames is '3': give at least 1, a whole"),
        (
            lambda b, p: hmdrn.watch(b, "a.png", smoothing=3),
            "smoothing is 3: give a hmdrn.Smoothing, or None",
        ),
        (lambda b, p: b.gallery.select("ant"), r"labels is 'ant': pass a list, \['ant'\]"),
        (lambda b, p: b.enroll_stream("ant", "a.png"), "frames is a str: pass an iterable of photos"),
        (lambda b, p: b.forget("ant", 3), "photo is 3: give "),
    ],
)
def test_the_message_says_what_is_right(call, message, birds, photos):
    with pytest.raises(HmdrnError, match=message):
        call(birds, photos[0][0])


@pytest.mark.parametrize("value", [3, np.int8(3), np.uint64(3), np.array(3)])
def test_whole_numbers_of_numpy_are_numbers(value, birds, photos):
    assert check_count(value, "count", "give one") == 3
    assert len(birds.classify(photos[0][0], top=value).ranking) == 2


@pytest.mark.parametrize("value", [1, 1.0, np.float32(1), np.int64(1)])
def test_numbers_of_numpy_are_numbers(value):
    assert check_number(value, "share", "give one") == 1.0
    assert hmdrn.Smoothing(seconds=value).seconds == 1


def test_a_file_in_any_buffer_is_a_photo(birds, photos):
    stream = io.BytesIO()
    PIL.Image.fromarray(photos[1][0]).save(stream, "PNG")
    data = stream.getvalue()
    expected = birds.classify(data)
    buffer = bytearray(data)
    assert birds.classify(buffer) == expected
    assert birds.classify(memoryview(data)) == expected
    assert birds.classify_batch([buffer, memoryview(data)]) == birds.classify_batch([data, data])
    assert birds.classify_batch(buffer) == [expected]
    future: Future[hmdrn.Prediction] = birds.classify_async(buffer)
    buffer[:] = bytes(len(buffer))  # the camera uses its buffer again
    assert future.result(60) == expected


@pytest.mark.parametrize("copied", [pickle.dumps, copy.copy, copy.deepcopy])
def test_what_holds_a_session_or_a_lock_says_why_it_is_not_copied(copied, birds, gallery):
    holders = [birds, (hmdrn.watch(birds, "a.png"),), (hmdrn.BundleScorer(birds),)]
    for holder in holders[: 1 if copied is copy.copy else 3]:  # a copy of those shares the recognizer
        with pytest.raises(
            HmdrnError, match=r"a Recognizer cannot be pickled or copied: call hmdrn\.load in"
        ):
            copied(holder)
    with pytest.raises(HmdrnError, match=r"a Gallery cannot be pickled or copied: write it with hmdrn\.save"):
        copied(gallery)
    with pytest.raises(
        HmdrnError, match="a LiveWorker cannot be pickled or copied: make one in each process"
    ):
        copied(hmdrn.LiveWorker(len))


@pytest.mark.parametrize("copied", [lambda item: pickle.loads(pickle.dumps(item)), copy.copy, copy.deepcopy])
def test_results_can_be_pickled_and_copied(copied, birds, photos, report, gallery):
    species = gallery.species["bee"]
    merged = gallery.merge(gallery)
    for item in (birds.classify(photos[0][0]), report, merged, birds.backend_report, hmdrn.Smoothing()):
        assert copied(item) == item
    assert copied(species).key == species.key
