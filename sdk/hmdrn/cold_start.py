"""Measure the time from a new interpreter to the first prediction."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path

from hmdrn_runtime.profiling.fresh_process import run_in_fresh_process

# Modules that only measure are loaded after everything is measured.
_CODE = """
import time; start = time.perf_counter()
import hmdrn
imported = time.perf_counter()
bundle, gallery, photo, variant, threads = sys.argv[1:]
birds = hmdrn.load(bundle, gallery, variant=variant or None, threads=int(threads) if threads else None)
loaded = time.perf_counter()
birds.classify(photo)
done = time.perf_counter()
import json
from hmdrn_runtime.profiling.fresh_process import read_peak_mib
print(json.dumps({"import_s": imported - start, "load_s": loaded - imported, "classify_s": done - loaded,
                  "total_s": done - start, "peak_mib": read_peak_mib()}))
"""


@dataclass(frozen=True)
class ColdStart:
    """Medians of several new processes.

    Attributes:
        runs: Number of processes.
        import_s: Seconds of `import hmdrn`.
        load_s: Seconds of `hmdrn.load`, with a gallery.
        classify_s: Seconds of the first classification of a photo's file.
        total_s: Seconds of the three together, without the start of the interpreter.
        peak_mib: Peak memory, MiB; None if the system does not report it.
    """

    runs: int
    import_s: float
    load_s: float
    classify_s: float
    total_s: float
    peak_mib: float | None


def measure_cold_start(
    bundle: str | Path,
    gallery: Path,
    photo: Path,
    runs: int,
    variant: str | None = None,
    threads: int | None = None,
) -> ColdStart:
    """Measure new processes that load a bundle and classify a photo.

    Args:
        bundle: As for `hmdrn.load`.
        gallery: The gallery's file.
        photo: The photo's file.
        runs: Number of processes, at least 1.
        variant: As for `hmdrn.load`.
        threads: As for `hmdrn.load`.

    Raises:
        HmdrnError: A process failed.
    """
    arguments = (str(bundle), str(gallery), str(photo), variant or "", str(threads or ""))
    results = [run_in_fresh_process(_CODE, *arguments) for _ in range(runs)]
    names = ("import_s", "load_s", "classify_s", "total_s")
    seconds = {name: statistics.median(result[name] for result in results) for name in names}
    peaks = [result["peak_mib"] for result in results if result["peak_mib"] is not None]
    return ColdStart(runs, **seconds, peak_mib=statistics.median(peaks) if peaks else None)
