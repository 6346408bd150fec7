"""From a new interpreter to the first prediction."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from pathlib import Path

from hmdrn_runtime.profiling.fresh_process import in_fresh_process

# Modules that only measure are loaded when all is measured.
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
from hmdrn_runtime.profiling.fresh_process import peak_mib
print(json.dumps({"import_s": imported - start, "load_s": loaded - imported, "classify_s": done - loaded,
                  "total_s": done - start, "peak_mib": peak_mib()}))
"""


@dataclass(frozen=True)
class ColdStart:
    """Medians of several new processes.

    Attributes:
        runs: How many processes.
        import_s: Seconds of `import hmdrn`.
        load_s: Seconds of `hmdrn.load`, with a gallery.
        classify_s: Seconds of the first classification of a photo's file.
        total_s: Seconds of the three together; the interpreter's own start is not in it.
        peak_mib: Most memory at once, MiB; None where the system does not tell.
    """

    runs: int
    import_s: float
    load_s: float
    classify_s: float
    total_s: float
    peak_mib: float | None

    def to_dict(self) -> dict[str, float | None]:
        """A JSON-ready dictionary."""
        return asdict(self)


def cold_start(
    bundle: str | Path,
    gallery: Path,
    photo: Path,
    runs: int,
    variant: str | None = None,
    threads: int | None = None,
) -> ColdStart:
    """Start new processes that load a bundle and classify a photo.

    Args:
        bundle: As `hmdrn.load` takes it.
        gallery: The gallery's file.
        photo: The photo's file.
        runs: Processes, at least 1.
        variant: As `hmdrn.load` takes it.
        threads: As `hmdrn.load` takes it.

    Raises:
        HmdrnError: A process failed.
    """
    arguments = (str(bundle), str(gallery), str(photo), variant or "", str(threads or ""))
    found = [in_fresh_process(_CODE, *arguments) for _ in range(runs)]
    seconds = {
        name: statistics.median(one[name] for one in found)
        for name in ("import_s", "load_s", "classify_s", "total_s")
    }
    peaks = [one["peak_mib"] for one in found if one["peak_mib"] is not None]
    return ColdStart(runs, **seconds, peak_mib=statistics.median(peaks) if peaks else None)
