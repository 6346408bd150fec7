"""Checks of the TensorRT backend, run by test_over_driver over the stand-in driver with the real package.

Engines are ONNX Runtime's sessions, which the stand-in calls as kernels.
"""

from __future__ import annotations

import gc
import hashlib
import threading

import numpy as np
import pytest
from fake_tensorrt import fake_trt, make_plan
from stub_driver import NOTHING, StubDriver, open_checked_cuda

from hmdrn.loading import resolve_bundle
from hmdrn_runtime.backends.selection import open_backend
from hmdrn_runtime.backends.tensorrt.backend import TensorRTBackend
from hmdrn_runtime.backends.tensorrt.engine_files import EngineFiles
from hmdrn_runtime.backends.tensorrt.fingerprint import Fingerprint, Platform
from hmdrn_runtime.bundle.bundle import open_bundle
from hmdrn_runtime.errors import BackendError
from hmdrn_runtime.recognizer import Recognizer
from hmdrn_runtime.specimens.drawing import draw_specimens

OUT_OF_MEMORY = 2
ILLEGAL_ADDRESS = 700
MAX_SIZES = {"batch": 2, "classes": 3}


@pytest.fixture(scope="module")
def bundle():
    return open_bundle(resolve_bundle("default"))


@pytest.fixture(scope="module")
def reference(bundle):
    return open_backend(bundle, "onnxruntime", threads=1)


@pytest.fixture(scope="module")
def pixels(bundle):
    side = bundle.manifest.input.size
    return draw_specimens([0, 1, 2], 2, size=side).reshape(-1, side, side, 3)


@pytest.fixture(scope="module")
def operator(bundle):
    return np.random.default_rng(0).random((8, bundle.manifest.network.packed), dtype=np.float32)


@pytest.fixture
def driver():
    return StubDriver()


@pytest.fixture
def backend(bundle, driver, tmp_path):
    """The backend; nothing of it but the primary context is left when it is closed."""
    plans = {}
    for name in bundle.manifest.variants["fp32"]:
        plan = make_plan(bundle.graph_path(name), MAX_SIZES)
        (tmp_path / f"{name}.plan").write_bytes(plan)
        plans[name] = hashlib.sha256(plan).hexdigest()
    here = Platform("stand-in", "0.0", "tensorrt 10.3.0", None)
    options = {"tf32": False, "profile_sharing": False, "dla_core": None}
    files = EngineFiles(tmp_path, Fingerprint(here, "fp32", "fp32", {}, options, plans))
    backend = TensorRTBackend(bundle, files, fake_trt(driver), open_checked_cuda())
    yield backend
    driver.mend()
    backend.close()
    gc.collect()
    assert driver.failures == []
    assert (driver.remaining(), driver.abandoned()) == (NOTHING, 0)
    assert driver.count("references") >= 1


def assert_equal(outputs, expected):
    assert outputs.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(outputs[name], array, rtol=1e-5, atol=1e-5 * np.abs(array).max())


@pytest.mark.parametrize("graph", ["enroll", "encode", "explain"])
def test_every_graph_gives_what_onnx_runtime_gives(backend, reference, pixels, graph):
    assert_equal(backend.run(graph, {"images": pixels}), reference.run(graph, {"images": pixels}))


@pytest.mark.parametrize(("photos", "classes"), [(1, 1), (2, 3), (5, 8)])
def test_inputs_beyond_an_engines_maximum_run_in_blocks(
    backend, reference, pixels, operator, photos, classes
):
    inputs = {"images": pixels[:photos], "operator": operator[:classes]}
    expected = reference.run("classify", inputs)
    placed = {**inputs, "operator": backend.place(inputs["operator"])}
    for _ in range(3):
        assert_equal(backend.run("classify", inputs), expected)
        assert_equal(backend.run("classify", placed), expected)


def test_frames_are_launched_as_one_graph_if_the_package_captures(
    backend, driver, reference, pixels, operator
):
    placed = backend.place(operator[:3])
    before = driver.count("launches")
    for i in range(6):
        assert_equal(
            backend.run("classify", {"images": pixels[i : i + 1], "operator": placed}),
            reference.run("classify", {"images": pixels[i : i + 1], "operator": operator[:3]}),
        )
    captures = backend._cuda.captures_graphs
    assert driver.count("launches") - before == (5 if captures else 0)
    assert driver.count("executables") == (1 if captures else 0)


def test_threads_with_galleries_of_their_own_run_at_once(backend, reference, pixels, operator):
    failures = []

    def work(number):
        try:
            placed = backend.place(operator[number : number + 3])
            for i in range(4):
                images = pixels[i : i + 2]
                assert_equal(
                    backend.run("classify", {"images": images, "operator": placed}),
                    reference.run("classify", {"images": images, "operator": operator[number : number + 3]}),
                )
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_device_without_memory_is_reported_and_serves_again(backend, driver, reference, pixels, operator):
    placed = backend.place(operator[:3])
    driver.fail("cuMemAlloc_v2", OUT_OF_MEMORY)
    with pytest.raises(BackendError, match=r"could not allocate .* on the device.*out of memory"):
        backend.place(operator)
    driver.mend()
    inputs = {"images": pixels[:1], "operator": operator[:3]}
    assert_equal(backend.run("classify", {**inputs, "operator": placed}), reference.run("classify", inputs))


def test_memory_that_is_full_is_enough_for_a_gallery_in_place_of_idle_contexts(
    backend, driver, pixels, operator
):
    placed = [backend.place(operator[n : n + 3]) for n in range(3)]
    for resident in placed:
        backend.run("classify", {"images": pixels[:1], "operator": resident})
    assert driver.count("device") > 4
    driver.limit_memory(0)  # no more than is in use
    placed.append(backend.place(operator[5:8]))
    assert driver.count("device") == len(placed)


@pytest.mark.parametrize(
    ("function", "runs_before"),
    [
        ("cuCtxPushCurrent_v2", 0),
        ("cuMemAlloc_v2", 0),
        ("cuMemcpyHtoDAsync_v2", 0),
        ("cuMemcpyDtoHAsync_v2", 0),
        ("cuStreamSynchronize", 0),
        ("cuStreamSynchronize", 3),
        ("cuGraphLaunch", 3),
    ],
)
def test_a_failed_call_is_an_error_and_the_next_run_works(
    backend, driver, reference, pixels, operator, function, runs_before
):
    if function == "cuGraphLaunch" and not backend._cuda.captures_graphs:
        pytest.skip(str(backend._cuda))
    inputs = {"images": pixels[:1], "operator": operator[:3]}
    expected = reference.run("classify", inputs)
    for _ in range(runs_before):
        backend.run("classify", inputs)
    driver.fail(function, ILLEGAL_ADDRESS)
    with pytest.raises(BackendError, match="illegal"):
        backend.run("classify", inputs)
    driver.mend()
    for _ in range(3):
        assert_equal(backend.run("classify", inputs), expected)
    if function == "cuStreamSynchronize":
        driver.forgive_abandoned()


@pytest.mark.parametrize("function", ["cuStreamBeginCapture_v2", "cuGraphInstantiateWithFlags"])
def test_where_a_capture_fails_frames_run_step_by_step(
    backend, driver, reference, pixels, operator, function
):
    inputs = {"images": pixels[:1], "operator": operator[:3]}
    expected = reference.run("classify", inputs)
    driver.fail(function, ILLEGAL_ADDRESS)
    for _ in range(3):
        assert_equal(backend.run("classify", inputs), expected)


def test_a_recognizer_names_species_as_on_the_cpu(backend, bundle, reference, pixels):
    answers = []
    for executor in (backend, reference):
        birds = Recognizer(bundle, executor)
        for s in range(3):
            birds.enroll(f"species {s}", [pixels[2 * s]])
        answers.append([birds.classify(image) for image in pixels])
    for ours, expected in zip(*answers, strict=True):
        assert ours.label == expected.label
        assert ours.probability == pytest.approx(expected.probability, abs=1e-4)
