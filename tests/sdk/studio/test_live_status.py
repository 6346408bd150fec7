from __future__ import annotations

import pytest
from fake_classifier import make_prediction

from hmdrn.studio.live_status import describe_subject
from hmdrn.watching.results import Sighting
from hmdrn.watching.smoothing import SmoothedLabel
from hmdrn_runtime.classification.prediction import Prediction

JAY = SmoothedLabel("species", "Jay", 0.9)
UNKNOWN = SmoothedLabel("unknown", None, None, 0.8)
UNDECIDED = SmoothedLabel()


@pytest.mark.parametrize(
    ("smoothed", "known", "expected"),
    [
        (JAY, True, ("Jay", True, "known, else Magpie, 10 %")),
        (JAY, False, ("Jay", True, "known, else Magpie, 10 %")),
        (JAY, None, ("Jay", None, "else Magpie, 10 %")),
        (UNKNOWN, False, ("unknown", False, "most like Jay, 90 %")),
        (UNDECIDED, True, ("undecided", None, "most like Jay, 90 %")),
    ],
)
def test_a_subject_is_described_with_its_evidence(smoothed, known, expected):
    prediction = make_prediction("Jay", 0.9, known, "Magpie")
    subject = describe_subject(Sighting(1, None, prediction, smoothed, UNDECIDED))
    assert (subject.name, subject.known, subject.evidence) == expected


def test_another_likeliest_species_is_said_to_be_this_frames():
    prediction = make_prediction("Magpie", 0.6, True, "Jay")
    subject = describe_subject(Sighting(1, None, prediction, JAY, UNDECIDED))
    assert (subject.name, subject.evidence) == ("Jay", "known, in this frame Magpie, 60 %")


def test_the_only_species_has_nothing_beside_it():
    prediction = make_prediction("Jay", 0.9, True, "Jay")
    assert describe_subject(Sighting(1, None, prediction, JAY, UNDECIDED)).evidence == "known"


def test_an_empty_gallery_says_so():
    nothing = Prediction("", 0.0, 0.0, False, ())
    assert (
        describe_subject(Sighting(0, None, nothing, UNKNOWN, UNDECIDED)).evidence == "nothing is enrolled yet"
    )
