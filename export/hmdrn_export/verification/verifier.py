"""Comparison of a bundle with its network, on episodes of drawn specimens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from hmdrn_export.verification.reference import Reference, compute_reference
from hmdrn_export.verification.report import TOLERANCES, VerificationReport, find_failures
from hmdrn_network.hmdrn import HMDRN
from hmdrn_runtime.backends.base import Backend
from hmdrn_runtime.bundle.bundle import Bundle
from hmdrn_runtime.evaluation.episodes import sample_episodes
from hmdrn_runtime.gallery.species import extend_species
from hmdrn_runtime.matching.factory import open_matcher
from hmdrn_runtime.matching.ridge import RidgeMatcher
from hmdrn_runtime.progress import ProgressCallback, ignore_progress
from hmdrn_runtime.specimens.drawing import draw_specimens

EPISODES = 24
WAY = 5
SHOTS = (1, 2, 5)
SPECIES = 12
SPECIMENS = 7
CANCELLED = 0.005
"""A distance below this share of its photo's squared tokens is the rest of large terms that cancel: eight
roundings of float32 in these are 1e-4 of it. Its error is relative to that share."""


def verify_bundle(
    network: HMDRN, bundle: Bundle, backend: Backend, report: ProgressCallback = ignore_progress
) -> VerificationReport:
    """Compare a bundle with its network.

    The reference is torch: tokens in float32, reconstruction in float64 by Cholesky, which has nothing in
    common with the graphs' Newton-Schulz.
    """
    step = f"verifying {bundle.variant}"
    report(step, 0, len(SHOTS))
    drawn = draw_specimens(range(SPECIES), SPECIMENS, size=network.config.side)
    pool = drawn.reshape(-1, *drawn.shape[2:])
    reference = compute_reference(network, pool)
    flipped, near = _compare_masks(backend, reference, pool)
    matcher = open_matcher(bundle.manifest.network, backend, bundle.variant)
    photos = matcher.compute_statistics(pool)
    queries = [c * SPECIMENS + i for c in range(SPECIES) for i in range(max(SHOTS), SPECIMENS)]
    clear = ~np.any(near[queries], axis=1)
    squares = {n: t[queries].double().square().sum((1, 2)).numpy() for n, t in reference.query.items()}
    errors, agreements, residuals = [], [], []
    for turn in range(len(SHOTS)):
        # Shots differ between the classes of a batch; over the turns, every class has every number of shots.
        support = [[c * SPECIMENS + i for i in range(SHOTS[(c + turn) % len(SHOTS)])] for c in range(SPECIES)]
        distances, logits = reference.distances(support, queries)
        species = [
            extend_species(None, f"species {c}", [photos[i] for i in rows]) for c, rows in enumerate(support)
        ]
        operands = matcher.class_operands(species)
        results = [matcher.classify(pool[queries], matcher.place(operands))]
        if isinstance(matcher, RidgeMatcher):
            residuals.append(matcher.residual)
            results.append(matcher.match([photos[i] for i in queries], operands["operator"]))
        for scores in results:
            errors += [
                relative_errors(scores.distances[name], expected, squares[name])[clear]
                for name, expected in distances.items()
            ]
            agreements += list(_compare_answers(logits, scores.logits, clear, turn))
        report(step, turn + 1, len(SHOTS))
    agreement = np.concatenate(agreements)
    result = VerificationReport(
        executor=f"{backend.name}, variant {bundle.variant}",
        reference="torch: tokens float32, reconstruction float64",
        episodes=EPISODES,
        queries=len(agreement),
        photos_set_aside=int(np.count_nonzero(~clear)),
        distance_error=float(np.concatenate(errors).max(initial=0.0)),
        mask_bits=int(np.count_nonzero(~near)),
        mask_bits_differing=float(flipped[~near].mean()),
        mask_bits_near=int(np.count_nonzero(near)),
        top1_agreement=100.0 * float(agreement.mean()) if agreement.size else 0.0,
        solve_residual=max(residuals) if residuals else None,
        tolerances=TOLERANCES[bundle.graph("classify").precision],
    )
    return replace(result, failures=tuple(find_failures(result)))


def relative_errors(
    distances: npt.NDArray[np.floating[Any]],
    expected: npt.NDArray[np.float64],
    squares: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Return errors relative to the expected distances, or to `CANCELLED` of the photos' squared tokens.

    Args:
        distances: (photos, classes).
        expected: The reference, (photos, classes).
        squares: Sums of the squares of each photo's tokens (photos,).
    """
    errors: npt.NDArray[np.float64] = np.abs(distances - expected) / np.maximum(
        expected, CANCELLED * squares[:, None]
    )
    return errors


def _compare_answers(
    expected: npt.NDArray[np.float64],
    logits: npt.NDArray[np.float32],
    clear: npt.NDArray[np.bool_],
    seed: int,
) -> Iterator[npt.NDArray[np.bool_]]:
    """Yield for every episode of a turn which clear queries have the same answer among its classes.

    Classes are independent: an episode's logits are those of its classes, cut out of the table of all
    species (queries ordered by species, SPECIES).
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
        yield (logits[table].argmax(axis=1) == expected[table].argmax(axis=1))[clear[rows]]


def _compare_masks(
    backend: Backend, reference: Reference, pool: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return which mask bits differ, and which are near their threshold, bool (N, bits of all levels)."""
    batches = [backend.run("explain", {"images": part}) for part in np.split(pool, SPECIES)]
    flipped, near = [], []
    for name, bits in reference.bits.items():
        mask = np.concatenate([batch[f"mask_{name}"] for batch in batches])
        flipped.append((mask != bits).reshape(len(pool), -1))
        near.append(reference.near[name].reshape(len(pool), -1))
    return np.concatenate(flipped, axis=1), np.concatenate(near, axis=1)
