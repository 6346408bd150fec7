"""Checks of the TensorRT backend, run by test_over_driver over the stand-in driver with the real package."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from backend_over_driver import ILLEGAL_ADDRESS, assert_equal
from forks import fork

from hmdrn_runtime.errors import BackendError
from hmdrn_runtime.recognizer import Recognizer

OUT_OF_MEMORY = 2


@pytest.mark.parametrize("graph", ["enroll", "encode", "explain"])
def test_every_graph_gives_what_onnx_runtime_gives(backend, reference, pixels, graph):
    assert_equal(backend.run(graph, {"images": pixels}), reference.run(graph, {"images": pixels}))


@pytest.mark.parametrize(("photos", "classes"), [(1, 1), (2, 3), (3, 8)])
def test_inputs_beyond_an_engines_maximum_run_in_blocks(
    backend, reference, pixels, operator, photos, classes
):
    inputs = {"images": pixels[:photos], "operator": operator[:classes]}
    expected = reference.run("classify", inputs)
    placed = {**inputs, "operator": backend.place(inputs["operator"])}
    for _ in range(3):
        assert_equal(backend.run("classify", inputs), expected)
        assert_equal(backend.run("classify", placed), expected)


def test_outputs_of_one_call_are_not_touched_by_the_next(backend, pixels):
    outputs = [backend.run("encode", {"images": pixels[:1]})["query_gram"] for _ in range(3)]
    copies = [array.copy() for array in outputs]
    backend.run("encode", {"images": 255 - pixels[:1]})
    np.testing.assert_array_equal(outputs, copies)


def test_the_memory_of_a_gallery_is_given_back_with_it(backend, driver, pixels, operator):
    placed = backend.place(operator)
    backend.run("classify", {"images": pixels[:1], "operator": placed})
    before = driver.count("device")
    del placed
    gc.collect()
    assert driver.count("device") == before - 1


def test_a_device_without_memory_is_reported_and_serves_again(backend, driver, reference, pixels, operator):
    placed = backend.place(operator[:3])
    driver.fail("cuMemAlloc_v2", OUT_OF_MEMORY)
    with pytest.raises(BackendError, match=r"could not allocate .* on the device.*out of memory"):
        backend.place(operator)
    driver.mend()
    inputs = {"images": pixels[:1], "operator": operator[:3]}
    assert_equal(backend.run("classify", {**inputs, "operator": placed}), reference.run("classify", inputs))


def test_idle_contexts_give_way_to_a_gallery_where_memory_is_full(backend, driver, pixels, operator):
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


def test_a_forked_process_says_what_to_do_and_frees_nothing(backend, driver, pixels, operator):
    resident = [backend.place(operator[:2])]
    inputs = {"images": pixels[:1], "operator": resident[0]}
    expected = backend.run("classify", inputs)
    before, (execution,) = driver.remaining(), map(weakref.ref, backend._pools["classify"]._idle)

    def child():
        for call in (lambda: backend.run("classify", inputs), lambda: backend.place(operator)):
            with pytest.raises(BackendError, match="load in each worker"):
                call()
        backend.close()  # as at the end of the process
        resident.clear(), inputs.clear(), vars(backend).clear()
        gc.collect()
        return driver.remaining() == before and execution() is not None

    assert fork(child) == "True"
    assert_equal(backend.run("classify", inputs), expected)
