"""Calls of the builder to versions of TensorRT that cannot be installed here, on a stand-in."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import onnx
import pytest

from hmdrn.cli.engine_check import describe_engine_check
from hmdrn_export.precision.rules import list_values
from hmdrn_export.tensorrt import engines
from hmdrn_export.tensorrt.builder import BuildOptions, build_engine
from hmdrn_export.tensorrt.engines import build_engines
from hmdrn_export.tensorrt.self_check import EngineCheck
from hmdrn_export.tensorrt.sources import list_float32_nodes
from hmdrn_runtime.backends.cuda_driver import Gpu
from hmdrn_runtime.bundle.bundle import open_bundle
from hmdrn_runtime.errors import BackendError, GraphRefusedError

ORIN = Gpu("Orin (nvgpu)", "8.7")


class Layer:
    """A layer as the parser makes it of a node: float32 where the graph is, in no precision yet."""

    def __init__(self, name, inputs, outputs):
        self.name, self._inputs, self._outputs = name, inputs, outputs
        self.num_inputs, self.num_outputs = len(inputs), len(outputs)
        self.precision, self.output_types = None, {}

    def get_input(self, i):
        return self._inputs[i]

    def get_output(self, i):
        return self._outputs[i]

    def set_output_type(self, i, kind):
        self.output_types[i] = kind


class TensorRT:
    """As much of TensorRT 10.3 as the builder meets, for graphs of ours.

    It refuses timings of another device, as TensorRT does; without any, it returns its own. It compiles no
    graph whose network was created with the flags `refused`.
    """

    __name__, __version__ = "tensorrt", "10.3.0"
    float32 = "float32"
    NetworkDefinitionCreationFlag = SimpleNamespace(EXPLICIT_BATCH=0, STRONGLY_TYPED=1)
    DeviceType = SimpleNamespace(DLA="DLA", GPU="GPU")
    MemoryPoolType = SimpleNamespace(WORKSPACE="WORKSPACE")
    ProfilingVerbosity = SimpleNamespace(DETAILED="DETAILED")
    BuilderFlag = SimpleNamespace(
        **{n: n for n in ("TF32", "FP16", "INT8", "OBEY_PRECISION_CONSTRAINTS", "GPU_FALLBACK")}
    )

    class ILogger:
        ERROR, INTERNAL_ERROR = "ERROR", "INTERNAL_ERROR"

    class IProgressMonitor:
        pass

    def __init__(self, timings_of="orin", cores=0, renamed=False, refused=()):
        self.timings_of, self.cores, self.renamed, self.refused = timings_of, cores, renamed, refused
        self.configs, self.layers, self.profiles, self.built = [], [], [], []

    def Builder(self, log):
        def compile_network(network, config):
            self.built.append((network.flags, network.variant, frozenset(config.flags)))
            if network.flags in self.refused:
                log.log(self.ILogger.ERROR, "no implementation for node gram.mid/MatMul")
                return None
            return b"plan"

        return SimpleNamespace(
            num_DLA_cores=self.cores,
            create_network=lambda flags: SimpleNamespace(num_layers=0, get_layer=None, flags=flags),
            create_builder_config=self._config,
            create_optimization_profile=self._profile,
            build_serialized_network=compile_network,
        )

    def OnnxParser(self, network, log):
        def parse(path):
            self.layers = self._layers(onnx.load(path, load_external_data=False))
            network.variant = Path(path).parent.name
            network.num_layers, network.get_layer = len(self.layers), self.layers.__getitem__
            return True

        return SimpleNamespace(parse_from_file=parse)

    def _layers(self, model):
        real = set(list_values(model))

        def tensors(names):
            kinds = ("float32" if name in real else "int64" for name in names)
            return [
                SimpleNamespace(name=n, dtype=SimpleNamespace(name=k))
                for n, k in zip(names, kinds, strict=True)
            ]

        layers = []
        for node in model.graph.node:
            layers.append(Layer(node.name, tensors(node.input), tensors(node.output)))
            if node.op_type == "Softmax":
                moved = [f"{node.output[0]}.moved"]
                real.add(moved[0])
                layers.append(
                    Layer(f"ONNXTRT_ShapeShuffle_{len(layers)}", tensors(node.output), tensors(moved))
                )
        for layer in layers:
            for tensor in (*layer._inputs, *layer._outputs):
                tensor.dtype = self.float32 if tensor.dtype.name == "float32" else tensor.dtype
        if self.renamed:
            for layer in layers:
                layer.name = f"layer of {layer.name}"
        return layers

    def _profile(self):
        self.profiles.append({})
        return SimpleNamespace(set_shape=lambda name, *sizes: self.profiles[-1].update({name: sizes}))

    def _config(self):
        config = SimpleNamespace(flags={"TF32"}, timings=None, default_device_type="GPU", DLA_core=None)
        config.clear_flag = config.flags.discard
        config.set_flag = config.flags.add
        config.get_flag = config.flags.__contains__
        config.set_memory_pool_limit = lambda kind, size: None
        config.add_optimization_profile = lambda profile: None

        def create(blob):
            own = f"timings of {self.timings_of}"
            return SimpleNamespace(content=blob, serialize=lambda: blob or own.encode())

        def use(cache, ignore_mismatch):
            refused = cache.content and self.timings_of.encode() not in cache.content
            config.timings = None if refused else cache
            return not refused

        config.create_timing_cache, config.set_timing_cache = create, use
        config.get_timing_cache = lambda: config.timings
        self.configs.append(config)
        return config


@pytest.fixture
def half(written, tmp_path, monkeypatch):
    """A half bundle of its own, whose engines' notes go to a folder of their own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    path = tmp_path / "b.hmdrn"
    shutil.copytree(written("conv4", "ridge", "fp32").path, path)
    return open_bundle(path)


@pytest.fixture(autouse=True)
def _types_of_real_engines(monkeypatch):
    monkeypatch.setattr("hmdrn_export.tensorrt.builder._list_node_types", lambda network: {})


def by_flags(bundle):
    return BuildOptions(strongly_typed=False, float32_nodes=list_float32_nodes(bundle.manifest))


STRONG, WEAK, FLAGS = 1 << 1, 0, frozenset({"FP16", "OBEY_PRECISION_CONSTRAINTS"})


def test_strong_typing_builds_the_half_graphs_without_flags(half):
    trt = TensorRT()
    folder = build_engines(trt, half, ORIN, BuildOptions())
    # The half variant's solve is the float32 one.
    assert set(trt.built) == {(STRONG, "fp16", frozenset()), (STRONG, "fp32", frozenset())}
    assert json.loads((folder / "fingerprint.json").read_text())["options"]["strongly_typed"] is True
    assert not any(layer.precision for layer in trt.layers)


def test_graphs_that_are_refused_strongly_typed_are_built_by_flags(half):
    trt = TensorRT(refused={STRONG})
    folder = build_engines(trt, half, ORIN, BuildOptions())
    refused, *built = trt.built
    assert refused == (STRONG, "fp16", frozenset())
    assert set(built) == {(WEAK, "fp32", FLAGS), (WEAK, "fp32", frozenset())}  # the solve has no half
    fingerprint = json.loads((folder / "fingerprint.json").read_text())
    assert fingerprint["options"]["strongly_typed"] is False
    assert (fingerprint["variant"], fingerprint["precision"]) == ("fp32", "fp16")


def test_graphs_that_are_refused_in_every_way_end_with_each_reason(half):
    trt = TensorRT(refused={STRONG, WEAK})
    with pytest.raises(BackendError, match=r"tensorrt 10.3.0 builds no right engines of ") as raised:
        build_engines(trt, half, ORIN, BuildOptions())
    text = str(raised.value)
    for start in ("(fp16: strongly typed: ", "; weakly typed: ", "; fp32: strongly typed: "):
        assert f"{start}tensorrt could not compile" in text
    assert text.count("no implementation for node gram.mid/MatMul") == 4
    assert [flags for flags, *_ in trt.built] == [STRONG, WEAK] * 2
    assert not (half.path / "engines").exists()  # nothing was compared, so nothing is recorded


def test_a_refusal_is_in_the_report_of_the_engines_that_are_kept(half, monkeypatch):
    right = EngineCheck(0.0, 0.0, 0.0, 100.0, accuracy=80.0, reference_accuracy=80.0)
    monkeypatch.setattr(engines, "check_engines", lambda *_: right)
    trt = TensorRT(refused={STRONG})
    folder = build_engines(trt, half, ORIN, BuildOptions(), open_backend=lambda *_: None)
    check = json.loads((folder / "fingerprint.json").read_text())["check"]
    reason = check["rejected"]["fp16"]
    assert reason.startswith("strongly typed: tensorrt could not compile ")
    assert f"not kept: fp16 engines, {reason}" in describe_engine_check(check)


def test_a_compiler_that_does_not_start_is_not_asked_again(half):
    trt = TensorRT()

    def fail(log):
        trt.built.append("started")
        raise TypeError("pybind11::init(): factory function returned nullptr")

    trt.Builder = fail
    with pytest.raises(BackendError, match="hmdrn doctor"):
        build_engines(trt, half, ORIN, BuildOptions())
    assert trt.built == ["started"]


def test_without_strong_typing_the_float32_nodes_are_pinned(half):
    trt = TensorRT()
    build_engine(trt, half.graph_path("enroll"), {}, by_flags(half))
    pinned = {layer.name for layer in trt.layers if layer.precision == trt.float32}
    assert {"gram.mid/MatMul", "gram.mid/GatherElements", "hmdrn/Concat_3"} <= pinned
    assert any(name.startswith("ONNXTRT_ShapeShuffle") for name in pinned)
    assert not any(name.startswith("backbone") for name in pinned)
    assert trt.configs[0].flags == {"FP16", "OBEY_PRECISION_CONSTRAINTS"}
    for layer in trt.layers:
        if layer.precision is not None:
            real = {i for i in range(layer.num_outputs) if layer.get_output(i).dtype == trt.float32}
            assert layer.output_types == dict.fromkeys(real, trt.float32)


def test_names_that_the_parser_does_not_know_are_an_error(half):
    with pytest.raises(GraphRefusedError, match=r"knows 0 of \d+ layers that are to stay float32"):
        build_engine(TensorRT(renamed=True), half.graph_path("enroll"), {}, by_flags(half))


def test_timings_of_this_device_and_user_are_used_again_and_no_others(half):
    def built(trt):
        return build_engines(trt, half, ORIN, BuildOptions())

    folder = built(TensorRT())
    assert (folder / "timing.cache").read_bytes() == b"timings of orin"
    again = TensorRT()
    built(again)
    assert again.configs[0].timings.content == b"timings of orin"
    for spoilt in ("changed", "foreign"):
        path = folder / ("timing.cache" if spoilt == "changed" else "fingerprint.json")
        content = path.read_bytes()
        path.write_bytes(b"timings of orin, changed" if spoilt == "changed" else content + b" ")
        anew = TensorRT()
        built(anew)
        assert anew.configs[0].timings.content == b"", spoilt


def test_timings_that_tensorrt_refuses_are_begun_anew(half):
    built = build_engine(
        TensorRT("another"), half.graph_path("encode"), {}, BuildOptions(timing_cache=b"timings of orin")
    )
    assert built.timing_cache == b"timings of another"


def test_an_accelerator_gets_half_graphs_of_one_photo_and_not_the_solve(half):
    trt = TensorRT(cores=2)
    folder = build_engines(trt, half, ORIN, BuildOptions(dla_core=1))
    graphs = list(half.manifest.variants["fp32"])
    for name, config, sizes in zip(graphs, trt.configs, trt.profiles, strict=True):
        on_accelerator = name != "solve"
        assert config.default_device_type == ("DLA" if on_accelerator else "GPU")
        assert config.DLA_core == (1 if on_accelerator else None)
        if "images" in sizes:
            assert {size[0] for size in sizes["images"]} == {1}
    assert json.loads((folder / "fingerprint.json").read_text())["options"]["dla_core"] == 1


def test_an_accelerator_that_is_not_there_is_refused(half):
    with pytest.raises(BackendError, match=r"no deep-learning accelerator 0: tensorrt 10.3.0 offers 0"):
        build_engines(TensorRT(), half, ORIN, BuildOptions(dla_core=0))


def test_an_accelerator_is_refused_graphs_that_it_cannot_compute(exported):
    with pytest.raises(BackendError, match=r"compute in half, and this bundle's engines are fp32"):
        build_engines(
            TensorRT(cores=1), open_bundle(exported("conv4", "ridge")), ORIN, BuildOptions(dla_core=0)
        )
