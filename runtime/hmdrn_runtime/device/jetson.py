"""Is this a Jetson, and which software does it have?"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from hmdrn_runtime.device.sysfs import read_text

_RELEASE = re.compile(r"R(\d+)\s*\(release\),\s*REVISION:\s*([\d.]+)")
_JETPACK = {32: "4", 34: "5", 35: "5", 36: "6", 38: "7"}
"""JetPack by the major number of its Linux for Tegra."""
_BOARD = re.compile(r"\b(jetson|tegra)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Jetson:
    """A Jetson.

    Attributes:
        model: The board, e.g. "NVIDIA Jetson Orin Nano Developer Kit"; None if it does not tell, as in a
            container.
        l4t: Version of its Linux for Tegra, e.g. "36.4.3"; None if it does not tell.
        jetpack: Major version of JetPack, e.g. "6"; None if unknown.
    """

    model: str | None
    l4t: str | None
    jetpack: str | None


def parse_l4t(release: str) -> str | None:
    """Version of Linux for Tegra, e.g. "36.4.3", in the text of /etc/nv_tegra_release; None if not there."""
    found = _RELEASE.search(release)
    return f"{found[1]}.{found[2]}" if found else None


def read_l4t_release(root: Path = Path("/")) -> str | None:
    """The first line of /etc/nv_tegra_release without its mark: what engines are told apart by."""
    text = read_text(root / "etc/nv_tegra_release")
    return text.splitlines()[0].strip("# ") if text else None


def read_jetson(root: Path = Path("/")) -> Jetson | None:
    """What Jetson this is; None if it is none.

    Args:
        root: Where the file system begins.
    """
    model = read_text(root / "proc/device-tree/model")
    l4t = parse_l4t(read_l4t_release(root) or "")
    if l4t is None and not (model and _BOARD.search(model)):
        return None
    return Jetson(model, l4t, _JETPACK.get(int(l4t.partition(".")[0])) if l4t else None)
