"""The file of operators beside a gallery: no operator is taken but as it was written."""

from __future__ import annotations

import hashlib
import stat

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from hmdrn_runtime.io.file_kinds import detect_file_kind
from hmdrn_runtime.matching.index.operator_cache import (
    SolvedOperators,
    operator_cache_path,
    read_operators,
    write_operators,
)

PACKED, COUNT = 12, 5
random = np.random.default_rng(0)
KEYS = [hashlib.sha256(bytes([i])).digest() for i in range(COUNT)]
ROWS = random.standard_normal((COUNT, PACKED)).astype(np.float32)


def solved(rows: np.ndarray) -> SolvedOperators:
    return SolvedOperators(KEYS, lambda start, end: rows[start:end])


@pytest.fixture
def written(tmp_path):
    """A file of `ROWS`."""
    path = tmp_path / "g.gallery.operators"
    write_operators(path, "origin", solved(ROWS))
    return path


def test_what_is_read_is_what_was_written_bit_for_bit_in_any_order(written):
    kept = read_operators(written, "origin", PACKED)
    found = kept.read([KEYS[3], b"?" * 32, KEYS[0]])
    assert list(found) == [KEYS[3], KEYS[0]]
    assert found[KEYS[3]].tobytes() == ROWS[3].tobytes()
    assert found[KEYS[0]].tobytes() == ROWS[0].tobytes()


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), bits=st.integers(1, 255))
def test_a_changed_byte_anywhere_is_noticed(written, place, bits):
    data = written.read_bytes()
    changed = bytearray(data)
    changed[int(place * len(data))] ^= bits
    other = written.with_name("changed")
    other.write_bytes(changed)
    kept = read_operators(other, "origin", PACKED)
    if kept is None:
        return
    # The seal covers all but the rows and the header's blanks, and every row has a digest.
    found = kept.read(KEYS)
    assert len(found) >= COUNT - 1
    assert all(found[key].tobytes() == ROWS[KEYS.index(key)].tobytes() for key in found)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_file_that_was_cut_off_is_not_taken(written, share):
    data = written.read_bytes()
    other = written.with_name("cut")
    other.write_bytes(data[: int(share * len(data))])
    assert read_operators(other, "origin", PACKED) is None


def test_rows_that_changed_places_are_noticed(written):
    data = written.read_bytes()
    size = 4 * PACKED
    written.write_bytes(data[: -2 * size] + data[-size:] + data[-2 * size : -size])
    assert list(read_operators(written, "origin", PACKED).read(KEYS)) == KEYS[:-2]


def test_a_file_replaced_while_open_gives_no_row_of_another(written):
    kept = read_operators(written, "origin", PACKED)
    write_operators(written, "origin", solved(ROWS[::-1]))
    assert list(kept.read(KEYS)) == [KEYS[COUNT // 2]]  # reversed, the middle one is where it was
    written.unlink()
    assert kept.read(KEYS) == {}


def test_operators_of_another_origin_or_size_are_not_taken(written):
    assert read_operators(written, "another", PACKED) is None
    assert read_operators(written, "origin", PACKED + 1) is None


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"not safetensors at all"])
def test_what_is_no_such_file_is_not_taken(tmp_path, content):
    path = tmp_path / "x"
    path.write_bytes(content)
    assert read_operators(path, "origin", PACKED) is None
    assert read_operators(tmp_path / "missing", "origin", PACKED) is None
    assert read_operators(tmp_path, "origin", PACKED) is None


def test_operators_of_a_private_gallery_are_as_private(tmp_path):
    gallery = tmp_path / "site.gallery"
    gallery.touch(0o600)
    write_operators(operator_cache_path(gallery), "origin", solved(ROWS))
    assert stat.S_IMODE(operator_cache_path(gallery).stat().st_mode) == 0o600


def test_the_file_is_a_safetensors_file_beside_the_gallery(written):
    assert load_file(written)["rows"].tobytes() == ROWS.tobytes()
    assert detect_file_kind(written) == "the operators of a gallery"
    assert operator_cache_path(written.with_name("g.gallery")) == written
