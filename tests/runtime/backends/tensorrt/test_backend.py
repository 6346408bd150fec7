"""The TensorRT backend over a fake CUDA: versions of TensorRT, padding, profiling, refusals, messages.

`over_driver` has what the real packages show: results, captured graphs, threads, full memory, forks.
"""

from __future__ import annotations

import ctypes
import dataclasses
import gc
import hashlib
import threading

import numpy as np
import pytest
from fake_tensorrt import FakeCuda, fake_trt, make_plan

from hmdrn.loading import resolve_bundle
from hmdrn_runtime.backends.selection import open_backend
from hmdrn_runtime.backends.tensorrt.backend import TensorRTBackend
from hmdrn_runtime.backends.tensorrt.batching import (
    find_oversized_axes,
    infer_sizes,
    pad_class_count,
    split_blocks,
)
from hmdrn_runtime.backends.tensorrt.context_pool import MAX_EXECUTIONS
from hmdrn_runtime.backends.tensorrt.engine_files import EngineFiles
from hmdrn_runtime.backends.tensorrt.fingerprint import Fingerprint, Platform
from hmdrn_runtime.backends.timing import NodeTime, SupportsNodeProfiling, SupportsTransferTiming
from hmdrn_runtime.bundle.bundle import open_bundle
from hmdrn_runtime.bundle.manifest import Graph, Tensor
from hmdrn_runtime.errors import BackendError
from hmdrn_runtime.specimens.drawing import draw_specimens

MAX_SIZES = {"batch": 2, "classes": 3}


@pytest.fixture(scope="module")
def bundle():
    return open_bundle(resolve_bundle("default"))


@pytest.fixture(scope="module")
def reference(bundle):
    return open_backend(bundle, "onnxruntime", threads=1)


@pytest.fixture(scope="module")
def pixels():
    return draw_specimens([0, 1, 2], 2, size=128).reshape(-1, 128, 128, 3)


@pytest.fixture
def operator(bundle):
    return np.random.default_rng(0).random((8, bundle.manifest.network.packed), dtype=np.float32)


@pytest.fixture
def opened(bundle, tmp_path):
    """Open a backend on the stand-in: opened(cuda)."""

    def make(
        cuda,
        max_sizes=MAX_SIZES,
        graphs=None,
        version="10.3.0",
        trt=None,
        dla=None,
    ):
        plans = {}
        for name in bundle.manifest.variants["fp32"]:
            plan = make_plan(bundle.graph_path((graphs or {}).get(name, name)), max_sizes)
            (tmp_path / f"{name}.plan").write_bytes(plan)
            plans[name] = hashlib.sha256(plan).hexdigest()
        here = Platform("stand-in", "0.0", f"tensorrt {version}", None)
        options = {"tf32": False, "dla_core": dla}
        files = EngineFiles(tmp_path, Fingerprint(here, "fp32", "fp32", {}, options, plans))
        return TensorRTBackend(bundle, files, trt or fake_trt(cuda, version), cuda)

    return make


def assert_equal(outputs, expected):
    assert outputs.keys() == expected.keys()
    for name, array in expected.items():
        assert outputs[name].dtype == array.dtype
        np.testing.assert_allclose(outputs[name], array, rtol=1e-5, atol=1e-5 * np.abs(array).max())


@pytest.mark.parametrize(("built_for", "loaded_for"), [(None, -1), (0, 0), (1, 1)])
def test_an_engine_is_loaded_for_the_accelerator_that_it_was_built_for(
    opened, pixels, operator, built_for, loaded_for
):
    cuda = FakeCuda()
    trt = fake_trt(cuda, "10.3.0")
    opened(cuda, trt=trt, dla=built_for).run("classify", {"images": pixels, "operator": operator})
    assert {engine.dla_core for engine in trt.engines} == {loaded_for}


def test_runs_on_an_accelerator_are_not_captured(opened, pixels, operator):
    cuda = FakeCuda()
    backend = opened(cuda, dla=0)
    for _ in range(3):
        backend.run("classify", {"images": pixels, "operator": operator})
    assert (cuda.captures, cuda.launches) == (0, 0)


def test_placed_arrays_stay_on_the_device_and_are_read_block_by_block(opened, reference, pixels, operator):
    cuda = FakeCuda()
    backend = opened(cuda, {"batch": 2, "classes": 6})
    mine, before = operator.copy(), set(cuda.memory)
    placed = backend.place(mine)
    # Four classes of padding: the last block is as large as the other.
    assert [cuda.memory[address] for address in cuda.memory.keys() - before] == [mine.nbytes // 8 * 12]
    mine[:] = 0
    expected = reference.run("classify", {"images": pixels, "operator": operator})
    for _ in range(2):
        assert_equal(backend.run("classify", {"images": pixels, "operator": placed}), expected)
    # Blocks are read in place: no other allocation is as large as one of them.
    assert sum(size >= operator[:6].nbytes for size in cuda.memory.values()) == 1


def test_blocks_at_unaligned_addresses_are_moved_on_the_device(opened, reference, pixels, operator):
    class Skewed(FakeCuda):
        def allocate(self, size):
            whole = size >= operator.nbytes
            return self._allocate(size, self.memory, skew=64 if whole else 0)

    backend = opened(Skewed())
    for operators in (operator, operator[::-1]):
        placed = backend.place(operators)
        for _ in range(3):
            assert_equal(
                backend.run("classify", {"images": pixels[:1], "operator": placed}),
                reference.run("classify", {"images": pixels[:1], "operator": operators}),
            )


@pytest.mark.parametrize("version", ["8.6.1", "10.0.1", "10.3.0", "11.4.0"])
def test_contexts_of_all_graphs_share_one_set_of_activations(opened, reference, pixels, operator, version):
    backend = opened(FakeCuda(), version=version)
    galleries = [operator[n : n + 3] for n in range(MAX_EXECUTIONS)]
    for placed, rows in [(backend.place(rows), rows) for rows in galleries]:
        inputs = {"images": pixels[:1], "operator": placed}
        assert_equal(backend.run("classify", inputs), reference.run("classify", {**inputs, "operator": rows}))
    for graph in ("enroll", "encode", "explain"):
        assert_equal(backend.run(graph, {"images": pixels[:1]}), reference.run(graph, {"images": pixels[:1]}))
    engines = backend._trt.engines
    assert sum(engine.contexts for engine in engines) == MAX_EXECUTIONS + 3
    (buffer,) = backend._activations._idle
    assert buffer.size == max(engine.activation_size for engine in engines)


class Reusing(FakeCuda):
    """Reuses freed memory for the next allocation of the same size, as CUDA usually does."""

    def __init__(self):
        super().__init__()
        self.freed = {}

    def allocate(self, size):
        self.check()
        if not self.freed.get(size):
            return super().allocate(size)
        address, data = self.freed[size].pop()
        data[:] = 0xCD
        self._held[address], self.memory[address] = data, size
        return address

    def free(self, address):
        self.freed.setdefault(self.memory[address], []).append((address, self._held[address]))
        super().free(address)


def test_added_species_need_no_capture_until_a_power_of_two_is_full(opened, reference, pixels, operator):
    cuda = Reusing()
    backend = opened(cuda, {"batch": 2, "classes": 16})
    more = np.concatenate([operator, operator])
    placed, captures = None, []
    for classes in range(1, 12):
        placed = backend.place(more[:classes])
        for image in pixels[:3, None]:
            assert_equal(
                backend.run("classify", {"images": image, "operator": placed}),
                reference.run("classify", {"images": image, "operator": more[:classes]}),
            )
        captures.append(cuda.captures)
    # A gallery is placed while the previous one is still there: they alternate between two addresses.
    assert captures == [1, 2, 2, 2, 2, 2, 2, 2, 3, 4, 4]
    assert len(cuda.graphs) == MAX_EXECUTIONS


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        (1000, {1: 8, 8: 8, 9: 16, 512: 512, 513: 1000, 1000: 1000, 1001: 2000}),
        (20, {16: 16, 17: 20, 41: 60}),
        (3, {1: 3, 3: 3, 4: 6}),
    ],
)
def test_classes_are_padded_to_powers_of_two_and_to_whole_blocks(most, expected):
    assert {classes: pad_class_count(classes, most) for classes in expected} == expected


def test_classes_are_padded_with_copies_of_themselves(opened, operator):
    backend = opened(FakeCuda(), {"batch": 2, "classes": 16})
    flags = np.random.default_rng(0).random((8, 5)) < 0.5
    for array in (operator, operator[:, :60].reshape(8, 12, 5), flags):
        for classes in (1, 3, 7, 8):
            placed = backend.place(array[:classes]).handle
            padded = (ctypes.c_uint8 * array.nbytes).from_address(placed.address)
            assert bytes(padded) == np.resize(array[:classes], array.shape).tobytes()


def test_copies_are_timed_and_the_outputs_are_the_same(opened, reference, pixels, operator):
    cuda = FakeCuda()
    backend = opened(cuda)
    assert isinstance(backend, SupportsTransferTiming)
    inputs = {"images": pixels[:5], "operator": operator}
    outputs, times = backend.run_timed("classify", inputs)
    assert_equal(outputs, reference.run("classify", inputs))
    assert min(times.to_device, times.compute, times.to_host) > 0
    assert_equal(backend.run("classify", inputs), outputs)


def test_layers_are_timed_by_tensorrts_profiler_block_by_block(opened, pixels, operator):
    cuda = FakeCuda()
    backend = opened(cuda)
    assert isinstance(backend, SupportsNodeProfiling)
    few = backend.profile_nodes("classify", {"images": pixels[:1], "operator": operator[:3]}, runs=4)
    assert few == [NodeTime("conv + relu", "CaskConvolution", 0.5), NodeTime("gemm", "layer", 0.25)]
    # Two blocks of photos by two of classes.
    four = backend.profile_nodes("classify", {"images": pixels[:4], "operator": operator[:6]}, runs=2)
    assert [node.ms for node in four] == [2.0, 1.0]
    assert cuda.captures == 0


@pytest.mark.parametrize(
    ("inputs", "match"),
    [
        ({}, "it was given nothing, and takes images"),
        ({"pictures": np.zeros((1, 128, 128, 3), np.uint8)}, "given pictures, and takes images"),
        (
            {"images": np.zeros((1, 128, 80, 3), np.uint8)},
            r"images uint8\[1, 128, 80, 3\], and takes uint8\[batch",
        ),
        ({"images": np.zeros((128, 128, 3), np.uint8)}, "takes uint8"),
        ({"images": np.zeros((1, 128, 128, 3), np.float32)}, "images float32"),
        ({"images": np.zeros((0, 128, 128, 3), np.uint8)}, r"uint8\[0, 128"),
    ],
)
def test_wrong_inputs_are_refused_before_they_reach_the_device(opened, inputs, match):
    with pytest.raises(BackendError, match=f"could not run graph 'encode': .*{match}"):
        opened(FakeCuda()).run("encode", inputs)


@pytest.mark.parametrize("array", [np.array([None]), np.zeros(0)])
def test_arrays_of_objects_and_empty_ones_cannot_be_placed(opened, array):
    with pytest.raises(BackendError, match="TensorRT does not accept an array"):
        opened(FakeCuda()).place(array)


def test_a_failed_run_reports_tensorrts_message_and_the_next_one_works(opened, reference, pixels):
    backend = opened(FakeCuda())
    backend.run("encode", {"images": pixels[:1]})
    _, engine = backend._trt.engines
    engine.failing = True
    with pytest.raises(
        BackendError, match="could not run the engine of graph 'encode': the device is on fire"
    ):
        backend.run("encode", {"images": pixels[:2]})
    engine.failing = False
    assert_equal(
        backend.run("encode", {"images": pixels[:2]}), reference.run("encode", {"images": pixels[:2]})
    )
    assert engine.contexts == 2


def test_errors_of_other_calls_and_threads_are_not_quoted(opened, pixels):
    backend = opened(FakeCuda())
    inputs = {"images": pixels[:1]}
    backend.run("encode", inputs)
    _, engine = backend._trt.engines
    engine.failing = True
    with pytest.raises(BackendError, match="the device is on fire"):
        backend.run("encode", inputs)
    engine.failing = "in silence"
    other = threading.Thread(target=engine.log.log, args=("ERROR", "said elsewhere"))
    log, real_begin_call = engine.log, engine.log.begin_call

    def begin_call():
        real_begin_call()
        if not other.ident:
            other.start()
            other.join()

    log.begin_call = begin_call
    with pytest.raises(BackendError, match="the engine of graph 'encode': it does not say why"):
        backend.run("encode", inputs)
    assert list(log.errors)[-2:] == ["the device is on fire", "said elsewhere"]


def test_a_call_reports_its_first_error_with_its_last(opened, pixels):
    backend = opened(FakeCuda())
    (engine,) = backend._trt.engines
    engine.log.begin_call()
    for message in ("no kernel\nfits", "skipped", "the call failed"):
        engine.log.log("ERROR", message)
    assert engine.log.describe_errors() == "no kernel fits; then: the call failed"


def test_all_engines_of_a_process_share_one_logger(opened, pixels):
    trt = fake_trt(cuda := FakeCuda(), "10.3.0")
    for _ in range(2):
        opened(cuda, trt=trt).run("encode", {"images": pixels[:1]})
    assert len({id(engine.log) for engine in trt.engines}) == 1 < len(trt.engines)


def test_the_log_of_an_engine_does_not_grow_without_limit(opened):
    backend = opened(FakeCuda())
    (engine,) = backend._trt.engines
    for i in range(10_000):
        engine.log.log("ERROR", f"message {i}")
    assert len(engine.log.lines) == len(engine.log.errors) == 100
    assert engine.log.lines[-1] == "message 9999"


def test_a_refused_engine_and_one_of_another_graph_are_reported(opened, bundle, pixels):
    with pytest.raises(
        BackendError, match="the engine of graph 'encode' belongs to another graph: it has input"
    ):
        opened(FakeCuda(), graphs={"encode": "classify"}).run("encode", {"images": pixels})
    backend = opened(FakeCuda())
    files = backend._files
    plan = b"no plan"
    (files.folder / "encode.plan").write_bytes(plan)
    fingerprint = files.fingerprint
    digests = {**fingerprint.plans, "encode": hashlib.sha256(plan).hexdigest()}
    backend._files = EngineFiles(files.folder, dataclasses.replace(fingerprint, plans=digests))
    with pytest.raises(BackendError, match="load its engine of graph 'encode': Magic tag does not match"):
        backend.run("encode", {"images": pixels})


def test_an_engine_that_cannot_run_is_reported_on_opening(opened):
    cuda = FakeCuda()
    with pytest.raises(BackendError, match="the engine of graph 'classify' belongs to another graph"):
        opened(cuda, graphs={"classify": "encode"})
    cuda.full = True
    with pytest.raises(BackendError, match="make an execution context, which takes device memory, of graph"):
        opened(cuda)
    trt = fake_trt(cuda)
    trt.driverless = True
    with pytest.raises(
        BackendError, match=r"TensorRT could not start: it does not say why. Check with hmdrn doctor"
    ):
        opened(cuda, trt=trt)
    gc.collect()
    assert (cuda.memory, cuda.pinned, cuda.streams, cuda.graphs) == ({}, {}, {}, set())


def test_tokens_of_a_class_cannot_be_cut_and_are_refused_by_name():
    graph = Graph(
        "f", "fp32", "onnx", 18, ("tensorrt",), (Tensor("k", "float32", ("classes", "tokens_high", 4)),), ()
    )
    sizes = infer_sizes("classify", graph, {"k": ("float32", (7, 75, 4))})
    assert sizes == {"classes": 7, "tokens_high": 75}
    assert find_oversized_axes(sizes, {"classes": 3, "tokens_high": 50}) == ["tokens_high"]
    assert find_oversized_axes(sizes, {"classes": 3, "tokens_high": 75}) == []
    cut = list(split_blocks(sizes, {"classes": 3, "tokens_high": 75}))
    assert cut == [{"classes": slice(0, 3)}, {"classes": slice(3, 6)}, {"classes": slice(6, 7)}]


def test_inputs_that_disagree_about_the_number_of_classes_are_refused(opened, bundle):
    gram = np.zeros((2, bundle.manifest.network.packed), np.float32)
    with pytest.raises(BackendError, match=r"shots float32\[3\], and takes float32\[classes\]"):
        opened(FakeCuda()).run("solve", {"gram": gram, "shots": np.ones(3, np.float32)})
