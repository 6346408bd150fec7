"""A benchmark notices what else uses the processor, and not its own work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from benchmarks import quiet as module
from benchmarks.quiet import BusyError, Quiet, Ticks

_SPIN = "import time\nend = time.process_time() + {}\nwhile time.process_time() < end: pass"

pytestmark = pytest.mark.skipif(Ticks.now() is None, reason="needs /proc/stat")


def spin(seconds: float) -> None:
    exec(_SPIN.format(seconds))


def test_own_work_is_not_the_work_of_others():
    before = Ticks.now()
    spin(0.5)
    after = Ticks.now()
    assert after.own - before.own == pytest.approx(0.5, abs=0.1)
    assert after.everything - before.everything > 0.4


@pytest.mark.parametrize("waited_for", [False, True])
def test_the_work_of_children_is_ones_own(waited_for):
    before = Ticks.now()
    code = f"{_SPIN.format(0.5)}\nprint('spun', flush=True)\ninput()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], text=True, **pipes) as child:
        assert child.stdout.readline() == "spun\n"
        if waited_for:
            child.communicate("\n")
        after = Ticks.now()
        child.kill()
    assert 0.4 < after.own - before.own < 1.0


@pytest.fixture
def stranger():
    """A process that uses a core, and is no child of this one: the one that started it has ended."""
    start = (
        "import subprocess, sys; null = subprocess.DEVNULL; "
        f"print(subprocess.Popen([sys.executable, '-c', {_SPIN.format(20)!r}], stdout=null, stderr=null).pid)"
    )
    pid = int(subprocess.check_output([sys.executable, "-c", start], text=True))
    yield pid
    os.kill(pid, signal.SIGKILL)


def test_a_stranger_that_uses_a_core_stops_a_benchmark(stranger, monkeypatch):
    monkeypatch.setattr(module, "_BEFORE", 1.0)
    quiet = Quiet()
    with pytest.raises(BusyError, match=r"others used \d\.\d\d cores before the benchmark, over 0.3"):
        quiet.begin()
    assert quiet.busy
    assert BusyError.exit_code == 2


def test_a_stranger_that_comes_later_stops_a_benchmark_between_its_measurements(monkeypatch):
    moments = iter([Ticks(0, 10, 5), Ticks(2, 11, 6), Ticks(5, 20, 15), Ticks(8, 30, 24)])
    monkeypatch.setattr(Ticks, "now", classmethod(lambda cls: next(moments)))
    monkeypatch.setattr(module, "_BEFORE", 0)
    monkeypatch.setattr(module, "_WINDOW", 0)
    quiet = Quiet()
    quiet.begin()
    quiet.look()
    assert (quiet.before, quiet.peak, quiet.busy) == (0, 0, False)
    with pytest.raises(BusyError, match=r"0.33 cores meanwhile"):
        quiet.look()


def test_what_is_allowed_is_stamped_all_the_same(monkeypatch):
    moments = iter([Ticks(0, 0, 0), Ticks(2, 1, 0), Ticks(5, 4, 3)])
    monkeypatch.setattr(Ticks, "now", classmethod(lambda cls: next(moments)))
    monkeypatch.setattr(module, "_BEFORE", 0)
    monkeypatch.setattr(module, "_WINDOW", 0)
    quiet = Quiet(allow_busy=True)
    quiet.begin()
    quiet.look()
    assert quiet.to_dict() == {"busy": True, "allowed": True, "others_before": 0.5, "others_peak": 0.0}


def test_looking_often_costs_nothing_and_asks_once_in_three_seconds(monkeypatch):
    quiet = Quiet(allow_busy=True, _last=Ticks(time.monotonic(), 0, 0))
    monkeypatch.setattr(Ticks, "now", classmethod(lambda cls: pytest.fail("asked too early")))
    for _ in range(1000):
        quiet.look()


def test_where_the_system_does_not_tell_nothing_is_claimed(monkeypatch):
    monkeypatch.setattr(Ticks, "now", classmethod(lambda cls: None))
    monkeypatch.setattr(module, "_BEFORE", 0)
    quiet = Quiet()
    quiet.begin()
    quiet.look()
    assert quiet.busy is None
