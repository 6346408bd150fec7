"""From a film to a name: motion finds a stranger, a person corrects it, and the next one has that name."""

from __future__ import annotations

import pytest
from films import film_visits
from PIL import Image

import hmdrn as sdk
from hmdrn_runtime.specimens.drawing import draw_specimens

SPECIES, STRANGER = ("Jay", "Wren"), 2


@pytest.mark.slow
def test_a_stranger_of_a_film_is_named_when_it_comes_again(hmdrn, tmp_path):
    drawn = draw_specimens(range(3), 6, size=128)
    gallery, diary = tmp_path / "site.gallery", tmp_path / "site.visits"
    recognizer = sdk.load("default", threads=1)
    for number, label in enumerate(SPECIES):
        recognizer.enroll(label, list(drawn[number][:3]))
    recognizer.save_gallery(gallery)

    def watch(name: str, *photos) -> list[sdk.Visit]:
        """Watch a film of these photos, and return its visits."""
        film = film_visits(tmp_path / name, map(Image.fromarray, photos))
        places = ("--source", film, "--gallery", gallery, "--visits", diary)
        assert hmdrn("watch", "default", *places, "--detect", "motion", "--threads", 1).code == 0
        with sdk.VisitStore(diary) as visits:
            return list(visits.find(sdk.VisitFilter(source=name)))

    known, stranger = watch("first.mp4", drawn[0][3], drawn[STRANGER][3])
    assert known.label == "Jay"
    assert stranger.label in SPECIES
    assert all(1 < visit.duration < 3 for visit in (known, stranger))
    places = (diary, stranger.id, "--is", "Blackcap", "--gallery", gallery)
    assert "enrolled" in hmdrn("visits", "correct", *places).out
    known, stranger = watch("second.mp4", drawn[0][4], drawn[STRANGER][5])
    assert (known.label, stranger.label) == ("Jay", "Blackcap")
