"""Motion before a static camera, in films of drawn specimens and of plain squares whose places are known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

import hmdrn
from benchmarks.motion.film import Conditions, Film, FilmSettings
from hmdrn.detectors.blobs import find_blobs, find_fullest, trim_box
from hmdrn.detectors.color_memory import ColorMemory
from hmdrn.watching.frames import Frame
from hmdrn.watching.tracker import compute_iou
from hmdrn_runtime.specimens.drawing import draw_specimens

SIZE = 160, 90
SQUARE = (60, 30, 84, 54)


@pytest.fixture(scope="module")
def specimens():
    return [images[0][..., ::-1].copy() for images in draw_specimens(range(4), 1, size=64)]


def find(detector, film):
    """Yield the found and the true boxes of each frame, and its time."""
    for pixels, truth, time in film:
        yield detector(Frame(0, time, time, time, pixels)), truth, time


class Scene:
    """A textured background, and a square in a color of its own at some times."""

    def __init__(self, seconds, is_shown, rate=5.0, light=lambda time: 1.0):
        random = np.random.default_rng(0)
        tiles = random.integers(60, 110, (SIZE[1] // 3, SIZE[0] // 4, 3))
        self.background = np.repeat(np.repeat(tiles, 3, axis=0), 4, axis=1).astype(np.uint8)
        self.square = np.kron(random.integers(0, 2, (4, 4, 1)), np.ones((6, 6, 1))) * (40, 60, 200) + 30
        self.seconds, self.is_shown, self.rate, self.light = seconds, is_shown, rate, light

    def __iter__(self):
        x0, y0, x1, y1 = SQUARE
        for index in range(int(self.seconds * self.rate)):
            time = index / self.rate
            frame = self.background.copy()
            if self.is_shown(time):
                frame[y0:y1, x0:x1] = self.square
            yield np.clip(frame * self.light(time), 0, 255).astype(np.uint8), (), time


def times_found(scene, **settings):
    detector = hmdrn.MotionDetector(hmdrn.MotionSettings(**settings))
    return [time for boxes, _, time in find(detector, scene) if boxes]


def test_visits_before_leaves_light_and_noise_are_found_with_their_boxes(specimens):
    settings = FilmSettings(13, 8, (240, 136), heights=(0.2, 0.4), visits=(1.5, 2.5), seed=5)
    film = Film(specimens, settings, Conditions(leaves=12))
    overlaps = {number: [] for number in range(len(film.visits))}
    for boxes, truth, _ in find(hmdrn.MotionDetector(), film):
        for number, box in truth:
            overlaps[number].append(max((compute_iou(box, other) for other in boxes), default=0.0))
    assert len(overlaps) >= 2
    for values in overlaps.values():
        assert max(values) > 0.5
    assert np.mean([value for values in overlaps.values() for value in values if value]) > 0.5


def test_leaves_light_and_noise_are_not_subjects(specimens):
    settings = FilmSettings(15, 8, (240, 136), visits=(100, 100), seed=4)
    film = Film(specimens, settings, Conditions(leaves=25, noise=4))
    assert not film.visits
    assert [time for boxes, _, time in find(hmdrn.MotionDetector(), film) if boxes] == []


def test_a_subject_is_found_until_it_goes_also_while_it_sits_still():
    times = times_found(Scene(50, lambda time: 6 <= time < 45, rate=4))
    assert 6.25 <= times[0] <= 7
    assert times == pytest.approx(np.arange(times[0], 45, 0.25))


def test_the_box_of_a_subject_is_its_own():
    detector = hmdrn.MotionDetector()
    *_, (boxes, _, _) = find(detector, Scene(8, lambda time: time >= 6))
    (box,) = boxes
    assert compute_iou(box, SQUARE) > 0.8
    assert all(isinstance(side, float) for side in box)


def test_a_leaf_that_touches_a_subject_for_a_moment_does_not_enlarge_its_box():
    detector = hmdrn.MotionDetector()
    for pixels, _, time in Scene(10, lambda time: time >= 6):
        if 9 <= time < 9.6:
            pixels[34:50, 84:110] = (0, 200, 200)
        boxes = detector(Frame(0, time, time, time, pixels))
        if time >= 9:
            (box,) = boxes
            assert compute_iou(box, SQUARE) > 0.8


def test_a_leaf_that_a_subject_has_touched_does_not_take_its_place():
    detector = hmdrn.MotionDetector()
    for pixels, _, time in Scene(8.5, lambda time: False, rate=10.0):
        x = 20 + round(30 * (time - 6))
        if 7.5 <= time < 8.2:
            pixels[48:55, 36:70] = (0, 200, 200)
        if time >= 6:
            pixels[40:50, x : x + 10] = (200, 60, 200)
        boxes = detector(Frame(0, time, time, time, pixels))
        if time >= 7:
            (box,) = boxes
            assert compute_iou(box, (x, 40, x + 10, 50)) > 0.5


def test_a_subject_is_new_also_once_it_has_been_remembered():
    gray, red = np.full((40, 60, 3), 90, np.uint8), np.full((40, 60, 3), 90, np.uint8)
    red[10:20, 10:20] = (0, 0, 200)
    foreground = np.zeros((40, 60), np.uint8)
    foreground[10:20, 10:20] = 255
    memory = ColorMemory(gray, 0.0)
    memory.add(red, 5.0)
    box = (10.0, 10.0, 20.0, 20.0)
    assert memory.measure_novelty(box, red, foreground, before=4.0) == 1
    assert memory.measure_novelty(box, red, foreground, before=6.0) == 0
    swayed, place = np.roll(red, 6, axis=1), np.roll(foreground, 6, axis=1)
    assert memory.measure_novelty((16.0, 10.0, 26.0, 20.0), swayed, place, before=6.0) == 0


def test_a_region_has_the_box_of_its_pixels_and_specks_and_streaks_are_none():
    foreground = np.zeros((60, 80), np.uint8)
    foreground[10:22, 20:36] = 255
    foreground[40, 40] = 255
    foreground[50:52, 10:40] = 255
    (blob,) = find_blobs(cv2, foreground, 6.0)
    assert blob.box == (20, 10, 36, 22)
    assert blob.area == 12 * 16


def test_nearly_empty_sides_of_a_region_are_trimmed_and_a_tail_by_little():
    foreground = np.zeros((60, 80), np.uint8)
    foreground[10:30, 20:40] = 255
    foreground[20, 40:42] = 255
    assert trim_box(foreground, (18.0, 10.0, 42.0, 32.0)) == (20, 10, 40, 30)
    foreground[20, 40:60] = 255
    assert trim_box(foreground, (20.0, 10.0, 60.0, 30.0)) == (20, 10, 54, 30)
    assert trim_box(foreground, (0.0, 0.0, 10.0, 10.0)) == (0, 0, 10, 10)


def test_the_fullest_part_of_a_region_is_the_subject_and_not_a_leaf_that_touches_it():
    foreground = np.zeros((60, 80), np.uint8)
    foreground[10:30, 20:40] = 255
    foreground[12:16, 40:70] = 255
    foreground[30:50, 24:27] = 255
    assert find_fullest(foreground, (20.0, 10.0, 70.0, 50.0), (20.0, 20.0)) == (20, 10, 40, 30)
    assert find_fullest(foreground, (20.0, 10.0, 70.0, 50.0), (50.0, 40.0)) == (20, 10, 70, 50)


def test_what_was_put_down_for_good_becomes_background():
    times = times_found(Scene(22, lambda time: time >= 6), hold_seconds=10)
    assert 15 < times[-1] < 18


def test_the_gap_that_a_subject_of_the_first_frame_leaves_is_not_a_subject():
    times = times_found(Scene(20, lambda time: time < 8))
    assert len(times) <= 4
    assert all(8 <= time < 9.5 for time in times)


def test_what_is_too_small_or_in_a_zone_to_ignore_is_not_found():
    scene = Scene(10, lambda time: time >= 6)
    assert times_found(scene)
    assert not times_found(scene, min_size=0.4)
    assert not times_found(scene, ignore=[(50, 20, 100, 60)])
    assert times_found(scene, ignore=[(0, 0, 40, 90)])


def test_light_that_changes_at_once_is_not_a_subject():
    for after in (0.6, 1.5, 2.5):
        assert not times_found(Scene(12, lambda time: False, light=lambda t, a=after: 1.0 if t < 7 else a))


def test_a_large_film_is_reduced_and_its_boxes_are_of_the_film():
    scene = Scene(9, lambda time: time >= 6)
    detector = hmdrn.MotionDetector(hmdrn.MotionSettings(width=SIZE[0]))
    for pixels, _, time in scene:
        large = np.repeat(np.repeat(pixels, 4, axis=0), 4, axis=1)
        boxes = detector(Frame(0, time, time, time, large))
    (box,) = boxes
    assert compute_iou(box, tuple(4 * side for side in SQUARE)) > 0.8


def test_a_camera_that_moves_is_reported_once(specimens):
    reports: list[str] = []
    detector = hmdrn.MotionDetector(report=reports.append)
    settings = FilmSettings(10, 5, (160, 90), visits=(100, 100))
    for _ in find(detector, Film(specimens, settings, Conditions(shake=90))):
        pass
    (message,) = reports
    assert "a camera that does not move" in message
    reports.clear()
    for _ in find(hmdrn.MotionDetector(report=reports.append), Film(specimens, settings)):
        pass
    assert reports == []


def test_a_frame_of_another_size_or_after_a_gap_starts_anew():
    detector = hmdrn.MotionDetector()
    scene = Scene(8, lambda time: time >= 6)
    *_, (boxes, _, time) = find(detector, scene)
    assert boxes
    frame = next(iter(scene))[0]
    assert detector(Frame(0, time + 60, 0.0, 0.0, frame)) == []
    assert detector(Frame(0, time + 60.2, 0.0, 0.0, frame[:60, :90].copy())) == []
    gray = np.full((40, 60), 90, np.uint8)
    assert detector(Frame(0, time + 60.4, 0.0, 0.0, gray)) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_size": 0}, "min_size is 0: give a share"),
        ({"width": 10}, "width is 10: give 64 to 1920"),
        ({"hold_seconds": 0}, "hold_seconds is 0: give more"),
        ({"ignore": [(10, 10, 5, 20)]}, r"the zone \(10, 10, 5, 20\) is empty"),
    ],
)
def test_a_setting_out_of_its_range_is_refused(settings, message):
    with pytest.raises(hmdrn.HmdrnError, match=message):
        hmdrn.MotionSettings(**settings)
