"""A stand-in for the hardware alone: device memory that is the host's, and engines that run by ONNX Runtime.

A plan is the path of an ONNX file and the sizes that it takes. What is given to a stream is done when the
stream is waited for, not before, as on a device. The rules of TensorRT's and CUDA's that the backend must
keep are checked.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import threading
import weakref
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import onnxruntime as ort

from hmdrn_runtime.backends.tensorrt.cuda.base import Cuda
from hmdrn_runtime.errors import BackendError

DTYPES = {
    "tensor(float)": ("FLOAT", np.float32),
    "tensor(uint8)": ("UINT8", np.uint8),
    "tensor(bool)": ("BOOL", np.bool_),
}


class FakeCuda(Cuda):
    """`capturing` says whether streams can be captured; `memory` is what is in use, in bytes by address.

    Once it is `full` there is no memory for another execution context.
    """

    def __init__(self, capturing=True):
        super().__init__()
        self.capturing, self.memory, self.pinned, self.full = capturing, {}, {}, False
        self.streams, self.graphs, self.launches, self.captures = {}, set(), 0, 0
        self.recording = threading.local()
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

    def outside(self):
        """What a capture of this thread does not allow, which it then spoils, as a call of CUDA's does."""
        self.check()
        if getattr(self.recording, "captures", None):
            self.recording.captures[-1] = "spoiled"
            raise BackendError("operation not permitted when stream is capturing")

    def _allocate(self, size, kind, skew=0):
        self.outside()
        # Filled with what is not 0: memory that is read before it is written shows.
        data = np.full(size + 512, 0xCD, np.uint8)
        address = -(-data.ctypes.data // 256) * 256 + skew
        self._held[address], kind[address] = data, size
        return address

    def allocate(self, size):
        return self._allocate(size, self.memory)

    def free(self, address):
        self.outside()
        del self.memory[address]
        self._held.pop(address)[:] = 0xEE

    def allocate_pinned(self, size):
        return self._allocate(size, self.pinned)

    def free_pinned(self, address):
        self.outside()
        del self.pinned[address], self._held[address]

    def create_stream(self):
        self.outside()
        number = next(self._numbers)
        self.streams[number] = SimpleNamespace(number=number, work=[], recording=None)
        return self.streams[number]

    def destroy_stream(self, stream):
        self.outside()
        assert not stream.work, "a stream ends with work undone"
        del self.streams[stream.number]

    def handle(self, stream):
        return stream.number

    def give(self, stream, work):
        self.check()
        (stream.work if stream.recording is None else stream.recording).append(work)

    def upload(self, address, host, stream):
        assert host.flags.c_contiguous
        self.give(
            stream, lambda: ctypes.memmove(self.inside(address, host.nbytes), host.ctypes.data, host.nbytes)
        )

    def download(self, host, address, stream):
        assert host.flags.c_contiguous
        self.give(
            stream, lambda: ctypes.memmove(host.ctypes.data, self.inside(address, host.nbytes), host.nbytes)
        )

    def copy(self, target, source, size, stream):
        self.give(stream, lambda: ctypes.memmove(self.inside(target, size), self.inside(source, size), size))

    def inside(self, address, size):
        """The address, which must be of memory that is in use."""
        assert any(a <= address and address + size <= a + n for a, n in self.memory.items()), "not allocated"
        return address

    def synchronize(self, stream):
        self.outside()
        work, stream.work = stream.work, []
        for step in work:
            step()

    def _capture(self, stream, work):
        if not self.capturing:
            return None
        self.captures += 1
        stream.recording, self.recording.captures = [], ["sound"]
        try:
            work()
        finally:
            recorded, stream.recording = stream.recording, None
            (state,) = self.recording.captures
            self.recording.captures = []
        if state == "spoiled":
            raise BackendError("operation failed due to a previous error during capture")
        self.graphs.add(number := next(self._numbers))
        return SimpleNamespace(number=number, work=recorded)

    def launch(self, graph, stream):
        assert graph.number in self.graphs
        self.launches += 1
        stream.work += graph.work

    def destroy_graph(self, graph):
        self.outside()
        self.graphs.remove(graph.number)


class _Context:
    def __init__(self, engine):
        self.engine, self.shapes, self.addresses, self.running = engine, {}, {}, threading.Lock()
        self.profiler = None
        # TensorRT makes the context all the same, but it has no profile to run with.
        self.has_profile = engine.shares_profile or not engine.living
        if not self.has_profile:
            engine.log.log("ERROR", "Profile 0 has been chosen by another IExecutionContext.")
        engine.living.add(self)

    def set_input_shape(self, name, shape):
        least, _, most = self.engine.get_tensor_profile_shape(name, 0)
        fits = len(shape) == len(most) and all(
            a <= s <= b for a, s, b in zip(least, shape, most, strict=True)
        )
        self.shapes[name] = tuple(shape)
        return fits and self.has_profile

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

    def execute_async_v3(self, handle):
        cuda, addresses, shapes = self.engine.cuda, dict(self.addresses), dict(self.shapes)
        if self.engine.failing:
            if self.engine.failing is True:
                self.engine.log.log("ERROR", "the device is on fire")
            return False
        cuda.give(cuda.streams[handle], lambda: self._run(cuda, addresses, shapes))
        if self.profiler is not None:
            assert cuda.streams[handle].recording is None, "a profiler waits, which a capture does not allow"
            cuda.synchronize(cuda.streams[handle])
            for layer, ms in self.engine.layers.items():
                self.profiler.report_layer_time(layer, ms)
        return True

    def _run(self, cuda, addresses, shapes):
        assert self.running.acquire(blocking=False), "two threads at once in one context"
        try:
            session = self.engine.session
            kinds = {t.name: DTYPES[t.type][1] for t in (*session.get_inputs(), *session.get_outputs())}
            inputs = {n: _view(cuda, addresses[n], shape, kinds[n]).copy() for n, shape in shapes.items()}
            names = [output.name for output in session.get_outputs()]
            for name, array in zip(names, session.run(names, inputs), strict=True):
                _view(cuda, addresses[name], array.shape, kinds[name])[...] = array
        finally:
            self.running.release()


class _Engine:
    def __init__(self, cuda, log, plan, version):
        values = json.loads(plan)
        # Before TensorRT 10 a profile is of one context at a time, unless the builder was told otherwise.
        self.shares_profile = values["sharing"] or int(version.split(".")[0]) >= 10
        self.living = weakref.WeakSet()
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.cuda, self.log, self.largest, self.failing = cuda, log, values["largest"], False
        self.session = ort.InferenceSession(values["path"], options, providers=["CPUExecutionProvider"])
        self._io = [*self.session.get_inputs(), *self.session.get_outputs()]
        self.contexts = 0
        self.layers = {"conv + relu": 0.5, "gemm": 0.25}

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
        least = tuple(1 if isinstance(s, str) else s for s in shape)
        most = tuple(self.largest[s] if isinstance(s, str) else s for s in shape)
        return least, least, most

    def create_engine_inspector(self):
        layers = [{"Name": "conv + relu", "LayerType": "CaskConvolution"}, "gemm"]
        return SimpleNamespace(get_engine_information=lambda form: json.dumps({"Layers": layers}))

    def create_execution_context(self):
        self.cuda.check()
        if self.cuda.full:
            self.log.log("ERROR", "out of memory")
            return None
        self.contexts += 1
        return _Context(self)


def fake_trt(cuda, version="10.3.0"):
    """A module in TensorRT's place; `engines` are those that were deserialised.

    With `driverless` it finds no driver that does.
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
    return module


def plan_of(path, largest, sharing=False):
    """A plan of an ONNX file for the sizes up to `largest`, whose contexts may share its profile."""
    return json.dumps({"path": str(path), "largest": largest, "sharing": sharing}).encode()


def _view(cuda, address, shape, dtype):
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    data = (ctypes.c_uint8 * size).from_address(cuda.inside(address, size))
    return np.ctypeslib.as_array(data).view(dtype).reshape(shape)


def lost(*_):
    """Stands for any call to a device that is gone."""
    raise BackendError("CUDA could not do it: device lost")
