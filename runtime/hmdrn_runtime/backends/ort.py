"""ONNX Runtime, imported without its telemetry; every module of hmdrn imports it from here.

The telemetry of its builds since 1.29 writes files, uploads, and has a thread that blocks a forked process at
its exit. It starts with the import, so the switch must come before. A user's own setting stays.
"""

from __future__ import annotations

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort

__all__ = ["ort"]
