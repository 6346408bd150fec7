"""Notes on the gallery that a command reads."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from hmdrn.cli.messages import print_message
from hmdrn.loading import load
from hmdrn_runtime.gallery.labels import describe_lookalikes
from hmdrn_runtime.migration import find_variant_mismatch
from hmdrn_runtime.recognizer import Recognizer

SINGLE_SPECIES = "note: the gallery has one species, so every image gets its name: enroll others to compare"


def load_with_notes(
    bundle: str, gallery: Path, backend: str = "auto", threads: int | None = None
) -> Recognizer:
    """Open a bundle with a gallery, and say where the two do not quite match."""
    recognizer = load(bundle, gallery, backend, threads)
    mismatch = find_variant_mismatch(recognizer.gallery, recognizer.bundle)
    if mismatch is not None:
        print_message(f"note: {mismatch}")
    if recognizer.calibration_issue is not None:
        print_message(f"warning: {recognizer.calibration_issue}")
    return recognizer


def warn_of_slow_backend(recognizer: Recognizer) -> None:
    """Warn that the bundle's engines do not run here, for commands that run for long."""
    report = recognizer.backend_report
    if report.engines_issue is not None:
        print_message(
            f"warning: the TensorRT engines do not run, so {report.backend} answers, which is slower: "
            f"{report.engines_issue}"
        )


def warn_of_lookalikes(label: str, others: Iterable[str]) -> None:
    """Warn of other species whose names look like this one, and are probably meant to be the same."""
    for other in others:
        pair = describe_lookalikes([label, other])
        print_message(f"warning: {pair} count as two species: use one name if they are one")
