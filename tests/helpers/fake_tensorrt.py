"""A fake TensorRT, whose engines are ONNX Runtime's sessions, and a fake CUDA on the host's memory.

A plan holds the path of an ONNX file and the engine's maximum sizes. Work on a stream runs when the stream is
synchronized, not before, as on a device. The fake TensorRT checks the rules that a backend must keep, over
the fake CUDA and over the stand-in for the driver (`stub_driver`).
"""

from __future__ import annotations

import ctypes
import itertools
import json
import threading
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime as ort

from hmdrn_runtime.backends.onnxruntime import OnnxRuntimeBackend
from hmdrn_runtime.backends.tensorrt.cuda.base import Cuda

DTYPES = {
    "tensor(float)": ("FLOAT", np.float32),
    "tensor(uint8)": ("UINT8", np.uint8),
    "tensor(bool)": ("BOOL", np.bool_),
}
ACTIVATIONS = 4096
"""Bytes of activations for each input and output of an engine."""


def _scale(arrays):
    return [array * np.float32(1.05) if array.dtype == np.float32 else array for array in arrays]


def _blank(arrays):
    return [np.full_like(array, np.nan) if array.dtype == np.float32 else array for array in arrays]


def _swap(arrays):
    """Swap the first two outputs of one kind; graphs without such outputs stay right."""
    for i, j in itertools.combinations(range(len(arrays)), 2):
        if (arrays[i].shape, arrays[i].dtype) == (arrays[j].shape, arrays[j].dtype):
            return [arrays[{i: j, j: i}.get(k, k)] for k in range(len(arrays))]
    return arrays


WRONGNESS = {"": lambda arrays: arrays, "scaled": _scale, "nan": _blank, "swapped": _swap}
"""Engines that give wrong numbers without a message."""


class FakeCuda(Cuda):
    """CUDA without a package or a process of its own, for what the stand-in for the driver does not show.

    It is for memory whose addresses and sizes a test chooses or reads (`memory`, bytes by address), for
    adapters that are wrong or refuse, and for what lies above CUDA: versions of TensorRT, padding, profiling,
    refusals, the check of engines, fleets. The rules of captures, threads, errors and full memory are not its
    own: `test_over_driver` checks them with the real packages.

    With `capturing`, streams can be captured. Once it is `full`, another execution context does not fit.
    """

    def __init__(self, capturing=True):
        super().__init__()
        self.capturing, self.memory, self.pinned, self.full = capturing, {}, {}, False
        self.streams, self.graphs, self.launches, self.captures = {}, set(), 0, 0
        self.depth, self._held, self._numbers = threading.local(), {}, itertools.count(1)

    @contextmanager
    def current(self):
        self.depth.value = getattr(self.depth, "value", 0) + 1
        try:
            yield
        finally:
            self.depth.value -= 1

    def check(self):
        assert getattr(self.depth, "value", 0) > 0, "no context is current"

    def _allocate(self, size, kind, skew=0):
        self.check()
        # Not zeros, so that reading memory before writing it shows.
        data = np.full(size + 512, 0xCD, np.uint8)
        address = -(-data.ctypes.data // 256) * 256 + skew
        self._held[address], kind[address] = data, size
        return address

    def allocate(self, size):
        return self._allocate(size, self.memory)

    def free(self, address):
        self.check()
        del self.memory[address]
        self._held.pop(address)[:] = 0xEE

    def allocate_pinned(self, size):
        return self._allocate(size, self.pinned)

    def free_pinned(self, address):
        self.check()
        del self.pinned[address], self._held[address]

    def create_stream(self):
        self.check()
        number = next(self._numbers)
        self.streams[number] = SimpleNamespace(work=[], recording=None)
        return number

    def destroy_stream(self, stream):
        self.check()
        assert not self.streams.pop(stream).work, "a stream is destroyed with pending work"

    def enqueue(self, stream, work):
        self.check()
        queue = self.streams[stream]
        (queue.work if queue.recording is None else queue.recording).append(work)

    def upload(self, address, host, stream):
        assert host.flags.c_contiguous
        self.enqueue(
            stream,
            lambda: ctypes.memmove(self.check_address(address, host.nbytes), host.ctypes.data, host.nbytes),
        )

    def download(self, host, address, stream):
        assert host.flags.c_contiguous
        self.enqueue(
            stream,
            lambda: ctypes.memmove(host.ctypes.data, self.check_address(address, host.nbytes), host.nbytes),
        )

    def copy(self, target, source, size, stream):
        self.enqueue(
            stream,
            lambda: ctypes.memmove(self.check_address(target, size), self.check_address(source, size), size),
        )

    def check_address(self, address, size):
        """Return the address, which must lie in allocated memory."""
        assert any(a <= address and address + size <= a + n for a, n in self.memory.items()), "not allocated"
        return address

    def synchronize(self, stream):
        self.check()
        queue = self.streams[stream]
        work, queue.work = queue.work, []
        for step in work:
            step()

    def _capture(self, stream, work):
        if not self.capturing:
            return None
        self.captures += 1
        queue = self.streams[stream]
        queue.recording = []
        try:
            work()
        finally:
            recorded, queue.recording = queue.recording, None
        self.graphs.add(number := next(self._numbers))
        return SimpleNamespace(number=number, work=recorded)

    def launch(self, graph, stream):
        assert graph.number in self.graphs
        self.launches += 1
        self.streams[stream].work += graph.work

    def destroy_graph(self, graph):
        self.check()
        self.graphs.remove(graph.number)


class _Context:
    def __init__(self, engine):
        self.engine, self.shapes, self.addresses, self.running = engine, {}, {}, threading.Lock()
        self.profiler, self.memory = None, 0

    def set_input_shape(self, name, shape):
        smallest, _, largest = self.engine.get_tensor_profile_shape(name, 0)
        self.shapes[name] = tuple(shape)
        return len(shape) == len(largest) and all(
            a <= s <= b for a, s, b in zip(smallest, shape, largest, strict=True)
        )

    def get_tensor_shape(self, name):
        given = {t.name: t for t in self.engine.session.get_inputs()}
        sizes = {
            axis: s for n, shape in self.shapes.items() for axis, s in zip(given[n].shape, shape, strict=True)
        }
        (output,) = [o for o in self.engine.session.get_outputs() if o.name == name]
        return tuple(sizes.get(axis, -1) if isinstance(axis, str) else axis for axis in output.shape)

    def set_tensor_address(self, name, address):
        self.addresses[name] = address
        return address % 256 == 0

    def __getattr__(self, name):
        if name == "set_device_memory" and self.engine.version >= (10, 1):
            return self._set_device_memory
        raise AttributeError(name)

    @property
    def device_memory(self):
        return self.memory

    @device_memory.setter
    def device_memory(self, address):
        self._set_device_memory(address, self.engine.activation_size)

    def _set_device_memory(self, address, size):
        assert address % 256 == 0, "activations must be aligned"
        assert size >= self.engine.activation_size, "too little memory for the activations"
        self.memory = address

    def execute_async_v3(self, handle):
        assert self.memory, "a context without memory for its activations"
        cuda, addresses, shapes = self.engine.cuda, dict(self.addresses), dict(self.shapes)
        memory = self.memory
        if self.engine.failing:
            if self.engine.failing is True:
                self.engine.log.log("ERROR", "the device is on fire")
            return False
        cuda.enqueue(handle, lambda: self._run(cuda, memory, addresses, shapes))
        if self.profiler is not None:
            assert cuda.streams[handle].recording is None, "a profiler synchronizes, which a capture forbids"
            cuda.synchronize(handle)
            for layer, ms in self.engine.layers.items():
                self.profiler.report_layer_time(layer, ms)
        return True

    def _run(self, cuda, memory, addresses, shapes):
        assert self.running.acquire(blocking=False), "two threads at once in one context"
        try:
            mark = np.frombuffer(uuid.uuid4().bytes, np.uint8)
            activations = _view(cuda, memory, (self.engine.activation_size // 16, 16), np.uint8)
            activations[:] = mark
            session = self.engine.session
            kinds = {t.name: DTYPES[t.type][1] for t in (*session.get_inputs(), *session.get_outputs())}
            inputs = {n: _view(cuda, addresses[n], shape, kinds[n]).copy() for n, shape in shapes.items()}
            names = [output.name for output in session.get_outputs()]
            arrays = WRONGNESS[self.engine.wrong](session.run(names, inputs))
            for name, array in zip(names, arrays, strict=True):
                _view(cuda, addresses[name], array.shape, kinds[name])[...] = array
            assert (activations == mark).all(), "two runs at once in one memory for activations"
        finally:
            self.running.release()


@dataclass(frozen=True)
class _Graph:
    """An ONNX file, equal to its copies: tests copy bundles and open their graphs again and again."""

    stamps: tuple
    path: str = field(compare=False)


_references = {}


def _find_graph(path):
    files = ((file.name, file.stat()) for file in sorted(Path(path).parent.iterdir()))
    stamps = ((name, stat.st_size, stat.st_mtime_ns) for name, stat in files)
    return _Graph((Path(path).name, *stamps), str(path))


@lru_cache(maxsize=16)
def _open_session(graph):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(graph.path, options, providers=["CPUExecutionProvider"])


def open_reference(bundle):
    """Return ONNX Runtime's backend of a bundle, which its copies share: opening its graphs takes longest."""
    graph = _find_graph(bundle.graph_path("classify"))
    if graph not in _references:
        _references[graph] = OnnxRuntimeBackend(bundle, threads=1)
    return _references[graph]


class _Engine:
    def __init__(self, cuda, log, plan, version):
        values = json.loads(plan)
        self.version = tuple(map(int, version.split(".")[:2]))
        self.cuda, self.log, self.max_sizes, self.failing = cuda, log, values["max_sizes"], False
        self.session = _open_session(_find_graph(values["path"]))
        self._io = [*self.session.get_inputs(), *self.session.get_outputs()]
        self.activation_size = ACTIVATIONS * len(self._io)
        self.contexts, self.wrong = 0, values["wrong"]
        self.layers = {"conv + relu": 0.5, "gemm": 0.25}

    def __getattr__(self, name):
        if name == "device_memory_size_v2" and self.version >= (10, 1):
            return self.activation_size
        if name == "device_memory_size" and self.version < (11, 0):
            return self.activation_size
        if name == "create_execution_context_without_device_memory" and self.version < (11, 0):
            return self._create_context
        raise AttributeError(name)

    @property
    def num_io_tensors(self):
        return len(self._io)

    def get_tensor_name(self, i):
        return self._io[i].name

    def get_tensor_mode(self, name):
        return "INPUT" if name in {t.name for t in self.session.get_inputs()} else "OUTPUT"

    def get_tensor_dtype(self, name):
        return SimpleNamespace(name=next(DTYPES[t.type][0] for t in self._io if t.name == name))

    def get_tensor_profile_shape(self, name, profile):
        assert profile == 0
        shape = next(t.shape for t in self.session.get_inputs() if t.name == name)
        smallest = tuple(1 if isinstance(s, str) else s for s in shape)
        largest = tuple(self.max_sizes[s] if isinstance(s, str) else s for s in shape)
        return smallest, smallest, largest

    def create_engine_inspector(self):
        layers = [{"Name": "conv + relu", "LayerType": "CaskConvolution"}, "gemm"]
        return SimpleNamespace(get_engine_information=lambda form: json.dumps({"Layers": layers}))

    def create_execution_context(self, strategy):
        assert strategy == "USER_MANAGED"
        return self._create_context()

    def _create_context(self):
        self.cuda.check()
        if self.cuda.full:
            self.log.log("ERROR", "out of memory")
            return None
        self.contexts += 1
        return _Context(self)


def fake_trt(cuda, version="10.3.0"):
    """Return a module in TensorRT's place; `engines` are the deserialized ones.

    With `driverless` it finds no usable driver.
    """
    engines = []

    class ILogger:
        ERROR, INTERNAL_ERROR = "ERROR", "INTERNAL_ERROR"

    class IProfiler:
        pass

    class Runtime:
        def __init__(self, log):
            if module.driverless:
                raise TypeError("pybind11::init(): factory function returned nullptr")
            self.log, self.DLA_core = log, -1

        def deserialize_cuda_engine(self, plan):
            cuda.check()
            try:
                engines.append(_Engine(cuda, self.log, plan, version))
                engines[-1].dla_core = self.DLA_core
            except ValueError:
                self.log.log("ERROR", "Magic tag does not match")
                return None
            return engines[-1]

    module = SimpleNamespace(
        __name__="tensorrt",
        __version__=version,
        ILogger=ILogger,
        IProfiler=IProfiler,
        LayerInformationFormat=SimpleNamespace(JSON="JSON"),
        Runtime=Runtime,
        TensorIOMode=SimpleNamespace(INPUT="INPUT", OUTPUT="OUTPUT"),
        engines=engines,
        driverless=False,
    )
    if int(version.split(".")[0]) >= 10:
        module.ExecutionContextAllocationStrategy = SimpleNamespace(USER_MANAGED="USER_MANAGED")
    return module


def make_plan(path, max_sizes, wrong=""):
    """Return a plan of an ONNX file for sizes up to `max_sizes`, wrong in one of the ways of `WRONGNESS`."""
    values = {"path": str(path), "max_sizes": max_sizes, "wrong": wrong}
    return json.dumps(values).encode()


def _view(cuda, address, shape, dtype):
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    data = (ctypes.c_uint8 * size).from_address(cuda.check_address(address, size))
    return np.ctypeslib.as_array(data).view(dtype).reshape(shape)
