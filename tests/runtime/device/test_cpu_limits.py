"""Processors that a process may use, by its affinity and by recorded files of control groups."""

from __future__ import annotations

import pytest

from hmdrn_runtime.device import cpu_limits as module
from hmdrn_runtime.device.cpu_limits import count_cores, count_cpus

V1 = "9:name=systemd:/\n4:memory:/docker/3f\n2:cpu,cpuacct:/docker/3f\n"
V2 = "0::/system.slice/camera.service\n"


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Make the files of a machine: machine(cpus, files)."""

    def make(cpus, files):
        monkeypatch.setattr(module.os, "sched_getaffinity", lambda _: set(cpus), raising=False)
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return make


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8),
        ({"proc/self/cgroup": V2, "sys/fs/cgroup/system.slice/camera.service/cpu.max": "max 100000\n"}, 8),
        ({"proc/self/cgroup": V2, "sys/fs/cgroup/system.slice/camera.service/cpu.max": "250000 100000\n"}, 2),
        ({"proc/self/cgroup": V2, "sys/fs/cgroup/system.slice/camera.service/cpu.max": "50000 100000\n"}, 1),
        ({"proc/self/cgroup": V2, "sys/fs/cgroup/system.slice/cpu.max": "300000 100000\n"}, 3),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "1600000 100000\n"}, 8),
        ({"proc/self/cgroup": "0::/../../outside\n", "sys/fs/cgroup/cpu.max": "400000 100000\n"}, 4),
        ({"proc/self/cgroup": V2, "sys/fs/cgroup/cpu.max": "nonsense\n"}, 8),
        ({"proc/self/cgroup": "no group\n0::\n"}, 8),
        (
            {
                "proc/self/cgroup": V1,
                "sys/fs/cgroup/cpu/docker/3f/cpu.cfs_quota_us": "200000\n",
                "sys/fs/cgroup/cpu/docker/3f/cpu.cfs_period_us": "50000\n",
            },
            4,
        ),
        (
            {
                "proc/self/cgroup": V1,  # in the container, whose group's folder is the root of the mount
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "150000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            1,
        ),
        (
            {
                "proc/self/cgroup": V1,
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            8,
        ),
    ],
)
def test_a_quota_of_either_version_limits_the_processors(machine, files, expected):
    root = machine(range(8), files)
    assert count_cpus(root) == count_cores(root) == expected


def test_hyperthreads_count_once_as_cores(machine):
    pairs = {
        f"sys/devices/system/cpu/cpu{n}/topology/thread_siblings_list": f"{n % 2},{n % 2 + 2}\n"
        for n in range(4)
    }
    root = machine([0, 2, 3], pairs)  # both threads of one core, one of the other
    assert (count_cpus(root), count_cores(root)) == (3, 2)


def test_without_affinity_all_processors_count(monkeypatch, tmp_path):
    monkeypatch.delattr(module.os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(module.os, "cpu_count", lambda: 6)
    assert count_cpus(tmp_path) == count_cores(tmp_path) == 6
