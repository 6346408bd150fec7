"""Processors that this process may use: fewer than the machine has under taskset or in a container."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from hmdrn_runtime.device.sysfs import read_number, read_text


def count_cpus(root: Path = Path("/")) -> int:
    """Return the logical processors that this process may use, at least 1.

    That is its affinity, limited by the quota of its control group and of those above it, rounded down: more
    threads than the quota allows would be paused together.
    """
    return _limit_to_quota(len(_list_cpus()), root)


def count_cores(root: Path = Path("/")) -> int:
    """Return the cores that this process may use, as `count_cpus`, but hyperthreads count once."""
    cpus = _list_cpus()
    topology = root / "sys/devices/system/cpu"
    siblings = {read_text(topology / f"cpu{cpu}/topology/thread_siblings_list") or str(cpu) for cpu in cpus}
    return _limit_to_quota(len(siblings), root)


def _list_cpus() -> set[int]:
    affinity = getattr(os, "sched_getaffinity", None)  # missing on macOS and Windows
    return affinity(0) if affinity else set(range(os.cpu_count() or 1))


def _limit_to_quota(count: int, root: Path) -> int:
    return max(1, int(min([count, *_read_quotas(root)])))


def _read_quotas(root: Path) -> Iterator[float]:
    """Yield the quotas of this process's control groups, in processors."""
    for line in (read_text(root / "proc/self/cgroup") or "").splitlines():
        number, controllers, group = line.split(":", 2) if line.count(":") >= 2 else ("", "", "")
        # In a container the group is named as on the host, but its folder is the root of what is mounted.
        places = [PurePosixPath(group), *PurePosixPath(group).parents] if group else []
        if number == "0":
            for place in places:
                quota, _, period = (read_text(root / f"sys/fs/cgroup{place}/cpu.max") or "").partition(" ")
                if quota.isdigit() and period.isdigit() and int(period):
                    yield int(quota) / int(period)
        elif "cpu" in controllers.split(","):
            for place in places:
                folder = root / f"sys/fs/cgroup/cpu{place}"
                limit, length = (read_number(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
                if limit is not None and limit > 0 and length:
                    yield limit / length
