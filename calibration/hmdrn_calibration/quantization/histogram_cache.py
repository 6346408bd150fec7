"""Histograms kept from one calibration to the next: observing them is what takes long."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hmdrn_calibration.quantization.histograms import BINS, Extent, Histogram
from hmdrn_runtime.io.files import write_atomically
from hmdrn_runtime.io.json_document import canonical_json

FORMAT = 1


def default_folder() -> Path:
    """Where histograms are kept: $XDG_CACHE_HOME/hmdrn/calibration, ~/.cache/hmdrn/calibration without it."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "hmdrn" / "calibration"


def cache_key(graphs: Mapping[str, str], data: str, settings: Mapping[str, Any]) -> str:
    """What histograms depend on.

    Args:
        graphs: SHA-256 of every file that the graphs are in, by name.
        data: The data's digest.
        settings: Everything else, JSON-ready.

    Returns:
        64 hexadecimal digits.
    """
    values = {"format": FORMAT, "bins": BINS, "graphs": dict(graphs), "data": data, "settings": settings}
    return hashlib.sha256(canonical_json(values).encode()).hexdigest()


def cached(
    folder: Path | None, key: str, observe: Callable[[], dict[str, Histogram]]
) -> tuple[dict[str, Histogram], bool]:
    """Histograms from the cache, or observed now and kept.

    A cache that cannot be read or written costs time and nothing else.

    Args:
        folder: Where they are kept; None keeps nothing.
        key: What they depend on.
        observe: Makes them.

    Returns:
        The histograms by tensor, and whether they came from the cache.
    """
    if folder is None:
        return observe(), False
    path = folder / f"{key}.npz"
    found = _read(path)
    if found is not None:
        return found, True
    made = observe()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, _packed(made))
    except OSError:
        return made, False
    return made, False


def _packed(histograms: Mapping[str, Histogram]) -> bytes:
    buffer = io.BytesIO()
    names = sorted(histograms)
    np.savez_compressed(
        buffer,
        names=np.array(names),
        extents=np.array([(histograms[n].extent.low, histograms[n].extent.high) for n in names]),
        counts=np.stack([histograms[n].counts for n in names]),
    )
    return buffer.getvalue()


def _read(path: Path) -> dict[str, Histogram] | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            names, extents, counts = file["names"], file["extents"], file["counts"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
    if extents.shape != (len(names), 2) or counts.shape != (len(names), BINS):
        return None
    return {
        str(name): Histogram(Extent(float(low), float(high)), row)
        for name, (low, high), row in zip(names, extents, counts, strict=True)
    }
