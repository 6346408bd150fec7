from __future__ import annotations

import json

import numpy as np
import pytest

from hmdrn_network.training.distillation.array_files import BLOCK, fill_array
from hmdrn_runtime.errors import TrainingError

ROWS = 16 * BLOCK + 5
SHAPE = (ROWS, 2)


def rows_of(rows: slice) -> np.ndarray:
    return np.arange(2 * ROWS, dtype=np.float32).reshape(SHAPE)[rows]


def fill(path, compute=rows_of, key="a", report=lambda *_: None):
    return fill_array(path, SHAPE, np.float32, key, compute, report)


def test_an_array_is_filled_block_by_block_and_read_back(tmp_path):
    steps = []
    array = fill(tmp_path / "a.npy", report=lambda *step: steps.append(step))
    np.testing.assert_array_equal(array, rows_of(slice(None)))
    assert steps[0] == ("a", BLOCK, ROWS)
    assert steps[-1] == ("a", ROWS, ROWS)
    assert not array.flags.writeable


def test_a_full_array_is_not_computed_again(tmp_path):
    fill(tmp_path / "a.npy")

    def refuse(rows: slice) -> np.ndarray:
        raise AssertionError(rows)

    np.testing.assert_array_equal(fill(tmp_path / "a.npy", refuse), rows_of(slice(None)))


def test_an_interrupted_array_continues_after_the_last_saved_block(tmp_path):
    computed = []

    def stop_late(rows: slice) -> np.ndarray:
        if rows.start == 16 * BLOCK:
            raise KeyboardInterrupt
        return rows_of(rows)

    def record(rows: slice) -> np.ndarray:
        computed.append(rows.start)
        return rows_of(rows)

    with pytest.raises(KeyboardInterrupt):
        fill(tmp_path / "a.npy", stop_late)
    np.testing.assert_array_equal(fill(tmp_path / "a.npy", record), rows_of(slice(None)))
    assert computed == [16 * BLOCK]


def test_an_array_of_another_key_is_filled_anew(tmp_path):
    fill(tmp_path / "a.npy")
    array = fill(tmp_path / "a.npy", lambda rows: rows_of(rows) + 1, key="b")
    np.testing.assert_array_equal(array, rows_of(slice(None)) + 1)


@pytest.mark.parametrize("damage", ["", "{", json.dumps({"key": "a"})])
def test_a_damaged_record_of_progress_starts_the_array_anew(tmp_path, damage):
    fill(tmp_path / "a.npy")
    (tmp_path / "a.json").write_text(damage)
    np.testing.assert_array_equal(fill(tmp_path / "a.npy"), rows_of(slice(None)))


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match=r"cannot write a\.npy to "):
        fill(tmp_path / "file" / "a.npy")
