"""What all benchmarks do alike: options, exit codes, what their results are stamped with."""

from __future__ import annotations

import json

import pytest

from benchmarks import common, latency, startup
from benchmarks.common import Bench, Result, Table
from benchmarks.quiet import Quiet
from hmdrn_runtime.profiling.timing import Plan


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr("benchmarks.quiet._BEFORE", 0.01)


def run(measure, *arguments: str, name: str = "trial/1", options=lambda parser: None) -> int:
    return common.main(name, "A trial.", measure, options, arguments=arguments)


def test_results_are_stamped_with_the_machine_and_what_else_ran(capsys):
    def measure(bench: Bench) -> Result:
        return Result({"found": bench.plan.runs}, [])

    assert run(measure, "--json", "--allow-busy", "--runs", "7", "--seconds", "0.5") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["schema"] == "hmdrn.benchmark.trial/1"
    assert printed["found"] == 7
    assert printed["plan"] == {"seconds": 0.5, "runs": 7}
    assert printed["quiet"]["allowed"] is True
    assert {"cpu", "cores", "packages"} <= set(printed["machine"])
    assert printed["threads_tried"] == list(common.THREADS)
    assert "load_average" in printed


def test_a_busy_machine_stops_it_in_one_line_with_exit_code_2(capsys, monkeypatch):
    monkeypatch.setattr(Quiet, "begin", lambda self: self._check(1.2, "before the benchmark"))
    assert run(lambda bench: pytest.fail("measured on a busy machine")) == 2
    shown = capsys.readouterr()
    assert shown.err.count("\n") == 1
    assert "others used 1.20 cores" in shown.err
    assert shown.out == ""


def test_figures_of_a_busy_machine_are_marked_for_people(capsys, monkeypatch):
    monkeypatch.setattr(Quiet, "begin", lambda self: setattr(self, "before", 1.2))
    assert run(lambda bench: Result({}, [Table("t", ["what"], [["that"]])]), "--allow-busy") == 0
    assert "NO FIGURE OF THIS RUN COUNTS" in capsys.readouterr().out


def test_every_rival_gets_its_best_number_of_threads(monkeypatch):
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

    bench = Bench(None, Plan(), Quiet())
    threads, call = bench.best_threads(make({1: 0.02, 2: 0.01}))
    assert (threads, call()) == (2, 2)
    threads, call = bench.best_threads(make({1: 0.02, 2: 0.03}))
    assert (threads, call()) == (1, 1)


def test_latency_runs_from_end_to_end(capsys):
    arguments = ["--allow-busy", "--seconds", "0.001", "--runs", "2", "--json"]
    assert common.main("latency/1", None, latency.measure, latency.options, arguments=arguments) == 0
    printed = json.loads(capsys.readouterr().out)
    assert set(printed["sources"]) == {"jpeg", "frame"}
    assert printed["sources"]["frame"]["preprocessing_share"] > 0
    ratio = printed["batch"]["throughput_ratio"]
    assert ratio["low"] <= ratio["value"] <= ratio["high"]


def test_startup_runs_from_end_to_end(capsys):
    arguments = ["--allow-busy", "--starts", "1", "--no-wheel", "--json"]
    assert common.main("startup/1", None, startup.measure, startup.options, arguments=arguments) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["load_to_prediction_s"] == pytest.approx(printed["load_s"] + printed["classify_s"])
    assert printed["wheel_bytes"] is None
