"""From a checkpoint to a bundle of ONNX graphs, verified."""

from hmdrn_export.exporter import PRECISIONS, export_bundle
from hmdrn_export.verification import VerificationReport

__all__ = ["PRECISIONS", "VerificationReport", "export_bundle"]
