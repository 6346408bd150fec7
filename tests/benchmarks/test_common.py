"""Shared behavior of the benchmarks: options, exit codes, recorded conditions."""

from __future__ import annotations

import json

import pytest

from benchmarks import common, latency, startup
from benchmarks.common import BenchmarkRun, Result, Table
from benchmarks.load_monitor import LoadMonitor
from hmdrn_runtime.profiling.timing import TimingPlan


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr("benchmarks.load_monitor._BEFORE", 0.01)


def run(measure, *arguments: str, name: str = "trial/1", add_options=lambda parser: None) -> int:
    return common.main(name, "A trial.", measure, add_options, arguments=arguments)


def test_results_record_the_machine_and_other_load(capsys):
    def measure(benchmark: BenchmarkRun) -> Result:
        return Result({"runs": benchmark.plan.runs}, [])

    assert run(measure, "--json", "--allow-busy", "--runs", "7", "--seconds", "0.5") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["schema"] == "hmdrn.benchmark.trial/1"
    assert printed["runs"] == 7
    assert printed["plan"] == {"seconds": 0.5, "runs": 7}
    assert printed["quiet"]["allowed"] is True
    assert {"cpu", "cores", "packages"} <= set(printed["machine"])
    assert printed["threads_tried"] == list(common.THREADS)
    assert "load_average" in printed


def test_a_busy_machine_stops_it_in_one_line_with_exit_code_2(capsys, monkeypatch):
    monkeypatch.setattr(LoadMonitor, "start", lambda self: self._require_idle(1.2, "before the benchmark"))
    assert run(lambda benchmark: pytest.fail("measured on a busy machine")) == 2
    shown = capsys.readouterr()
    assert shown.err.count("\n") == 1
    assert "others used 1.20 cores" in shown.err
    assert shown.out == ""


def test_figures_of_a_busy_machine_are_marked_in_the_table(capsys, monkeypatch):
    monkeypatch.setattr(LoadMonitor, "start", lambda self: setattr(self, "before", 1.2))
    assert run(lambda benchmark: Result({}, [Table("t", ["what"], [["that"]])]), "--allow-busy") == 0
    assert "NO FIGURE OF THIS RUN COUNTS" in capsys.readouterr().out


def test_the_faster_thread_count_is_chosen(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("hmdrn_runtime.profiling.timing.time.perf_counter", lambda: clock[0])
    monkeypatch.setattr(common, "THREADS", (1, 2))

    def make(seconds: dict[int, float]):
        def of(threads: int):
            def call() -> int:
                clock[0] += seconds[threads]
                return threads

            return call

        return of

    benchmark = BenchmarkRun(None, TimingPlan(), LoadMonitor())
    threads, call = benchmark.find_best_threads(make({1: 0.02, 2: 0.01}))
    assert (threads, call()) == (2, 2)
    threads, call = benchmark.find_best_threads(make({1: 0.02, 2: 0.03}))
    assert (threads, call()) == (1, 1)


@pytest.mark.slow
def test_latency_runs_from_end_to_end(capsys):
    arguments = ["--allow-busy", "--seconds", "0.001", "--runs", "2", "--json"]
    assert common.main("latency/1", None, latency.measure, latency.add_options, arguments=arguments) == 0
    printed = json.loads(capsys.readouterr().out)
    assert set(printed["sources"]) == {"jpeg", "frame"}
    assert printed["sources"]["frame"]["preprocessing_share"] > 0
    ratio = printed["batch"]["throughput_ratio"]
    assert ratio["low"] <= ratio["value"] <= ratio["high"]


@pytest.mark.slow
def test_startup_runs_from_end_to_end(capsys):
    arguments = ["--allow-busy", "--starts", "1", "--no-wheel", "--json"]
    assert common.main("startup/1", None, startup.measure, startup.add_options, arguments=arguments) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["load_to_prediction_s"] == pytest.approx(printed["load_s"] + printed["classify_s"])
    assert printed["wheel_bytes"] is None
