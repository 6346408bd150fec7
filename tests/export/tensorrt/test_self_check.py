"""New engines are compared with ONNX Runtime, and wrong ones are never kept."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from fake_tensorrt import FakeCuda, fake_trt, make_plan, open_reference
from PIL import Image

from hmdrn_export.tensorrt import engines, self_check
from hmdrn_export.tensorrt.builder import BuildOptions
from hmdrn_export.tensorrt.engines import build_engines
from hmdrn_export.tensorrt.samples import draw_samples, read_samples
from hmdrn_export.tensorrt.self_check import check_engines, compare_with_float32, find_excess
from hmdrn_runtime.backends.cuda_driver import Gpu
from hmdrn_runtime.backends.onnxruntime import OnnxRuntimeBackend
from hmdrn_runtime.backends.tensorrt.backend import TensorRTBackend
from hmdrn_runtime.backends.tensorrt.engine_files import find_engines
from hmdrn_runtime.backends.tensorrt.fingerprint import detect_platform
from hmdrn_runtime.bundle.bundle import open_bundle
from hmdrn_runtime.errors import BackendError, DatasetError
from hmdrn_runtime.images.preprocessing import preprocess
from hmdrn_runtime.specimens.drawing import draw_specimens

ORIN = Gpu("Orin (nvgpu)", "8.7")
FIGURES = {
    "scaled": r"outputs differ by 0\.05",
    "nan": "outputs differ by nan",
    # Conv-4's masked Gram matrices may lie nearer to the others than half precision tells apart.
    "swapped": r"(outputs|distances) differ by \d",
}


@pytest.fixture(autouse=True)
def shared_reference(monkeypatch):
    monkeypatch.setattr(self_check, "OnnxRuntimeBackend", open_reference)


@pytest.fixture
def bundle(written, tmp_path, monkeypatch):
    """A bundle of its own at float32, which also has half graphs."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    path = tmp_path / "b.hmdrn"
    shutil.copytree(written("conv4", "ridge", "fp32").path, path)
    return open_bundle(path)


@pytest.fixture
def build(bundle, monkeypatch):
    """Build engines of the stand-in, wrong in a way by the graphs' variant: build.run(fp16="scaled").

    TensorRT 11 has strong typing alone, so each variant is built in one way.
    """
    cuda = FakeCuda()
    # Wrong engines are wrong on few photos as well.
    for name, count in (("SPECIES", 2), ("SHOTS", 1), ("QUERIES", 2)):
        monkeypatch.setattr(self_check, name, count)

    def run(version="11.4.0", **wrong):
        trt = fake_trt(cuda, version)

        def compile_graph(trt, path, shapes, options, report):
            plan = make_plan(path, {"batch": 8, "classes": 20}, wrong=wrong.get(path.parent.name, ""))
            return SimpleNamespace(plan=plan, timing_cache=b"")

        monkeypatch.setattr(engines, "build_engine", compile_graph)
        return build_engines(
            trt,
            bundle,
            ORIN,
            BuildOptions(),
            open_backend=lambda opened, files: TensorRTBackend(opened, files, trt, cuda),
        )

    def find(version="11.4.0"):
        return find_engines(bundle, detect_platform(fake_trt(cuda, version), ORIN))

    return SimpleNamespace(run=run, cuda=cuda, find=find)


def test_onnx_runtime_agrees_with_itself(exported):
    bundle = open_bundle(exported("conv4", "ridge"))
    check = check_engines(bundle, OnnxRuntimeBackend(bundle, threads=1), "fp32")
    assert (check.output_error, check.mask_bits_differing) == (0.0, 0.0)
    assert check.distance_error < 1e-5  # one photo alone, and more classes, are added up in another order
    assert check.top1_agreement == 100.0


class FlipsABit(OnnxRuntimeBackend):
    """Every photo has one mask bit that differs, as with INT8, and features `scale` times as large."""

    scale = 1.0

    def run(self, graph, inputs):
        outputs = {name: array.copy() for name, array in super().run(graph, inputs).items()}
        for array in outputs.values():
            if array.dtype == bool:
                array.reshape(len(array), -1)[:, 0] ^= True
            elif "images" in inputs:
                array *= self.scale
        return outputs


def test_photos_that_all_have_a_flipped_bit_are_judged_by_distances(exported):
    bundle = open_bundle(exported("conv4", "ridge"))
    backend, samples = FlipsABit(bundle, threads=1), draw_samples(bundle.manifest.input.size, 2, 1, 1)
    check = compare_with_float32(bundle, backend, samples, 0.4)
    assert (check.output_error, check.top1_agreement) == (None, 100.0)
    assert check.distance_error < 1e-5
    assert find_excess(check, "int8") == ""
    backend.scale = 1.6
    assert find_excess(compare_with_float32(bundle, backend, samples, 0.4), "int8").startswith("distances")
    backend.scale = np.nan
    excess = find_excess(compare_with_float32(bundle, backend, samples, 0.4), "int8")
    assert excess.startswith("outputs differ by nan")


class WrongWhenCaptured(OnnxRuntimeBackend):
    """Right for batches, and for the first two runs of a single photo: the captured graph of one is wrong."""

    wrong = ""

    def __init__(self, bundle, threads):
        super().__init__(bundle, threads=threads)
        self.frames = Counter()

    def run(self, graph, inputs):
        outputs = super().run(graph, inputs)
        single = len(inputs.get("images", ())) == 1
        self.frames[graph] += single
        if graph != self.wrong or not single or self.frames[graph] < 3:
            return outputs
        return {name: array * 2 if array.dtype == np.float32 else array for name, array in outputs.items()}


@pytest.mark.parametrize(
    ("graph", "figure"), [("encode", "outputs differ by 1 "), ("classify", r"distances differ by 1(\.\d)? ")]
)
def test_frames_are_checked_as_a_captured_graph_gives_them(exported, graph, figure):
    bundle = open_bundle(exported("conv4", "ridge"))
    backend, samples = (
        WrongWhenCaptured(bundle, threads=1),
        draw_samples(bundle.manifest.input.size, 2, 1, 1),
    )
    assert find_excess(compare_with_float32(bundle, backend, samples, 0.4), "fp32") == ""
    backend.frames.clear()
    backend.wrong = graph
    assert re.match(figure, find_excess(compare_with_float32(bundle, backend, samples, 0.4), "fp32"))


class WrongForMany(OnnxRuntimeBackend):
    """Gives no numbers for more species than the smallest size that they are padded to."""

    def run(self, graph, inputs):
        outputs = super().run(graph, inputs)
        if graph != "classify" or inputs["operator"].shape[0] <= 8:
            return outputs
        return {name: np.full_like(array, np.nan) for name, array in outputs.items()}


def test_more_species_than_one_padded_size_are_checked(exported):
    bundle = open_bundle(exported("conv4", "ridge"))
    samples = draw_samples(bundle.manifest.input.size, 2, 1, 1)
    check = compare_with_float32(bundle, WrongForMany(bundle, threads=1), samples, 0.4)
    assert find_excess(check, "fp32").startswith("distances differ by nan")


class WrongLogits(OnnxRuntimeBackend):
    """Right distances, with logits that give the same answers."""

    def run(self, graph, inputs):
        outputs = super().run(graph, inputs)
        return {name: array * 1.05 if name == "logits" else array for name, array in outputs.items()}


def test_logits_are_checked_beside_the_distances(exported):
    bundle = open_bundle(exported("conv4", "ridge"))
    samples = draw_samples(bundle.manifest.input.size, 2, 1, 1)
    check = compare_with_float32(bundle, WrongLogits(bundle, threads=1), samples, 0.4)
    assert find_excess(check, "fp32").startswith("distances differ by 0.05")


def test_right_engines_are_kept_with_the_figures_of_their_check(build, bundle):
    folder = build.run()
    fingerprint = build.find().fingerprint
    assert fingerprint.precision == "fp16"
    assert fingerprint.check["rejected"] == {}
    assert 0 < fingerprint.check["distance_error"] < 0.02
    assert json.loads((folder / "fingerprint.json").read_text())["check"] == fingerprint.check


@pytest.mark.slow
@pytest.mark.parametrize("wrong", FIGURES)
def test_wrong_half_engines_give_way_to_float32_ones_with_the_reason(build, bundle, wrong):
    build.run(fp16=wrong)
    fingerprint = build.find().fingerprint
    assert fingerprint.precision == "fp32"
    with pytest.raises(BackendError, match=FIGURES[wrong]):
        raise BackendError(fingerprint.check["rejected"]["fp16"])


def test_wrong_strongly_typed_engines_give_way_to_those_by_flags(build):
    build.run("10.3.0", fp16="nan")  # by flags they come from the float32 graphs
    fingerprint = build.find("10.3.0").fingerprint
    assert (fingerprint.precision, fingerprint.variant) == ("fp16", "fp32")
    reason = "strongly typed: outputs differ by nan (at most 0.02)"
    assert fingerprint.check["rejected"] == {"fp16": reason}


@pytest.mark.slow
@pytest.mark.parametrize("wrong", FIGURES)
def test_where_all_engines_are_wrong_none_is_kept(build, bundle, wrong):
    with pytest.raises(
        BackendError, match=f"tensorrt 11.4.0 builds no right engines .*fp32: {FIGURES[wrong]}"
    ):
        build.run(fp16=wrong, fp32=wrong)
    assert [path.name for path in (bundle.path / "engines").rglob("*.*")] == ["refusal.json"]
    with pytest.raises(BackendError, match="the bundle has no engines"):
        build.find()


@pytest.fixture
def photographs(tmp_path):
    """Three folders of photographs, one of which has too few."""
    for name, count in (("a", 4), ("b", 4), ("c", 2)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i, pixels in enumerate(draw_specimens([ord(name)], count, size=90, seed=3)[0]):
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{i}.png")
    (tmp_path / "photos" / "a" / "1.png").write_bytes(b"not a photo")
    return tmp_path / "photos"


def test_photographs_are_read_up_to_a_number_without_those_that_fail(photographs, bundle):
    preprocessing = bundle.manifest.input.to_preprocessing()
    samples = read_samples(photographs, preprocessing, 2, 5)
    assert (samples.classes, samples.shots, samples.answers.tolist()) == (2, 2, [0, 1, 1])
    assert np.array_equal(samples.support[1], preprocess(Image.open(photographs / "a/2.png"), preprocessing))
    with pytest.raises(DatasetError, match="has 1 classes of 4 photos or more"):
        read_samples(photographs, preprocessing, 3, 5)


def test_engines_are_compared_on_photographs_as_well(photographs, bundle):
    samples = read_samples(photographs, bundle.manifest.input.to_preprocessing(), 2, 2)
    check = check_engines(bundle, OnnxRuntimeBackend(bundle, threads=1), "fp32", samples)
    assert check.photographs is not None
    assert (check.photographs.queries, check.photographs.top1_agreement) == (3, 100.0)
    assert check.photographs.accuracy == check.photographs.reference_accuracy


@pytest.mark.slow
def test_engines_wrong_on_photographs_alone_are_refused(photographs, bundle):
    samples = read_samples(photographs, bundle.manifest.input.to_preprocessing(), 2, 2)

    class WrongForThree(OnnxRuntimeBackend):
        def run(self, graph, inputs):
            outputs = super().run(graph, inputs)
            scale = 1.05 if len(inputs.get("images", ())) == len(samples.queries) else 1
            return {
                name: array * np.float32(scale) if array.dtype == np.float32 else array
                for name, array in outputs.items()
            }

    with pytest.raises(BackendError, match=r"^on photographs outputs differ by 0\.05"):
        check_engines(bundle, WrongForThree(bundle, threads=1), "fp32", samples)


def test_a_full_device_ends_the_build_without_engines_or_a_record(build, bundle):
    build.cuda.full = True
    with pytest.raises(BackendError, match="could not make an execution context"):
        build.run()
    assert not list((bundle.path / "engines").rglob("*.*"))
