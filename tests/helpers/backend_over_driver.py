"""Fixtures of the checks over the stand-in driver: the TensorRT backend with the real package for CUDA.

Engines are ONNX Runtime's sessions, which the stand-in calls as kernels.
"""

from __future__ import annotations

import gc
import hashlib

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
from hmdrn_runtime.specimens.drawing import draw_specimens

ILLEGAL_ADDRESS = 700
THREADS = 4
MAX_SIZES = {"batch": 2, "classes": 3}


@pytest.fixture(scope="session", autouse=True)
def quick_collections():
    """Leave what the imports made out of the collections that end each check: most of their time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def bundle():
    return open_bundle(resolve_bundle("default"))


@pytest.fixture(scope="session")
def reference(bundle):
    return open_backend(bundle, "onnxruntime", threads=1)


@pytest.fixture(scope="session")
def pixels(bundle):
    side = bundle.manifest.input.size
    return draw_specimens([0, 1, 2], 2, size=side).reshape(-1, side, side, 3)


@pytest.fixture(scope="session")
def operator(bundle):
    return np.random.default_rng(0).random((12, bundle.manifest.network.packed), dtype=np.float32)


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
    options = {"tf32": False, "dla_core": None}
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
