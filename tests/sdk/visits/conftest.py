from __future__ import annotations

import pytest
from card_photos import SPECIES, draw_birds

import hmdrn
from hmdrn.visits.store import VisitStore


@pytest.fixture
def store(tmp_path):
    with VisitStore(tmp_path / "site.visits", create=True) as opened:
        yield opened


@pytest.fixture(scope="module")
def drawn():
    return draw_birds()


@pytest.fixture(scope="module")
def birds(drawn):
    recognizer = hmdrn.load("default", threads=1)
    for label, photos in zip(SPECIES, drawn, strict=True):
        recognizer.enroll(label, list(photos[:3]))
    return recognizer
