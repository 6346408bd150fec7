"""Explanation of a prediction: the mask, and the reconstruction errors of two species by location.

The distances are sums over the locations of a level's map; their terms are the reconstruction-error maps of
HMDRN (arXiv 2506.20263). With q a location's token and W^2 a class's operator, ridge's error there is
q' W^2 q; attention's is |v - softmax(q K' / sqrt(d)) V|^2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.classification.prediction import Match, Prediction, rank_species
from hmdrn_runtime.gallery.photo_statistics import Float32, Float64, level_slices
from hmdrn_runtime.gallery.species import Species, find_species
from hmdrn_runtime.matching.attention import AttentionMatcher, support_tokens
from hmdrn_runtime.matching.ridge import RidgeMatcher
from hmdrn_runtime.matching.solved_gallery import Snapshot


@dataclass(frozen=True, eq=False)
class LevelExplanation:
    """One level of the network, location by location.

    Attributes:
        name: "high" or "mid".
        mask: True at locations that the mask keeps, bool (layers, heads, side, side).
        errors: Squared reconstruction errors by species, float64 (S, side, side), at least 0, in the order of
            `Explanation.matches`. Each map sums to the species' distance at this level.
        logits_per_error: Learned weight: the loss of a species' logit per unit of error.
        cell: Side of a location in pixels of the network's input.

    Examples:
        >>> birds = hmdrn.load("default", gallery="site7.gallery")
        >>> [level.name for level in birds.explain("a.jpg").levels]
        ['high', 'mid']
    """

    name: str
    mask: npt.NDArray[np.bool_]
    errors: Float64
    logits_per_error: float
    cell: int

    @property
    def side(self) -> int:
        """Side of the map in locations."""
        return int(self.mask.shape[-1])

    @property
    def mask_share(self) -> Float64:
        """Share of layers and heads whose mask keeps a location, 0-1, float64 (side, side)."""
        return np.asarray(self.mask.mean(axis=(0, 1)))

    @property
    def advantage(self) -> Float64 | None:
        """Each location's contribution to the first species' logit less the second's, (side, side).

        The sum over both levels is the difference of their logits. None with a single species. See
        `Explanation.log_odds` for the scale of the probabilities.
        """
        if len(self.errors) < 2:
            return None
        return np.asarray((self.errors[1] - self.errors[0]) * self.logits_per_error)


@dataclass(frozen=True, eq=False)
class Explanation:
    """Explanation of a prediction.

    Attributes:
        prediction: The prediction, as of `Recognizer.classify`.
        matches: The compared species: the best, then the second-best or the requested one; only the best if
            the gallery has no other.
        pixels: The network's input, RGB uint8 (side, side, 3).
        levels: High, then mid.
        temperature: Logits of one unit of log-odds: of the gallery's calibration, 1 without one.

    Examples:
        >>> birds = hmdrn.load("default", gallery="site7.gallery")
        >>> explanation = birds.explain("a.jpg")
        >>> [match.label for match in explanation.matches][0]
        'Sooty Albatross'
    """

    prediction: Prediction
    matches: tuple[Match, ...]
    pixels: npt.NDArray[np.uint8]
    levels: tuple[LevelExplanation, ...]
    temperature: float = 1.0

    @property
    def log_odds(self) -> tuple[Float64, ...]:
        """Each location's contribution to the log-odds of the first species against the second, by level.

        The sum of all is the logarithm of the ratio of the two probabilities. Empty with a single species.
        """
        advantages = [level.advantage for level in self.levels]
        return tuple(np.asarray(a / self.temperature) for a in advantages if a is not None)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return all arrays by name, with the species' labels, as saved by `hmdrn explain --arrays`."""
        named: dict[str, npt.NDArray[Any]] = {
            "labels": np.array([match.label for match in self.matches]),
            "pixels": self.pixels,
            "temperature": np.array(self.temperature),
        }
        for level in self.levels:
            parts = {
                "mask": level.mask,
                "mask_share": level.mask_share,
                "errors": level.errors,
                "advantage": level.advantage,
                "logits_per_error": np.array(level.logits_per_error),
            }
            named |= {f"{part}_{level.name}": array for part, array in parts.items() if array is not None}
        return named


def explain_photo(
    matcher: RidgeMatcher | AttentionMatcher,
    snapshot: Snapshot,
    pixels: npt.NDArray[np.uint8],
    against: str | None,
) -> Explanation:
    """Recognize the species on a prepared photo and explain it; see `Recognizer.explain`."""
    species, labels = snapshot.state.species, snapshot.labels
    against = None if against is None else find_species(species, against).label
    scores = matcher.classify(pixels[None], snapshot.operands, len(labels))
    (prediction,) = rank_species(labels, scores, len(labels), snapshot.calibration)
    others = [m for m in prediction.ranking[1:] if against in (None, prediction.label, m.label)]
    matches = (prediction.ranking[0], *others[:1])
    levels = explain_levels(matcher, pixels, [species[m.label] for m in matches])
    shown = replace(prediction, ranking=prediction.ranking[:5])
    temperature = 1.0 if snapshot.calibration is None else snapshot.calibration.temperature
    return Explanation(shown, matches, pixels, levels, temperature)


def explain_levels(
    matcher: RidgeMatcher | AttentionMatcher, pixels: npt.NDArray[np.uint8], species: Sequence[Species]
) -> tuple[LevelExplanation, ...]:
    """Compare one photo, (side, side, 3), with some species, location by location.

    Raises:
        EnrollmentError: A class that cannot be solved.
    """
    outputs = matcher.backend.run("explain", {"images": pixels[None]})
    fusion, slices = matcher.network.fusion, level_slices(matcher.network)
    operators = matcher.operators(species) if isinstance(matcher, RidgeMatcher) else None
    levels = []
    for level in matcher.network.levels:
        name, side = level.name, math.isqrt(level.tokens)
        if operators is not None:
            tokens = outputs[f"query_tokens_{name}"][0]
            errors = [ridge_errors(tokens, operator[slices[name]]) for operator in operators]
        else:
            q, v = (outputs[f"query_{kind}_{name}"][0] for kind in "qv")
            support = [[support_tokens(s, f"{kind}_{name}") for kind in "kv"] for s in species]
            errors = [attention_errors(q, v, *keys_values) for keys_values in support]
        mask = outputs[f"mask_{name}"][0]
        levels.append(
            LevelExplanation(
                name,
                mask.reshape(*mask.shape[:2], side, side),
                np.stack(errors).reshape(-1, side, side),
                fusion.weights[name] * fusion.scale / fusion.divisor,
                len(pixels) // side,
            )
        )
    return tuple(levels)


def ridge_errors(tokens: Float32, operator: Float32) -> Float64:
    """Compute the squared errors of ridge reconstruction by location.

    Args:
        tokens: A photo's query tokens (T, d).
        operator: A class's packed operator W^2 at this level, off-diagonals doubled (d (d + 1) / 2,).

    Returns:
        float64 (T,), at least 0.
    """
    channels = tokens.shape[1]
    upper = np.zeros((channels, channels))
    upper[np.triu_indices(channels)] = operator
    Q = tokens.astype(np.float64)
    # Rounding may make a vanishing error negative.
    return np.asarray(np.maximum(np.einsum("td,td->t", Q @ upper, Q), 0))


def attention_errors(q: Float32, v: Float32, keys: Float32, values: Float32) -> Float64:
    """Compute the squared errors of attention reconstruction by location.

    Args:
        q: Queries of the photo (T, d).
        v: Its values (T, d).
        keys: Keys of a class's support tokens (n, d).
        values: Their values (n, d).

    Returns:
        float64 (T,), at least 0.
    """
    scores = q.astype(np.float64) @ keys.T.astype(np.float64) / math.sqrt(q.shape[1])
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    return np.asarray(((v - weights @ values.astype(np.float64)) ** 2).sum(axis=1))
