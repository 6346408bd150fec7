"""Text of the check that TensorRT engines passed when they were built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def describe_engine_check(check: Mapping[str, Any]) -> str:
    """Describe the figures of a fingerprint's check, and a line for each precision that was not kept."""
    figures = (
        f"engines against ONNX Runtime: distances differ by {check['distance_error']:.1e}, "
        f"{check['mask_bits_differing']:.2%} of the mask bits differ, {check['top1_agreement']:.1f} % of the "
        "answers agree"
    )
    if quantized := check.get("quantized"):
        figures += (
            f"\nagainst the {quantized['reference']} graphs: outputs are {quantized['output_factor']:.3f} "
            f"times theirs and differ by {quantized['output_norm_error']:.1e} of their norm, distances are "
            f"{quantized['distance_factor']:.3f} times theirs and differ by "
            f"{quantized['distance_norm_error']:.1e}"
        )
    if photographs := check.get("photographs"):
        figures += (
            f"\non {photographs['queries']} photographs: distances differ by "
            f"{photographs['distance_error']:.1e}, {photographs['top1_agreement']:.1f} % of the answers agree"
        )
    rejected = [f"not kept: {name} engines, {reason}" for name, reason in check["rejected"].items()]
    return "\n".join([figures, *rejected])
