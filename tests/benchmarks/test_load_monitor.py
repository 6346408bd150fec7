"""A benchmark notices other load on the processor, but not its own work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from benchmarks import load_monitor
from benchmarks.load_monitor import BusyError, LoadMonitor, ProcessorTime

_SPIN = "import time\nend = time.process_time() + {}\nwhile time.process_time() < end: pass"

pytestmark = pytest.mark.skipif(ProcessorTime.now() is None, reason="needs /proc/stat")


def spin(seconds: float) -> None:
    exec(_SPIN.format(seconds))


def test_own_work_is_not_other_load():
    before = ProcessorTime.now()
    spin(0.5)
    after = ProcessorTime.now()
    assert after.own - before.own == pytest.approx(0.5, abs=0.1)
    assert after.everything - before.everything > 0.4


@pytest.mark.parametrize("waited_for", [False, True])
def test_the_work_of_children_counts_as_own(waited_for):
    before = ProcessorTime.now()
    code = f"{_SPIN.format(0.5)}\nprint('spun', flush=True)\ninput()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], text=True, **pipes) as child:
        assert child.stdout.readline() == "spun\n"
        if waited_for:
            child.communicate("\n")
        after = ProcessorTime.now()
        child.kill()
    assert 0.4 < after.own - before.own < 1.0


@pytest.fixture
def stranger():
    """A process that uses a core and is not a descendant of this one: its parent has ended."""
    start = (
        "import subprocess, sys; null = subprocess.DEVNULL; "
        f"print(subprocess.Popen([sys.executable, '-c', {_SPIN.format(20)!r}], stdout=null, stderr=null).pid)"
    )
    pid = int(subprocess.check_output([sys.executable, "-c", start], text=True))
    yield pid
    os.kill(pid, signal.SIGKILL)


def test_a_stranger_that_uses_a_core_stops_a_benchmark(stranger, monkeypatch):
    monkeypatch.setattr(load_monitor, "_BEFORE", 1.0)
    monitor = LoadMonitor()
    with pytest.raises(BusyError, match=r"others used \d\.\d\d cores before the benchmark, over 0.3"):
        monitor.start()
    assert monitor.busy
    assert BusyError.exit_code == 2


def test_a_later_stranger_stops_a_benchmark_between_measurements(monkeypatch):
    moments = iter(
        [ProcessorTime(0, 10, 5), ProcessorTime(2, 11, 6), ProcessorTime(5, 20, 15), ProcessorTime(8, 30, 24)]
    )
    monkeypatch.setattr(ProcessorTime, "now", classmethod(lambda cls: next(moments)))
    monkeypatch.setattr(load_monitor, "_BEFORE", 0)
    monkeypatch.setattr(load_monitor, "_WINDOW", 0)
    monitor = LoadMonitor()
    monitor.start()
    monitor.check()
    assert (monitor.before, monitor.peak, monitor.busy) == (0, 0, False)
    with pytest.raises(BusyError, match=r"0.33 cores meanwhile"):
        monitor.check()


def test_allowed_load_is_still_recorded(monkeypatch):
    moments = iter([ProcessorTime(0, 0, 0), ProcessorTime(2, 1, 0), ProcessorTime(5, 4, 3)])
    monkeypatch.setattr(ProcessorTime, "now", classmethod(lambda cls: next(moments)))
    monkeypatch.setattr(load_monitor, "_BEFORE", 0)
    monkeypatch.setattr(load_monitor, "_WINDOW", 0)
    monitor = LoadMonitor(allow_busy=True)
    monitor.start()
    monitor.check()
    assert monitor.to_dict() == {"busy": True, "allowed": True, "others_before": 0.5, "others_peak": 0.0}


def test_frequent_checks_read_the_system_once_in_three_seconds(monkeypatch):
    monitor = LoadMonitor(allow_busy=True, _last=ProcessorTime(time.monotonic(), 0, 0))
    monkeypatch.setattr(ProcessorTime, "now", classmethod(lambda cls: pytest.fail("read too early")))
    for _ in range(1000):
        monitor.check()


def test_nothing_is_claimed_where_the_system_reports_nothing(monkeypatch):
    monkeypatch.setattr(ProcessorTime, "now", classmethod(lambda cls: None))
    monkeypatch.setattr(load_monitor, "_BEFORE", 0)
    monitor = LoadMonitor()
    monitor.start()
    monitor.check()
    assert monitor.busy is None
