"""From a checkpoint to a bundle of ONNX graphs, verified; and from a bundle to engines.

Names are imported when they are used: a device builds engines (`hmdrn_export.tensorrt`) without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hmdrn_export.exporter import PRECISIONS, Derived, export_bundle
    from hmdrn_export.verification import VerificationReport

_HOMES = {
    "PRECISIONS": "exporter",
    "Derived": "exporter",
    "VerificationReport": "verification",
    "export_bundle": "exporter",
}

__all__ = ["PRECISIONS", "Derived", "VerificationReport", "export_bundle"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
