"""Arrays that are filled block by block in a file, and continued after an interrupt."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.errors import TrainingError
from hmdrn_runtime.io.files import describe_os_error, write_atomically
from hmdrn_runtime.progress import ProgressCallback

BLOCK = 64
"""Rows that are computed together."""


def fill_array(
    path: Path,
    shape: tuple[int, ...],
    dtype: npt.DTypeLike,
    key: str,
    compute: Callable[[slice], npt.NDArray[Any]],
    report: ProgressCallback,
) -> npt.NDArray[Any]:
    """Fill an array in a file, or open it if it is filled already.

    Args:
        path: The array's file, `.npy`; its progress is saved beside it, in `.json`.
        shape: Shape of the array; the first axis is filled in blocks of `BLOCK` rows.
        dtype: Type of its entries.
        key: Identifies the content: an array of another key is replaced.
        compute: Returns the rows of a slice.
        report: Called with the file's stem, rows done and rows in all.

    Returns:
        The array, memory-mapped and read-only.

    Raises:
        TrainingError: The file cannot be written.
    """
    progress_file = path.with_suffix(".json")
    done = _rows_done(path, progress_file, key, shape)
    try:
        if done < shape[0]:
            path.parent.mkdir(parents=True, exist_ok=True)
            mode = "r+" if done else "w+"
            array = np.lib.format.open_memmap(path, mode=mode, dtype=np.dtype(dtype), shape=shape)
            for start in range(done, shape[0], BLOCK):
                rows = slice(start, min(start + BLOCK, shape[0]))
                array[rows] = compute(rows)
                if (rows.stop // BLOCK) % 16 == 0 or rows.stop == shape[0]:
                    array.flush()
                    write_atomically(progress_file, json.dumps({"key": key, "done": rows.stop}).encode())
                report(path.stem, rows.stop, shape[0])
            del array
        mapped: npt.NDArray[Any] = np.load(path, mmap_mode="r")
    except OSError as error:
        raise TrainingError(
            f"cannot write {path.name} to {path.parent}: {describe_os_error(error)}"
        ) from error
    return mapped


def _rows_done(path: Path, progress_file: Path, key: str, shape: tuple[int, ...]) -> int:
    try:
        progress = json.loads(progress_file.read_text())
        if progress["key"] != key or np.load(path, mmap_mode="r").shape != shape:
            return 0
        return int(progress["done"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0  # missing or damaged: filled again
