"""Detection of a Jetson and of its software."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from hmdrn_runtime.device.sysfs import read_text

_RELEASE = re.compile(r"R(\d+)\s*\(release\),\s*REVISION:\s*([\d.]+)")
_JETPACK = {32: "4", 34: "5", 35: "5", 36: "6", 38: "7", 39: "7"}
"""JetPack by the major number of its Linux for Tegra."""
_DLA_COMPILER = "usr/lib/aarch64-linux-gnu/**/libnvdla_compiler.so*"
_BOARD = re.compile(r"\b(jetson|tegra)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Jetson:
    """A Jetson; an attribute is None where the system does not report it.

    Attributes:
        model: The board, e.g. "NVIDIA Jetson Orin Nano Developer Kit"; usually None in a container.
        l4t: Version of its Linux for Tegra, e.g. "36.4.3".
        jetpack: Major version of JetPack, e.g. "6".
    """

    model: str | None
    l4t: str | None
    jetpack: str | None


def parse_l4t(release: str) -> str | None:
    """Return the version of Linux for Tegra in /etc/nv_tegra_release, e.g. "36.4.3"; None if not found."""
    match = _RELEASE.search(release)
    return f"{match[1]}.{match[2]}" if match else None


def find_l4t_feature(release: str) -> str | None:
    """Return the feature version in a release line, e.g. "36.4" of "36.4.3"; None if not found.

    A patch, a rebuilt kernel or another date leaves libraries as they are.
    """
    version = parse_l4t(release)
    return None if version is None else ".".join(version.split(".")[:2])


def read_l4t_release(root: Path = Path("/")) -> str | None:
    """Return the first line of /etc/nv_tegra_release without its "# "; engines are bound to it."""
    text = read_text(root / "etc/nv_tegra_release")
    return text.splitlines()[0].strip("# ") if text else None


def has_dla_compiler(root: Path = Path("/")) -> bool:
    """Return whether the compiler of deep-learning accelerators is there: boards without one lack it."""
    return any(root.glob(_DLA_COMPILER))


def read_jetson(root: Path = Path("/")) -> Jetson | None:
    """Identify this Jetson, in the file system under `root`; None on another machine."""
    model = read_text(root / "proc/device-tree/model")
    l4t = parse_l4t(read_l4t_release(root) or "")
    if l4t is None and not (model and _BOARD.search(model)):
        return None
    return Jetson(model, l4t, _JETPACK.get(int(l4t.partition(".")[0])) if l4t else None)
