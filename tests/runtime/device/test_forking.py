"""A forked process: gunicorn --preload, multiprocessing, or os.fork itself; each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from forks import fork

from hmdrn.loading import resolve_bundle
from hmdrn_runtime.bundle.bundle import open_bundle
from hmdrn_runtime.matching.index.index import Index

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

PARENT = """
import os, sys, threading, time
import hmdrn
photos = hmdrn.draw_specimens(range(4), 2, size=84)
birds = hmdrn.load("default", threads=2)
for number in range(3):
    birds.enroll(f"species {number}", photos[number])
assert birds.classify(photos[0][0]).label == "species 0"
assert birds.classify_async(photos[0][0]).result(60).label == "species 0"

def use(birds):
    assert birds.classify(photos[1][0]).label == "species 1"
    assert birds.classify_async(photos[1][0]).result(60).label == "species 1"
    birds.enroll("species 3", photos[3])
    assert birds.classify(photos[3][0]).label == "species 3"
    # Another thread gets the old species, and starts the solver's thread.
    threading.Thread(target=birds.gallery.forget, args=("species 2",)).start()
    while "species 2" in birds.gallery:
        time.sleep(0.01)
    birds.classify_async(photos[0][0]).result(60)
"""

_TELEMETRY_SWITCHES = ("ORT_DISABLE_TELEMETRY", "CI")


def run_script(script):
    """Run a script; one that hangs is ended, with the children that it left."""
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={key: value for key, value in os.environ.items() if key not in _TELEMETRY_SWITCHES},
    )
    try:
        errors = process.communicate(timeout=60)[1]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        pytest.fail("the script hangs")
    assert process.returncode == 0, errors
    return errors


@pytest.mark.slow
def test_a_child_recognizes_and_ends_even_if_other_threads_held_the_locks():
    run_script(
        PARENT
        + """
import multiprocessing

def classify(number):
    return birds.classify(photos[number][0]).label

def run(child):
    pid = os.fork()
    if pid == 0:
        child()
        sys.exit(7)  # by the interpreter's end, as workers of gunicorn
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7

held, done = threading.Event(), threading.Event()

def hold():
    with birds.gallery._lock, birds.solved_gallery._lock, birds.backend._lock, birds._live._changed:
        held.set()
        done.wait()

threading.Thread(target=hold).start()
held.wait()
run(lambda: run(lambda: use(birds)))  # in a child of a child, too
done.set()
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map(classify, range(3)) == ["species 0", "species 1", "species 2"]
use(birds)  # and the parent goes on
"""
    )


def test_a_child_leaves_the_free_rows_of_a_shared_file_to_its_parent():
    network = open_bundle(resolve_bundle("default")).manifest.network
    index = Index(network, mapped_from=0)
    first = index.add(np.full((2, network.packed), 1, np.float32))
    assert fork(lambda: index.add(np.full((2, network.packed), 2, np.float32)).tolist()) == "[4096, 4097]"
    second = index.add(np.full((2, network.packed), 3, np.float32))
    rows = index.classes(np.concatenate([first, second])).operators()
    assert rows[:, 0].tolist() == [1, 1, 3, 3]


def test_a_child_searches_what_its_parent_has_searched():
    network = open_bundle(resolve_bundle("default")).manifest.network
    index = Index(network)
    classes = index.classes(index.add(np.random.default_rng(0).random((3, network.packed), np.float32)))
    photo = np.ones(network.packed, np.float32)
    expected = classes.search(photo, 3).best.tolist()
    assert fork(lambda: classes.search(photo, 3).best.tolist()) == str(expected)
