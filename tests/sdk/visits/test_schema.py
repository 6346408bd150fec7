"""Files of an earlier schema: they are brought up to date, or read as they are."""

from __future__ import annotations

import os
import sqlite3

import pytest
from visit_examples import make_clip, make_visit

from hmdrn.visits.schema import SCHEMA_VERSION
from hmdrn.visits.store import VisitStore


@pytest.fixture
def old_file(tmp_path):
    """A file as version 1 has it, without clips."""
    path = tmp_path / "old.visits"
    with VisitStore(path, create=True) as store:
        store.save(make_visit())
    connection = sqlite3.connect(path)
    connection.execute("DROP TABLE clips")
    connection.execute("PRAGMA user_version = 1")
    connection.close()
    return path


def test_a_file_of_version_1_gets_the_table_of_clips(old_file):
    with VisitStore(old_file) as store, VisitStore(old_file) as other:
        assert store.save_clip(1, make_clip())
        assert other.find()[0].clip is not None
        assert store.query("PRAGMA user_version")[0][0] == SCHEMA_VERSION


def test_a_file_of_version_1_is_read_on_a_read_only_medium(old_file, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    content = old_file.read_bytes()
    with VisitStore(old_file) as store:
        (visit,) = store.find()
    assert (visit.label, visit.clip) == ("Jay", None)
    assert old_file.read_bytes() == content
