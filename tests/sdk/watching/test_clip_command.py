"""`hmdrn watch --clips`: films of the visits in the diary."""

from __future__ import annotations

import json
import time

import cv2
import numpy as np
import pytest

from hmdrn.visits import clip_recorder, recorder
from hmdrn.visits.store import VisitStore
from hmdrn_runtime.errors import HmdrnError


@pytest.fixture
def diary(tmp_path):
    return tmp_path / "site.visits"


def test_each_visit_of_a_film_has_a_clip_that_shows_it(hmdrn, site, diary, tmp_path):
    watched = ("-s", site.film, "-g", site.gallery, "--max-frames", "52")
    done = hmdrn("watch", "default", *watched, "--visits", diary, "--clips", "0.2")
    assert done.code == 0, done
    with VisitStore(diary) as store:
        visits = store.find()
        assert [visit.label for visit in visits] == site.labels[:2]
        for visit in visits:
            assert visit.clip.duration == pytest.approx(visit.duration + 0.4, abs=0.35)
            assert visit.start >= visit.clip.start
            (tmp_path / f"{visit.id}.webm").write_bytes(store.read_clip(visit.id))
    capture = cv2.VideoCapture(str(tmp_path / "2.webm"))
    frames = [pair[1] for pair in iter(capture.read, (False, None))]
    assert frames[0].shape == (160, 160, 3)
    shown = cv2.resize(cv2.imread(str(site.photos[1])), (160, 160)).astype(float)
    others = cv2.resize(cv2.imread(str(site.photos[0])), (160, 160)).astype(float)
    middle = frames[len(frames) // 2]
    assert np.abs(middle - shown).mean() < 0.6 * np.abs(middle - others).mean()


def test_a_film_whose_last_clips_are_encoded_is_ending_and_not_hanging(hmdrn, site, diary, monkeypatch):
    def encode_slowly(frames):
        time.sleep(0.5)
        raise HmdrnError("cannot make a clip")

    monkeypatch.setattr(clip_recorder, "encode_clip", encode_slowly)
    watched = ("-s", site.film, "-g", site.gallery, "--max-frames", "12", "--visits", diary, "--clips")
    done = hmdrn("watch", "default", *watched, "--status", "0.1", "--health-after", "0.2")
    states = [json.loads(line) for line in done.out.splitlines() if '"event": "status"' in line]
    assert (states[-1]["state"], states[-1]["healthy"]) == ("ending", True)


def test_clips_that_fail_are_counted_at_the_end(hmdrn, site, diary, monkeypatch):
    def fail(frames):
        raise HmdrnError("cannot make a clip")

    monkeypatch.setattr(clip_recorder, "encode_clip", fail)
    watched = ("-s", site.film, "-g", site.gallery, "--max-frames", "45")
    done = hmdrn("watch", "default", *watched, "--visits", diary, "--clips")
    assert done.code == 0, done
    assert done.err.count("cannot make a clip; until then visits have no clips") == 1
    assert done.err.count("2 visits without a clip") == 1


@pytest.mark.parametrize(("options", "waits"), [((), True), (("--newest",), False)])
def test_a_film_that_is_played_like_a_camera_does_not_wait_for_clips(
    hmdrn, site, diary, monkeypatch, options, waits
):
    requests = []

    def refuse(store, seconds, waits, report):
        requests.append(waits)
        raise HmdrnError("seen enough")

    monkeypatch.setattr(recorder, "ClipRecorder", refuse)
    done = hmdrn(
        "watch", "default", "-s", site.film, "-g", site.gallery, "--visits", diary, "--clips", *options
    )
    assert (done.code, requests) == (2, [waits]), done


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--clips", "11", "--visits", "a.visits"), "0<=x<=10"),
        (("--clips",), "give --visits FILE too"),
        (("--visits", "a.visits", "--clips"), "photos of a folder have no clips"),
    ],
)
def test_options_that_do_not_fit_are_refused(hmdrn, site, tmp_path, monkeypatch, options, words):
    monkeypatch.chdir(tmp_path)
    source = site.film.parent if "photos" in words else site.film
    done = hmdrn("watch", "default", "-s", source, "-g", site.gallery, *options)
    assert (done.code, words in done.err) == (2, True), done
    assert list(tmp_path.iterdir()) == []
