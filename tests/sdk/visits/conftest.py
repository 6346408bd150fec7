from __future__ import annotations

import pytest

from hmdrn.visits.store import VisitStore


@pytest.fixture
def store(tmp_path):
    with VisitStore(tmp_path / "site.visits", create=True) as opened:
        yield opened
