"""What a profile holds of a real bundle; no time is judged."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

import hmdrn
from hmdrn_runtime.backends.base import Backend
from hmdrn_runtime.backends.timing import NodeTime, Transfers
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.gallery.gallery import Gallery
from hmdrn_runtime.images.preprocessing import load_image, prepare
from hmdrn_runtime.matching.ridge import OUTSIDE
from hmdrn_runtime.profiling.compare import compare
from hmdrn_runtime.profiling.conditions import Watch
from hmdrn_runtime.profiling.fresh_process import in_fresh_process, peak_mib
from hmdrn_runtime.profiling.inputs import camera_frame, enroll_drawn, gallery_of, jpeg_photo, operand_bytes
from hmdrn_runtime.profiling.operators import by_operator, node_times
from hmdrn_runtime.profiling.profile import Settings, affordable, profile
from hmdrn_runtime.profiling.stages import STAGES, measure_stages
from hmdrn_runtime.profiling.timing import Plan
from hmdrn_runtime.recognizer import Recognizer

QUICK = Plan(seconds=0, runs=6, warmup=0)


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    recognizer = hmdrn.load("default", threads=1)
    enroll_drawn(recognizer, 3)
    return recognizer


def test_photos_are_of_the_sizes_that_they_are_said_to_be():
    assert load_image(jpeg_photo()).size == (500, 375)
    assert camera_frame().shape == (1080, 1920, 3)


def test_a_profile_has_every_part_and_each_step_adds_to_it(recognizer):
    before = recognizer.gallery.generation
    settings = Settings(("jpeg",), (1, 2), (2, 5), (1,), used_threads=1, plan=QUICK)
    told: list[tuple[int, int]] = []
    found = list(profile(recognizer, settings, lambda what, done, of: told.append((done, of))))
    last = found[-1]
    assert [done for done, _ in told] == list(range(told[0][1]))
    assert list(last.stages) == ["jpeg"]
    assert set(last.enrollment) == {"enrollment", "network", "solve"}
    assert [p.value for p in last.batches] == [1, 2]
    assert [p.value for p in last.by_species] == [2, 5]
    assert [p.value for p in last.by_threads] == [1]
    assert sum(one.share for one in last.operators) == pytest.approx(1)
    assert {"Conv", "LayerNormalization"} <= {one.operator for one in last.operators}
    for earlier, later in pairwise(found):
        assert set(earlier.stages) <= set(later.stages)
        assert earlier.batches == later.batches[: len(earlier.batches)]
    json.dumps(last.to_dict(), allow_nan=False)
    assert recognizer.gallery.generation == before, "the gallery is left as it was"


def test_the_budget_is_held_against_the_slowest_source(recognizer):
    *_, last = profile(recognizer, Settings(("jpeg", "frame"), (), (), (), 1, QUICK))
    totals = {source: one.total for source, one in last.stages.items()}
    assert last.p90 == max(latency.p90 for latency in totals.values())
    assert replace(last, stages={}).p90 is None


def test_energy_is_power_times_latency(recognizer):
    *_, last = profile(recognizer, Settings(("jpeg",), (), (), (), 1, QUICK))
    assert last.joules is None or last.conditions.watts is not None
    powered = replace(last, watts={"jpeg": 5.0, "frame": 9.0})
    assert powered.joules == pytest.approx(5.0 * last.stages["jpeg"].total.mean / 1e3)


@pytest.mark.parametrize("source", [jpeg_photo(), camera_frame()], ids=["jpeg", "frame"])
def test_the_stages_of_a_classification_are_parts_of_it_and_sum_to_it(recognizer, source):
    found = measure_stages(recognizer, source, QUICK)
    assert list(found.stages) == ["preprocessing", "network and matching", "answer"]
    assert all(latency.p50 > 0 for latency in found.stages.values())
    assert all(latency.runs == 6 for latency in (*found.stages.values(), found.total))
    assert sum(latency.mean for latency in found.stages.values()) == pytest.approx(found.total.mean)
    assert found.total.mean == pytest.approx(1e3 * found.seconds.mean())
    assert 0 < found.preprocessing_share < 1


def test_many_species_are_matched_after_the_network(recognizer):
    many = Recognizer(recognizer.bundle, recognizer.backend, gallery_of(recognizer.gallery, OUTSIDE))
    found = measure_stages(many, jpeg_photo(), QUICK)
    assert list(found.stages) == ["preprocessing", "network", "matching and answer"]


def test_a_gpu_that_tells_of_itself_is_told_before_and_after(recognizer, tmp_path, monkeypatch):
    clocks = tmp_path / "clocks"
    clocks.write_text("1980")
    program = tmp_path / "nvidia-smi"
    program.write_text(f'#!/bin/sh\necho "45, $(cat {clocks}), 1980, 310.5, 81559, 80000"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    watch = Watch()
    clocks.write_text("1200")
    found = watch.conditions()
    assert (found.gpu_before.mhz, found.gpu_after.mhz, found.gpu_after.watts) == (1980, 1200, 310.5)


def test_species_are_made_up_of_compacted_ones_too(recognizer):
    compacted = Gallery(recognizer.gallery.network, recognizer.gallery.species)
    compacted.compact()
    one = Recognizer(recognizer.bundle, recognizer.backend, compacted)
    *_, last = profile(one, Settings((), (), (2, 30), (), 1, QUICK))
    assert [point.value for point in last.by_species] == [2, 30]
    assert len(gallery_of(compacted, 30)) == 30


def test_the_total_is_the_time_that_a_caller_waits(recognizer):
    began = time.perf_counter()
    found = measure_stages(recognizer, jpeg_photo(), replace(QUICK, runs=20))
    assert 0 < found.seconds.sum() < time.perf_counter() - began


def test_attention_is_profiled_too(exported):
    recognizer = hmdrn.load(exported("conv4", "attention"), threads=1)
    enroll_drawn(recognizer, 2)
    *_, last = profile(recognizer, Settings(("jpeg",), (1,), (3,), (1,), 1, QUICK))
    assert list(last.stages["jpeg"].stages) == ["preprocessing", "network and matching", "answer"]
    assert set(last.enrollment) == {"enrollment", "network"}


class DeviceBackend(Backend):
    """A backend that copies and has a profiler of its own, as TensorRT's."""

    name = "device"

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.copies = Transfers(0.25, 0.5, 0.125)

    def place(self, array):
        return self.backend.place(array)

    def run(self, graph, inputs):
        return self.backend.run(graph, inputs)

    def run_timed(self, graph, inputs):
        return self.run(graph, inputs), self.copies

    def node_times(self, graph, inputs, runs):
        return [NodeTime(graph, "Fused", float(runs))]


def test_a_backend_that_times_its_copies_is_asked(recognizer):
    device = Recognizer(recognizer.bundle, DeviceBackend(recognizer.backend), recognizer.gallery)
    found = measure_stages(device, jpeg_photo(), QUICK)
    stages = found.stages
    assert [name for name in STAGES if name in stages] == list(stages)
    # It says 250 ms and 125 ms, longer than the run that they would be a part of: the stages still sum up.
    assert stages["device to host"].p50 == stages["network and matching"].p50 == 0
    assert sum(latency.mean for latency in stages.values()) == pytest.approx(found.total.mean)
    device.backend.copies = Transfers(2e-6, 0.5, 1e-6)
    stages = measure_stages(device, jpeg_photo(), QUICK).stages
    assert (stages["host to device"].p50, stages["device to host"].p50) == pytest.approx((2e-3, 1e-3))
    assert stages["network and matching"].p50 > 0
    json.dumps(found.to_dict(), allow_nan=False)
    assert node_times(recognizer.bundle, device.backend, "classify", {}, runs=7)[0].ms == 7


def test_operators_of_one_type_are_added_up():
    nodes = [NodeTime("a", "Conv", 1.0), NodeTime("b", "Relu", 3.0), NodeTime("c", "Conv", 4.0)]
    conv, relu = by_operator(nodes)
    assert (conv.operator, conv.count, conv.ms, conv.share) == ("Conv", 2, 5.0, pytest.approx(5 / 8))
    assert (relu.operator, relu.count, relu.share) == ("Relu", 1, pytest.approx(3 / 8))


def test_galleries_of_any_size_are_made_of_the_species_at_hand(recognizer):
    fewer, more = gallery_of(recognizer.gallery, 2), gallery_of(recognizer.gallery, 40)
    own = recognizer.gallery.species
    assert list(fewer) == list(own)[:2]
    assert len(more) == 40
    assert all(more.species[label] is own[label] for label in own)
    assert {s.shots for s in more.species.values()} == {5}
    operators = recognizer.matcher.class_operands(list(more.species.values()))["operator"]
    assert len(np.unique(operators, axis=0)) > 36, "hardly any two species are the same"


def test_numbers_of_species_that_would_take_minutes_are_left_out(recognizer):
    species = next(iter(recognizer.gallery.species.values()))
    assert operand_bytes(recognizer.gallery.network, species) == 4 * 2 * 2080
    assert affordable(recognizer, (5, 1000, 100_000)) == (5, 1000)


def test_a_bundle_compares_with_itself(recognizer):
    found = compare(recognizer, recognizer, {"photo": prepare(jpeg_photo(), "crop")}, QUICK)["photo"]
    assert found.ratio.low <= found.ratio.value <= found.ratio.high
    assert found.first.runs == found.second.runs == 6


def test_without_species_there_is_nothing_to_profile():
    with pytest.raises(HmdrnError, match="no species"):
        next(iter(profile(hmdrn.load("default", threads=1), Settings(plan=QUICK))))


def test_a_new_process_has_memory_of_its_own():
    imports = "from hmdrn_runtime.profiling.fresh_process import peak_mib; import json; "
    code = imports + "{}print(json.dumps(peak_mib()))"
    little = in_fresh_process(code.format(""))
    large = in_fresh_process(code.format("x = bytearray(100 << 20); "))
    assert 99 < large - little < 110
    ballast = b"x" * (200 << 20)
    assert peak_mib() > 200
    assert in_fresh_process(code.format("")) == pytest.approx(little, abs=10), len(ballast)


def test_a_new_process_that_fails_is_told():
    with pytest.raises(HmdrnError, match="ValueError: nothing works"):
        in_fresh_process("raise ValueError('nothing works')")
