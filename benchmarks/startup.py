"""From a cold interpreter to the first prediction: time and memory, in new processes.

python benchmarks/startup.py [--runs 9] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from hmdrn_runtime.specimens import draw_specimens

_CHILD = """
import time; start = time.perf_counter()
import hmdrn
imported = time.perf_counter()
birds = hmdrn.load("default", gallery=sys.argv[1])
loaded = time.perf_counter()
birds.classify(sys.argv[2])
done = time.perf_counter()
import json, resource
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"import_s": imported - start, "load_s": loaded - imported, "classify_s": done - loaded,
                  "total_s": done - start, "peak_mib": memory}))
"""


def main() -> None:
    """Measure and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        import hmdrn

        birds = hmdrn.load("default")
        for s, images in enumerate(draw_specimens(range(5), 3, size=128)):
            birds.enroll(f"species {s}", images[:2])
        gallery, photo = Path(folder) / "g.gallery", Path(folder) / "photo.jpg"
        birds.save_gallery(gallery)
        Image.fromarray(images[2]).save(photo)
        command = [sys.executable, "-c", "import sys\n" + _CHILD, str(gallery), str(photo)]
        runs = [json.loads(subprocess.check_output(command)) for _ in range(arguments.runs)]
    medians = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    result = {"runs": arguments.runs, "load_average": os.getloadavg()[0], **medians}
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        for name, value in result.items():
            print(f"{name:14} {value:.3f}")


if __name__ == "__main__":
    main()
