"""Helper of .ci/aarch64: draws photos, names them, and compares answers of two machines.

aarch64-compare.py draw FOLDER | answer VARIANT GALLERY OUTPUT | compare A.json B.json LIMIT
    | selftest FILE CORE | variant [CORE]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

MODELS = {
    "cortex-a53": "Cortex-A53",
    "cortex-a57": "Cortex-A57",
    "cortex-a72": "Cortex-A72",
    "cortex-a76": "Cortex-A76",
    "neoverse-n1": "Neoverse N1",
}
WITH_DOT = ("cortex-a76", "neoverse-n1")


def draw(folder: str) -> str:
    """Draw five species: two photos to enroll and three to name of each."""
    from PIL import Image

    from hmdrn_runtime.specimens.drawing import draw_specimens

    for species, photos in enumerate(draw_specimens(range(5), 5, size=160, seed=5)):
        for i, pixels in enumerate(photos):
            path = Path(folder, "enroll" if i < 2 else "query", f"species {species}", f"{i}.jpg")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path, quality=92)
    return "drawn"


def answer(variant: str, gallery: str, output: str) -> str:
    """Name the photos of photos/query; enroll those of photos/enroll first if the gallery is new."""
    import hmdrn

    birds = hmdrn.load("default", threads=1, variant=variant)
    if Path(gallery).exists():
        birds = hmdrn.load("default", gallery, threads=1, variant=variant)
    else:
        for folder in sorted(Path("photos/enroll").iterdir()):
            birds.enroll(folder.name, sorted(folder.iterdir()))
        birds.save_gallery(gallery)
    paths = sorted(Path("photos/query").rglob("*.jpg"))
    results = [{"image": str(path), **birds.classify(path).to_dict()} for path in paths]
    Path(output).write_text(json.dumps(results))
    return f"{len(results)} photos"


def compare(first: str, second: str, limit: str) -> str:
    """Compare the answers, and the relative differences of logits and distances."""
    ours, theirs = ({r["image"]: r for r in json.loads(Path(path).read_text())} for path in (first, second))
    if not ours or ours.keys() != theirs.keys():
        raise SystemExit("other photos")
    worst, labels = 0.0, 0
    for image, result in ours.items():
        other = {match["label"]: match for match in theirs[image]["ranking"]}
        labels += result["label"] != theirs[image]["label"]
        for match in result["ranking"]:
            pairs = [(match["logit"], other[match["label"]]["logit"])]
            pairs += [(v, other[match["label"]]["distances"][k]) for k, v in match["distances"].items()]
            worst = max([worst, *(abs(a - b) / max(abs(a), abs(b), 1e-9) for a, b in pairs)])
    text = f"{len(ours)} photos, {labels} other answers, largest relative difference {worst:.1e}"
    if labels or not worst <= float(limit):
        raise SystemExit(f"{text} (at most {limit})")
    return text


def selftest(path: str, core: str) -> str:
    """Check that the self-test passed, and knew the core."""
    values = json.loads(Path(path).read_text())
    cpu = values["device"]["cpu"]
    known = cpu["architecture"] == "aarch64" and cpu["model"] == MODELS[core] and "NEON" in cpu["features"]
    dot = ("dotprod" in cpu["features"]) == values["device"]["int8"] == (core in WITH_DOT)
    chosen = values["device"]["choice"].get("variant")
    parts = ", ".join(f"{part['name']} {part['status']}" for part in values["parts"])
    text = f"{cpu['model']}, auto takes {chosen}, {parts}"
    if not (values["works"] and known and dot and chosen == variant(core)):
        raise SystemExit(text)
    return text


def variant(core: str = "") -> str:
    """Return the variant that a core takes by itself; the one of this machine without a core."""
    if core:
        return "int8-ort" if core in WITH_DOT else "fp32"
    import hmdrn

    return hmdrn.load("default", threads=1).backend_report.variant


COMMANDS = {f.__name__: f for f in (draw, answer, compare, selftest, variant)}

if __name__ == "__main__":
    print(COMMANDS[sys.argv[1]](*sys.argv[2:]))
