"""The time of a photo, against times written by hand."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from PIL import Image

from hmdrn_runtime.images.capture_time import find_capture_time, read_capture_time


def write_photo(path, base=None, details=None):
    exif = Image.Exif()
    exif.update(base or {})
    exif[0x8769] = details or {}
    Image.new("RGB", (16, 16), "green").save(path, exif=exif)
    return path


def local(*values):
    return datetime(*values).astimezone(timezone.utc)


UTC = timezone.utc
ORIGINAL, OFFSET, FRACTION, CHANGED = 0x9003, 0x9011, 0x9291, 0x0132


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_the_original_time_comes_before_that_of_a_change(tmp_path, suffix):
    path = write_photo(
        tmp_path / f"a.{suffix}", {CHANGED: "2026:06:01 00:00:00"}, {ORIGINAL: "2026:05:01 08:30:12"}
    )
    assert read_capture_time(path) == local(2026, 5, 1, 8, 30, 12)


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        (
            {ORIGINAL: "2026:05:01 08:30:12", OFFSET: "+02:00"},
            datetime(2026, 5, 1, 6, 30, 12, tzinfo=UTC),
        ),
        (
            {ORIGINAL: "2026:05:01 08:30:12", OFFSET: "-09:30", FRACTION: "25"},
            datetime(2026, 5, 1, 18, 0, 12, 250000, tzinfo=UTC),
        ),
        ({ORIGINAL: "2026:05:01 08:30:12\0"}, local(2026, 5, 1, 8, 30, 12)),
        ({ORIGINAL: "0000:00:00 00:00:00"}, None),
        ({ORIGINAL: "    :  :     :  :  "}, None),
        ({}, None),
    ],
)
def test_offsets_fractions_and_empty_times_are_understood(tmp_path, details, expected):
    assert read_capture_time(write_photo(tmp_path / "a.jpg", None, details)) == expected


def test_without_exif_the_time_is_that_of_the_file(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"nothing")
    assert read_capture_time(path) is None
    assert find_capture_time(path) == datetime.fromtimestamp(path.stat().st_mtime, UTC)
    assert abs((find_capture_time(tmp_path / "missing.jpg") - datetime.now(UTC)).total_seconds()) < 5
