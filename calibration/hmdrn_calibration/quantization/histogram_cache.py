"""Cache of histograms between runs: observing activations takes the longest."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from hmdrn_calibration.quantization.histograms import BINS, Histogram, Range
from hmdrn_runtime.io.files import write_atomically
from hmdrn_runtime.io.json_document import canonical_json

FORMAT = 1


def default_cache_folder() -> Path:
    """Return $XDG_CACHE_HOME/hmdrn/calibration, or ~/.cache/hmdrn/calibration if that is not set."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "hmdrn" / "calibration"


def cache_key(graphs: Mapping[str, str], data: str, settings: Mapping[str, Any]) -> str:
    """Return the SHA-256 (64 hexadecimal digits) of everything that histograms depend on.

    `graphs` has the SHA-256 of the graphs' files by name, `data` is the photos' digest, `settings` the rest.
    """
    values = {"format": FORMAT, "bins": BINS, "graphs": dict(graphs), "data": data, "settings": settings}
    return hashlib.sha256(canonical_json(values).encode()).hexdigest()


def load_or_observe(
    folder: Path | None, key: str, observe: Callable[[], dict[str, Histogram]]
) -> dict[str, Histogram]:
    """Return histograms by tensor from the cache, or observe and store them.

    A cache that cannot be read or written costs time and nothing else; without a `folder` nothing is stored.
    """
    if folder is None:
        return observe()
    path = folder / f"{key}.npz"
    histograms = _read(path)
    if histograms is None:
        histograms = observe()
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(path, _pack(histograms))
    return histograms


def _pack(histograms: Mapping[str, Histogram]) -> bytes:
    buffer = io.BytesIO()
    names = sorted(histograms)
    np.savez_compressed(
        buffer,
        names=np.array(names),
        extents=np.array([(histograms[n].range.low, histograms[n].range.high) for n in names]),
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
        str(name): Histogram(Range(float(low), float(high)), row)
        for name, (low, high), row in zip(names, extents, counts, strict=True)
    }
