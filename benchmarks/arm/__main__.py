"""Instructions a frame that watching takes on emulated 64-bit ARM cores.

    .ci/aarch64 && python -m benchmarks.arm DATA...

A short film is made from the photos (see `benchmarks.motion`), and its frames are decoded, searched for
motion and named by hmdrn on cores that QEMU emulates, in the ARM system that `.ci/aarch64` has made. A plugin
counts the instructions of each stage. They say how much there is to do; how long a core takes for it depends
on how many it does in a cycle, which emulation does not show. Needs a C compiler, and qemu-aarch64 with
plugins (Debian 12: qemu-user, not qemu-user-static).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import numpy as np

from benchmarks.common import print_values
from benchmarks.motion.__main__ import Species
from benchmarks.motion.film import Film, FilmSettings
from benchmarks.watching import RATE, write_film
from hmdrn_runtime.datasets.dataset import Photo, open_dataset
from hmdrn_runtime.errors import HmdrnError

FOLDER = Path(__file__).parent
CORES = {
    "cortex-a72": ("0xd08", "fp asimd evtstrm crc32 cpuid"),
    "cortex-a76": (
        "0xd0b",
        "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp",
    ),
}
"""Part number and features of the cores, as a kernel shows them."""


def build_counter(folder: Path) -> Path:
    """Compile the plugin that counts.

    Raises:
        HmdrnError: There is no C compiler.
    """
    library = folder / "libcounter.so"
    command = ["cc", "-O2", "-Wall", "-shared", "-fPIC", "-o", str(library), str(FOLDER / "counter.c")]
    _run(command)
    return library


def install_opencv(work: Path, root: Path) -> Path:
    """Install OpenCV for the ARM system, once; return its folder.

    Raises:
        HmdrnError: It cannot be installed.
    """
    folder = work / "opencv"
    if not folder.exists():
        python = next((root / "usr/lib").glob("python3.*")).name.removeprefix("python")
        platforms = [f"--platform=manylinux{tag}_aarch64" for tag in ("2014", "_2_17", "_2_28")]
        options = ["--only-binary=:all:", "--no-deps", "--quiet", f"--python-version={python}", *platforms]
        package = "opencv-python-headless"
        _run([sys.executable, "-m", "pip", "install", "--target", str(folder), *options, package])
    return folder


def make_system(folder: Path, root: Path, core: str) -> Path:
    """Make the folder in which the emulator looks for the system's files, /proc/cpuinfo among them."""
    system = folder / core
    (system / "proc").mkdir(parents=True)
    for name in ("usr", "lib"):
        (system / name).symlink_to(root / name)
    part, features = CORES[core]
    lines = [f"Features\t: {features}", "CPU implementer\t: 0x41", f"CPU part\t: {part}", ""]
    (system / "proc/cpuinfo").write_text("\n".join(["processor\t: 0", *lines]))
    return system


def count_stages(stages: Sequence[str], counts: Sequence[int]) -> dict[str, dict[str, float]]:
    """Return the millions of instructions of each stage: median, and mean.

    Args:
        stages: Stage that each count ends.
        counts: Instructions so far.
    """
    values: dict[str, list[float]] = {}
    for stage, count in zip(stages[1:], np.diff(np.asarray(counts, np.int64)), strict=True):
        values.setdefault(stage, []).append(float(count) / 1e6)
    return {
        stage: {"median": round(float(np.median(part)), 2), "mean": round(float(np.mean(part)), 2)}
        for stage, part in values.items()
        if stage != "other"
    }


def count_core(emulator: str, core: str, folder: Path, work: Path, opencv: Path) -> dict[str, object]:
    """Run the stages on a core; return the variant, and the instructions by stage.

    Raises:
        HmdrnError: The run failed.
    """
    root, counts = work / "root", folder / f"{core}.txt"
    system = make_system(folder, root, core)
    plugin = f"{folder / 'libcounter.so'},out={counts}"
    program = [str(system / "usr/bin/python3"), str(FOLDER / "stages.py")]
    command = [emulator, "-cpu", core, "-L", str(system), "-plugin", plugin, *program]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PYTHONPATH": f"{root / 'site'}:{opencv}",
        "OMP_NUM_THREADS": "1",
        "OPENCV_FFMPEG_CAPTURE_OPTIONS": "threads;1",
    }
    done = _run([*command, str(folder / "film.mp4"), str(folder / "film.gallery")], environment)
    result = json.loads(done)
    totals = [int(line) for line in counts.read_text().split()]
    # Whatever else called getppid would shift the stages.
    if len(totals) != len(result["stages"]):
        raise HmdrnError(
            f"{len(totals)} counts of {len(result['stages'])} stages: the counter is out of step"
        )
    stages = count_stages(result["stages"], totals)
    return {"variant": result["variant"], "frames": result["frames"], "million_instructions": stages}


def _run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=False)
    except OSError as error:
        raise HmdrnError(f"cannot run {command[0]}: {error.strerror}") from error
    if done.returncode:
        raise HmdrnError(f"{command[0]} ended with {done.returncode}")
    return done.stdout


@click.command()
@click.argument("data", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--split", default="val", help="Split of the data.")
@click.option("--core", "cores", multiple=True, type=click.Choice(list(CORES)), default=list(CORES))
@click.option("--seconds", default=13.0, help="Length of the film.")
@click.option("--size", default="1920x1080", help="Width and height.")
@click.option("--emulator", default="qemu-aarch64", help="QEMU for programs of 64-bit ARM, with plugins.")
@click.option(
    "--work",
    type=click.Path(path_type=Path),
    default=Path.home() / ".cache/hmdrn-aarch64",
    help="Folder of `.ci/aarch64`.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(
    data: Sequence[Path],
    split: str,
    cores: Sequence[str],
    seconds: float,
    size: str,
    emulator: str,
    work: Path,
    as_json: bool,
) -> None:
    """Count the instructions of each stage of watching a film on emulated cores."""
    if not (work / "root/site/hmdrn").exists():
        raise click.UsageError(f"no ARM system in {work}: run .ci/aarch64 first")
    classes: dict[str, Sequence[Photo]] = {}
    for path in data:
        classes |= open_dataset(path, split).classes
    width, height = (int(side) for side in size.split("x"))
    opencv = install_opencv(work, work / "root")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build_counter(folder)
        species = Species(classes, 5, 5, 0)
        species.recognizer.save_gallery(folder / "film.gallery")
        film = Film(species.subjects, FilmSettings(seconds, RATE, (width, height)))
        write_film(folder / "film.mp4", film)
        values = {core: count_core(emulator, core, folder, work, opencv) for core in cores}
    print_values("arm/1", values, as_json)


if __name__ == "__main__":
    main()
