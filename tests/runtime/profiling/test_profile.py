"""The content of a profile of a real bundle; no time is judged."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from preprocessings import DEFAULT

import hmdrn
from hmdrn_runtime.backends.base import Backend
from hmdrn_runtime.backends.timing import NodeTime, TransferTimes
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.gallery.gallery import Gallery
from hmdrn_runtime.images.decoding import load_image
from hmdrn_runtime.images.preprocessing import prepare
from hmdrn_runtime.matching.ridge import MIN_INDEXED
from hmdrn_runtime.profiling.compare import compare_recognizers
from hmdrn_runtime.profiling.conditions import ConditionsMonitor
from hmdrn_runtime.profiling.fresh_process import read_peak_mib, run_in_fresh_process
from hmdrn_runtime.profiling.inputs import (
    count_operand_bytes,
    enroll_drawn,
    make_camera_frame,
    make_jpeg_photo,
    resize_gallery,
)
from hmdrn_runtime.profiling.operators import measure_node_times, sum_by_operator
from hmdrn_runtime.profiling.profile import ProfileSettings, limit_species_counts, profile_bundle
from hmdrn_runtime.profiling.stages import STAGES, measure_stages
from hmdrn_runtime.profiling.timing import TimingPlan
from hmdrn_runtime.recognizer import Recognizer

QUICK = TimingPlan(seconds=0, runs=6, warmup=0)


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    recognizer = hmdrn.load("default", threads=1)
    enroll_drawn(recognizer, 3)
    return recognizer


def test_inputs_have_the_documented_sizes():
    assert load_image(make_jpeg_photo()).size == (500, 375)
    assert make_camera_frame().shape == (1080, 1920, 3)


def test_a_profile_has_every_part_and_each_step_adds_to_it(recognizer):
    before = recognizer.gallery.generation
    settings = ProfileSettings(("jpeg",), (1, 2), (2, 5), (1,), used_threads=1, plan=QUICK)
    progress: list[tuple[int, int]] = []
    report = lambda _, done, total: progress.append((done, total))  # noqa: E731
    results = list(profile_bundle(recognizer, settings, report))
    last = results[-1]
    assert [done for done, _ in progress] == list(range(progress[0][1]))
    assert list(last.stages) == ["jpeg"]
    assert set(last.enrollment) == {"enrollment", "network", "solve"}
    assert [p.value for p in last.batches] == [1, 2]
    assert [p.value for p in last.by_species] == [2, 5]
    assert [p.value for p in last.by_threads] == [1]
    assert sum(operator.share for operator in last.operators) == pytest.approx(1)
    assert any("Conv" in operator.operator for operator in last.operators)  # or QLinearConv
    assert any("LayerNormalization" in operator.operator for operator in last.operators)
    for earlier, later in pairwise(results):
        assert set(earlier.stages) <= set(later.stages)
        assert earlier.batches == later.batches[: len(earlier.batches)]
    json.dumps(last.to_dict(), allow_nan=False)
    assert recognizer.gallery.generation == before, "the gallery is left as it was"


@pytest.mark.slow
def test_the_budget_applies_to_the_slowest_source(recognizer):
    *_, last = profile_bundle(recognizer, ProfileSettings(("jpeg", "frame"), (), (), (), 1, QUICK))
    assert last.p90 == max(stages.total.p90 for stages in last.stages.values())
    assert replace(last, stages={}).p90 is None


@pytest.mark.slow
def test_energy_is_power_times_latency(recognizer):
    *_, last = profile_bundle(recognizer, ProfileSettings(("jpeg",), (), (), (), 1, QUICK))
    assert last.joules is None or last.conditions.watts is not None
    powered = replace(last, watts={"jpeg": 5.0, "frame": 9.0})
    assert powered.joules == pytest.approx(5.0 * last.stages["jpeg"].total.mean / 1e3)


@pytest.mark.parametrize("source", [make_jpeg_photo(), make_camera_frame()], ids=["jpeg", "frame"])
def test_the_stages_of_a_classification_are_parts_of_it_and_sum_to_it(recognizer, source):
    measured = measure_stages(recognizer, source, QUICK)
    assert list(measured.stages) == ["preprocessing", "network and matching", "answer"]
    assert all(latency.p50 > 0 for latency in measured.stages.values())
    assert all(latency.runs == 6 for latency in (*measured.stages.values(), measured.total))
    assert sum(latency.mean for latency in measured.stages.values()) == pytest.approx(measured.total.mean)
    assert 0 < measured.preprocessing_share < 1


@pytest.mark.slow
def test_many_species_are_matched_after_the_network(recognizer):
    many = Recognizer(recognizer.bundle, recognizer.backend, resize_gallery(recognizer.gallery, MIN_INDEXED))
    measured = measure_stages(many, make_jpeg_photo(), QUICK)
    assert list(measured.stages) == ["preprocessing", "network", "matching and answer"]


def test_a_gpu_is_reported_before_and_after(recognizer, tmp_path, monkeypatch):
    clocks = tmp_path / "clocks"
    clocks.write_text("1980\n")
    program = tmp_path / "nvidia-smi"
    program.write_text(f'#!/bin/sh\nread mhz < {clocks}\necho "45, $mhz, 1980, 310.5, 81559, 80000"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monitor = ConditionsMonitor()
    clocks.write_text("1200\n")
    conditions = monitor.summarize()
    before, after = conditions.gpu_before, conditions.gpu_after
    assert (before.mhz, after.mhz, after.watts) == (1980, 1200, 310.5)


@pytest.mark.slow
def test_species_are_invented_from_compacted_ones_too(recognizer):
    compacted = Gallery(recognizer.gallery.network, recognizer.gallery.species)
    compacted.compact()
    small = Recognizer(recognizer.bundle, recognizer.backend, compacted)
    *_, last = profile_bundle(small, ProfileSettings((), (), (2, 30), (), 1, QUICK))
    assert [point.value for point in last.by_species] == [2, 30]
    assert len(resize_gallery(compacted, 30)) == 30


def test_the_total_is_the_time_that_a_caller_waits(recognizer):
    start = time.perf_counter()
    total = measure_stages(recognizer, make_jpeg_photo(), replace(QUICK, runs=20)).total
    assert 0 < total.runs * total.mean / 1e3 < time.perf_counter() - start


@pytest.mark.slow
def test_attention_is_profiled_too(exported):
    recognizer = hmdrn.load(exported("conv4", "attention"), threads=1)
    enroll_drawn(recognizer, 2)
    *_, last = profile_bundle(recognizer, ProfileSettings(("jpeg",), (1,), (3,), (1,), 1, QUICK))
    assert list(last.stages["jpeg"].stages) == ["preprocessing", "network and matching", "answer"]
    assert set(last.enrollment) == {"enrollment", "network"}


class DeviceBackend(Backend):
    """A backend with copies and its own profiler, as TensorRT's."""

    name = "device"

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.copies = TransferTimes(250.0, 500.0, 125.0)

    def place(self, array):
        return self.backend.place(array)

    def run(self, graph, inputs):
        return self.backend.run(graph, inputs)

    def run_timed(self, graph, inputs):
        return self.run(graph, inputs), self.copies

    def profile_nodes(self, graph, inputs, runs):
        return [NodeTime(graph, "Fused", float(runs))]


def test_the_times_of_a_backends_own_copies_are_used(recognizer):
    device = Recognizer(recognizer.bundle, DeviceBackend(recognizer.backend), recognizer.gallery)
    measured = measure_stages(device, make_jpeg_photo(), QUICK)
    stages = measured.stages
    assert [name for name in STAGES if name in stages] == list(stages)
    # It reports 250 s and 125 s, longer than the whole run: the stages still sum up.
    assert stages["device to host"].p50 == stages["network and matching"].p50 == 0
    assert sum(latency.mean for latency in stages.values()) == pytest.approx(measured.total.mean)
    device.backend.copies = TransferTimes(2e-6, 0.5, 1e-6)
    stages = measure_stages(device, make_jpeg_photo(), QUICK).stages
    assert (stages["host to device"].p50, stages["device to host"].p50) == pytest.approx((2e-3, 1e-3))
    assert stages["network and matching"].p50 > 0
    json.dumps(measured.to_dict(), allow_nan=False)
    assert measure_node_times(recognizer.bundle, device.backend, "classify", {}, runs=7)[0].ms == 7


def test_operators_of_one_type_are_added_up():
    nodes = [NodeTime("a", "Conv", 1.0), NodeTime("b", "Relu", 3.0), NodeTime("c", "Conv", 4.0)]
    conv, relu = sum_by_operator(nodes)
    assert (conv.operator, conv.count, conv.ms, conv.share) == ("Conv", 2, 5.0, pytest.approx(5 / 8))
    assert (relu.operator, relu.count, relu.share) == ("Relu", 1, pytest.approx(3 / 8))


def test_galleries_of_any_size_are_made_from_the_given_species(recognizer):
    fewer, more = resize_gallery(recognizer.gallery, 2), resize_gallery(recognizer.gallery, 40)
    own = recognizer.gallery.species
    assert list(fewer) == list(own)[:2]
    assert len(more) == 40
    assert all(more.species[label] is own[label] for label in own)
    assert {s.shots for s in more.species.values()} == {5}
    operators = recognizer.matcher.class_operands(list(more.species.values()))["operator"]
    assert len(np.unique(operators, axis=0)) > 36, "hardly any two species are the same"


def test_numbers_of_species_that_take_minutes_are_left_out(recognizer):
    species = next(iter(recognizer.gallery.species.values()))
    assert count_operand_bytes(recognizer.gallery.network, species) == 4 * recognizer.gallery.network.packed
    assert limit_species_counts(recognizer, (5, 1000, 100_000)) == (5, 1000)


def test_a_bundle_compares_with_itself(recognizer):
    photos = {"photo": prepare(make_jpeg_photo(), DEFAULT)}
    comparison = compare_recognizers(recognizer, recognizer, photos, QUICK)["photo"]
    assert comparison.ratio.low <= comparison.ratio.value <= comparison.ratio.high
    assert comparison.first.runs == comparison.second.runs == 6


def test_without_species_there_is_nothing_to_profile():
    with pytest.raises(HmdrnError, match="has no species"):
        next(iter(profile_bundle(hmdrn.load("default", threads=1), ProfileSettings(plan=QUICK))))


def test_a_new_process_has_memory_of_its_own():
    imports = "from hmdrn_runtime.profiling.fresh_process import read_peak_mib; import json; "
    code = imports + "{}print(json.dumps(read_peak_mib()))"
    little = run_in_fresh_process(code.format(""))
    large = run_in_fresh_process(code.format("x = bytearray(100 << 20); "))
    assert 99 < large - little < 110
    ballast = b"x" * (200 << 20)
    assert read_peak_mib() > 200
    assert run_in_fresh_process(code.format("")) == pytest.approx(little, abs=10), len(ballast)


def test_a_new_process_that_fails_is_reported():
    with pytest.raises(HmdrnError, match="ValueError: nothing works"):
        run_in_fresh_process("raise ValueError('nothing works')")
