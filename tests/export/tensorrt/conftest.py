"""NVIDIA's compiler, where it is installed."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def compiler():
    """NVIDIA's compiler that needs no GPU."""
    return pytest.importorskip("tensorrt_rtx")
