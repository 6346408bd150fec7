"""The check that every export ends with: the bundle, as a device runs it, against the network in torch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hmdrn_network.backbones.base import LevelName
from hmdrn_network.hmdrn import HMDRN
from hmdrn_network.transformer import MaskedTransformer
from hmdrn_runtime.backends.base import Backend
from hmdrn_runtime.bundle.bundle import Bundle
from hmdrn_runtime.evaluation.episodes import sample_episodes
from hmdrn_runtime.gallery.gallery import with_photos
from hmdrn_runtime.images.preprocessing import INPUT_SIZE
from hmdrn_runtime.matching.factory import open_matcher
from hmdrn_runtime.matching.ridge import UNCONVERGED, RidgeMatcher
from hmdrn_runtime.specimens.drawing import draw_specimens

EPISODES = 24
WAY = 5
SHOTS = (1, 2, 5)
SPECIES = 12
SPECIMENS = 7
NEAR = 1e-5
"""A score this close to its threshold, relatively, may fall on either side by rounding."""
CANCELLED = 0.005
"""A distance under this share of its photo's squared tokens is what large terms leave when they cancel: eight
roundings of float32 in these are 1e-4 of it. Its error is taken relative to that share."""


@dataclass(frozen=True)
class Tolerances:
    """What a variant may differ from the network by.

    Attributes:
        distance: Largest relative error of a distance, as `relative_errors` tells it.
        mask_bits: Largest share of mask bits that differ, those near their threshold left out.
        top1: Smallest share of queries with the network's answer, in percent.
        residual: Largest residual of a solve.
    """

    distance: float
    mask_bits: float
    top1: float
    residual: float = UNCONVERGED


TOLERANCES = {
    "fp32": Tolerances(distance=1e-4, mask_bits=0.0, top1=100.0),
    # Ten times the largest error of six Conv-4 and two ResNet-12 networks (2e-3), twice their bits (0.27 %).
    "fp16": Tolerances(distance=0.02, mask_bits=0.005, top1=97.0),
    # Drawn specimens are not what the grids were calibrated on: this finds graphs that are wrong, the
    # accuracy budget those that are too coarse. Twice the largest error of right ones (0.21, weights that saw
    # nothing but birds); a network with one layer's weights halved still fails.
    "int8": Tolerances(distance=0.4, mask_bits=0.05, top1=90.0),
}


@dataclass(frozen=True)
class VerificationReport:
    """How a bundle compares with its network on drawn specimens.

    Attributes:
        executor: What ran the graphs.
        reference: What they were compared with.
        episodes: Number of episodes.
        queries: Answers compared, over all episodes.
        photos_set_aside: Query photos left out of the distances, because one of their mask bits is within
            1e-5 of its threshold: rounding may turn it over in any graph, which is no error.
        distance_error: Largest relative error of a distance, as `relative_errors` tells it.
        mask_bits: Mask bits compared, those near their threshold left out.
        mask_bits_differing: Share of these that differ, 0-1.
        mask_bits_near: Bits within 1e-5 of their threshold.
        top1_agreement: Queries with the same answer, in percent.
        solve_residual: Largest residual of a solve; None for heads without one.
        tolerances: What was allowed.
        failures: What was exceeded, in words; empty if the bundle passed.
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
    failures: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary."""
        return asdict(self)


@dataclass(frozen=True)
class _Reference:
    """The pool of specimens as the network sees it: arrays by level, photos first."""

    support: dict[LevelName, Tensor]
    query: dict[LevelName, Tensor]
    bits: dict[LevelName, npt.NDArray[np.bool_]]
    near: dict[LevelName, npt.NDArray[np.bool_]]


@dataclass(frozen=True)
class _MaskComparison:
    """Mask bits of the graphs beside the network's; `set_aside` marks photos with bits near the threshold."""

    compared: int
    near: int
    differing: int
    set_aside: npt.NDArray[np.bool_]


def verify(
    network: HMDRN,
    bundle: Bundle,
    backend: Backend,
    report: Callable[[int, int], None] = lambda done, of: None,
) -> VerificationReport:
    """Compare a bundle with the network that it was made of, on episodes of drawn specimens.

    The reference is torch: tokens in float32, reconstruction in float64 by Cholesky, which the graphs'
    Newton-Schulz has nothing in common with.

    Args:
        network: The network.
        bundle: The written bundle.
        backend: What runs it.
        report: Called with the rounds done and their number.
    """
    drawn = draw_specimens(range(SPECIES), SPECIMENS, size=INPUT_SIZE)
    pool = drawn.reshape(-1, *drawn.shape[2:])
    report(0, len(SHOTS))
    reference = _reference(network, pool)
    mask = _compare_masks(bundle, backend, reference, pool)
    matcher = open_matcher(bundle.manifest.network, backend, bundle.variant)
    photos = matcher.photo_statistics(pool)
    heads = copy.deepcopy(network).double()
    queries = [c * SPECIMENS + i for c in range(SPECIES) for i in range(max(SHOTS), SPECIMENS)]
    keep = ~mask.set_aside[queries]
    squares = {
        name: t[torch.tensor(queries)].double().square().sum((1, 2)) for name, t in reference.query.items()
    }
    errors, agreements, residuals = [], [], []
    for turn in range(len(SHOTS)):
        # Shots differ between the classes of one batch, and every class has every number of them once.
        support = [[c * SPECIMENS + i for i in range(SHOTS[(c + turn) % len(SHOTS)])] for c in range(SPECIES)]
        distances, logits = _expected(heads, reference, support, queries)
        species = [
            with_photos(None, f"species {c}", [photos[i] for i in rows]) for c, rows in enumerate(support)
        ]
        operands = matcher.class_operands(species)
        scores = matcher.classify(pool[queries], matcher.place(operands))
        if isinstance(matcher, RidgeMatcher):
            residuals.append(matcher.residual)
        found = [scores]
        if isinstance(matcher, RidgeMatcher):
            found.append(matcher.match([photos[i] for i in queries], operands["operator"]))
        errors += [
            relative_errors(f.distances[name], d, squares[name].numpy())[keep]
            for f in found
            for name, d in distances.items()
        ]
        for f in found:
            agreements += list(_agreements(logits, f.logits, keep, turn))
        report(turn + 1, len(SHOTS))
    agreement = np.concatenate(agreements)
    result = VerificationReport(
        executor=f"{backend.name}, variant {bundle.variant}",
        reference="torch: tokens float32, reconstruction float64",
        episodes=EPISODES,
        queries=len(agreement),
        photos_set_aside=int(np.count_nonzero(~keep)),
        distance_error=float(np.concatenate(errors).max(initial=0.0)),
        mask_bits=mask.compared,
        mask_bits_differing=mask.differing / mask.compared,
        mask_bits_near=mask.near,
        top1_agreement=100.0 * float(agreement.mean()) if agreement.size else 0.0,
        solve_residual=max(residuals) if residuals else None,
        tolerances=TOLERANCES[bundle.graph("classify").precision],
        failures=(),
    )
    return replace(result, failures=tuple(_failures(result)))


def relative_errors(
    found: npt.NDArray[np.floating[Any]], expected: npt.NDArray[np.float64], squares: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Errors of distances, relative to the distances or to `CANCELLED` of the photos' squared tokens.

    Args:
        found: Distances (photos, classes).
        expected: What they should be.
        squares: Sums of the squares of each photo's tokens (photos,).
    """
    errors: npt.NDArray[np.float64] = np.abs(found - expected) / np.maximum(
        expected, CANCELLED * squares[:, None]
    )
    return errors


def _agreements(
    expected: npt.NDArray[np.float64], found: npt.NDArray[np.float32], keep: npt.NDArray[np.bool_], seed: int
) -> Iterator[npt.NDArray[np.bool_]]:
    """For every episode of a turn, which queries have the same answer among its classes.

    Classes do not see each other: an episode's logits are those of its classes, cut out of the table of
    all species (queries ordered by species, SPECIES).
    """
    per_class = SPECIMENS - max(SHOTS)
    for episode in sample_episodes(
        [per_class + 1] * SPECIES,
        way=WAY,
        shot=1,
        queries=per_class,
        episodes=EPISODES // len(SHOTS),
        seed=seed,
    ):
        classes = np.array(episode.classes)
        rows = (classes[:, None] * per_class + np.arange(per_class)).ravel()
        table = np.ix_(rows, classes)
        yield (found[table].argmax(axis=1) == expected[table].argmax(axis=1))[keep[rows]]


def _reference(network: HMDRN, pool: npt.NDArray[np.uint8]) -> _Reference:
    support: dict[LevelName, list[Tensor]] = {name: [] for name in network.config.levels}
    query: dict[LevelName, list[Tensor]] = {name: [] for name in network.config.levels}
    bits: dict[LevelName, list[Tensor]] = {name: [] for name in network.config.levels}
    near: dict[LevelName, list[Tensor]] = {name: [] for name in network.config.levels}
    with torch.inference_mode():
        for images in torch.split(torch.from_numpy(pool), SPECIMENS):
            for name, feature_map in network.features(images).items():
                transformer = cast(MaskedTransformer, network.transformers[name])
                tokens, layer_bits, margins = transformer.explain(feature_map, masked=True)
                support[name].append(transformer(feature_map, masked=False))
                query[name].append(tokens)
                bits[name].append(torch.stack(layer_bits, dim=1))
                near[name].append(torch.stack(margins, dim=1).abs() < NEAR)
    return _Reference(
        {name: torch.cat(parts) for name, parts in support.items()},
        {name: torch.cat(parts) for name, parts in query.items()},
        {name: torch.cat(parts).numpy() for name, parts in bits.items()},
        {name: torch.cat(parts).numpy() for name, parts in near.items()},
    )


def _compare_masks(
    bundle: Bundle, backend: Backend, reference: _Reference, pool: npt.NDArray[np.uint8]
) -> _MaskComparison:
    batches = [backend.run("explain", {"images": part}) for part in np.split(pool, SPECIES)]
    compared = near = differing = 0
    set_aside = np.zeros(len(pool), dtype=bool)
    for level in bundle.manifest.network.levels:
        name = cast(LevelName, level.name)
        flipped = np.concatenate([batch[f"mask_{name}"] for batch in batches]) != reference.bits[name]
        close = reference.near[name]
        compared += int(np.count_nonzero(~close))
        near += int(np.count_nonzero(close))
        differing += int(np.count_nonzero(flipped & ~close))
        set_aside |= close.any(axis=(1, 2, 3))
    return _MaskComparison(compared, near, differing, set_aside)


def _expected(
    heads: HMDRN, reference: _Reference, support: list[list[int]], queries: list[int]
) -> tuple[dict[LevelName, npt.NDArray[np.float64]], npt.NDArray[np.float64]]:
    """The network's distances by level and its logits, each (queries, classes), reconstructed in float64."""
    with torch.inference_mode():
        query = {name: t[torch.tensor(queries)].double() for name, t in reference.query.items()}
        # Class by class: their shots differ, and padding is what is to be checked here.
        parts = [
            heads.distances(
                query,
                {n: t[torch.tensor(rows)].double().flatten(0, 1)[None] for n, t in reference.support.items()},
            )
            for rows in support
        ]
        distances = {name: torch.cat([part[name] for part in parts], dim=1) for name in query}
        return {name: d.numpy() for name, d in distances.items()}, heads.fusion(distances).numpy()


def _failures(report: VerificationReport) -> Iterator[str]:
    """What exceeds its tolerance; comparisons are written so that a value that is no number fails."""
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
