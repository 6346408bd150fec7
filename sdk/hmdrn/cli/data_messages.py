"""Lines on standard error about the data of a command."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hmdrn.cli.messages import print_message
from hmdrn_runtime.datasets.dataset import Dataset
from hmdrn_runtime.datasets.reading import describe_unreadable


def print_warnings(datasets: Iterable[Dataset]) -> None:
    """Report files that are left out, uncertain names, and classes that look alike."""
    for dataset in datasets:
        for line in dataset.warnings:
            print_message(f"warning: {dataset.source}: {line}")


def print_unreadable(reasons: Sequence[str]) -> None:
    """Report photos that were left out because they cannot be read."""
    if reasons:
        print_message(f"warning: {describe_unreadable(reasons)}")
