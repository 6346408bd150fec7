"""Tolerances and reports of a verification."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from hmdrn_runtime.matching.ridge import MAX_RESIDUAL


@dataclass(frozen=True)
class Tolerances:
    """Allowed differences between a variant and the network.

    Attributes:
        distance: Largest relative error of a distance, see `relative_errors`.
        mask_bits: Largest share of mask bits that differ, without those near their threshold, 0-1.
        top1: Smallest share of queries with the network's answer, in percent.
        residual: Largest residual of a solve.
    """

    distance: float
    mask_bits: float
    top1: float
    residual: float = MAX_RESIDUAL


TOLERANCES = {
    "fp32": Tolerances(distance=1e-4, mask_bits=0.0, top1=100.0),
    # Ten times the largest error of six Conv-4 and two ResNet-12 networks (2e-3), twice their bits (0.27 %).
    "fp16": Tolerances(distance=0.02, mask_bits=0.005, top1=97.0),
    # The grids were not calibrated on drawn specimens: this detects wrong graphs, the accuracy budget those
    # that are too coarse. Twice the largest error of right ones (0.21, weights trained on birds alone); a
    # network with one layer's weights halved still fails.
    "int8": Tolerances(distance=0.4, mask_bits=0.05, top1=90.0),
}


@dataclass(frozen=True)
class VerificationReport:
    """Comparison of a bundle with its network on drawn specimens.

    Attributes:
        executor: Backend and variant of the graphs.
        reference: What they were compared with.
        episodes: Number of episodes.
        queries: Answers compared, over all episodes.
        photos_set_aside: Query photos left out of the distances because one of their mask bits is within
            1e-5 of its threshold: rounding may flip it in any graph, which is not an error.
        distance_error: Largest relative error of a distance, see `relative_errors`.
        mask_bits: Mask bits compared, without those near their threshold.
        mask_bits_differing: Share of these that differ, 0-1.
        mask_bits_near: Bits within 1e-5 of their threshold.
        top1_agreement: Queries with the same answer, in percent.
        solve_residual: Largest residual of a solve; None for heads without one.
        tolerances: The allowed differences.
        failures: Tolerances exceeded, in words; empty if the bundle passed.
    """

    executor: str
    reference: str
    episodes: int
    queries: int
    photos_set_aside: int
    distance_error: float
    mask_bits: int
    mask_bits_differing: float
    mask_bits_near: int
    top1_agreement: float
    solve_residual: float | None
    tolerances: Tolerances
    failures: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return asdict(self)


def find_failures(report: VerificationReport) -> Iterator[str]:
    """Describe the tolerances that are exceeded; the comparisons fail for NaN."""
    allowed = report.tolerances
    if not report.queries:
        yield "no query photo is clear of the mask's thresholds"
    if not report.distance_error <= allowed.distance:
        yield f"distances differ by {report.distance_error:.2g} (at most {allowed.distance:.2g})"
    if not report.mask_bits_differing <= allowed.mask_bits:
        yield f"{report.mask_bits_differing:.2%} of the mask bits differ (at most {allowed.mask_bits:.2%})"
    if not report.top1_agreement >= allowed.top1:
        yield f"{report.top1_agreement:.2f} % of the answers agree (at least {allowed.top1:.2f} %)"
    if report.solve_residual is not None and not report.solve_residual <= allowed.residual:
        yield f"the solve's residual is {report.solve_residual:.2g} (at most {allowed.residual:.2g})"
