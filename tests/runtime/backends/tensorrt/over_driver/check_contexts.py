"""Checks of captured graphs, execution contexts and threads, run by test_over_driver like check_backend."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from backend_over_driver import ILLEGAL_ADDRESS, THREADS, assert_equal

from hmdrn_runtime.backends.tensorrt.context_pool import MAX_EXECUTIONS


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


def test_other_shapes_and_operators_keep_their_own_captured_graphs(
    backend, driver, reference, pixels, operator
):
    galleries, before = {n: backend.place(operator[:n]) for n in (2, 3)}, driver.count("launches")
    for photos, classes in [(1, 2)] * 3 + [(2, 2)] * 3 + [(2, 3)] * 3 + [(1, 2)] * 3:
        assert_equal(
            backend.run("classify", {"images": pixels[:photos], "operator": galleries[classes]}),
            reference.run("classify", {"images": pixels[:photos], "operator": operator[:classes]}),
        )
    captures = backend._cuda.captures_graphs
    assert driver.count("launches") - before == (9 if captures else 0)
    assert driver.count("executables") == (3 if captures else 0)


@pytest.mark.parametrize(("classes", "captured"), [(9, 3), (12, 2)])
def test_each_block_of_a_gallery_is_captured_and_too_many_run_stepwise(
    backend, driver, reference, pixels, operator, classes, captured
):
    placed, before = backend.place(operator[:classes]), driver.count("launches")
    expected = reference.run("classify", {"images": pixels[:1], "operator": operator[:classes]})
    for _ in range(4):
        assert_equal(backend.run("classify", {"images": pixels[:1], "operator": placed}), expected)
    captures = backend._cuda.captures_graphs
    assert driver.count("launches") - before == (3 * captured if captures else 0)
    (engine,) = backend._trt.engines
    assert engine.contexts == MAX_EXECUTIONS


@pytest.mark.parametrize(("full", "contexts"), [(False, MAX_EXECUTIONS), (True, 1)])
def test_changing_galleries_leave_few_contexts_and_one_without_memory(
    backend, driver, reference, pixels, operator, full, contexts
):
    driver.full = full
    galleries = [backend.place(operator[n : n + 3]) for n in range(5)]
    for n, placed in [*enumerate(galleries)] * 2:
        assert_equal(
            backend.run("classify", {"images": pixels[:1], "operator": placed}),
            reference.run("classify", {"images": pixels[:1], "operator": operator[n : n + 3]}),
        )
    (engine,) = backend._trt.engines
    assert engine.contexts == contexts


def test_a_captured_graph_is_not_launched_in_memory_that_another_run_has(
    backend, driver, reference, pixels, operator
):
    inputs = {"images": pixels[:1], "operator": operator[:3]}
    expected = reference.run("classify", inputs)

    def count_launches():
        before = driver.count("launches")
        for _ in range(3):
            assert_equal(backend.run("classify", inputs), expected)
        return driver.count("launches") - before

    launches = [count_launches()]
    with backend._cuda.current(), backend._activations.borrow(1):
        launches.append(count_launches())
    launches.append(count_launches())
    assert launches == ([2, 2, 3] if backend._cuda.captures_graphs else [0, 0, 0])


def test_threads_run_at_once_with_a_context_each_at_most(backend, reference, pixels, operator):
    shared = {n: backend.place(operator[:n]) for n in (1, 8)}
    calls = [(n, photos) for n in shared for photos in (1, 3)]
    expected = {
        (n, photos): reference.run("classify", {"images": pixels[:photos], "operator": operator[:n]})
        for n, photos in calls
    }

    def work(number):
        images, rows = pixels[number : number + 1], operator[number : number + 3]
        placed, right = (
            backend.place(rows),
            reference.run("classify", {"images": images, "operator": rows}),
        )
        for classes, photos in np.random.default_rng(number).permutation(calls).tolist():
            assert_equal(
                backend.run("classify", {"images": pixels[:photos], "operator": shared[classes]}),
                expected[classes, photos],
            )
            assert_equal(backend.run("classify", {"images": images, "operator": placed}), right)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))
    (engine,) = backend._trt.engines
    assert 1 <= engine.contexts <= THREADS
    assert 1 <= len(backend._activations._idle) <= THREADS


@pytest.mark.parametrize("function", ["cuStreamBeginCapture_v2", "cuGraphInstantiateWithFlags"])
def test_where_a_capture_fails_frames_run_step_by_step(
    backend, driver, reference, pixels, operator, function
):
    inputs = {"images": pixels[:1], "operator": operator[:3]}
    expected = reference.run("classify", inputs)
    before = driver.count("launches")
    driver.fail(function, ILLEGAL_ADDRESS)
    for _ in range(3):
        assert_equal(backend.run("classify", inputs), expected)
    assert driver.count("launches") == before
