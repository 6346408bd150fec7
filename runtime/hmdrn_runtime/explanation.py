"""Why a photo was named so: what the mask kept, and where each of two species fails to rebuild the photo.

The distances that decide are sums over the locations of a level's map. Taken apart again they are the
reconstruction-error maps of HMDRN (arXiv 2506.20263). With q a location's token and W^2 a class's operator,
ridge's error there is q' W^2 q; attention's is |v - softmax(q K' / sqrt(d)) V|^2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.bundle.manifest import Level
from hmdrn_runtime.errors import BundleError
from hmdrn_runtime.gallery.photo_statistics import Float32, Float64
from hmdrn_runtime.gallery.species import Species
from hmdrn_runtime.images.preprocessing import INPUT_SIZE
from hmdrn_runtime.matching.attention import AttentionMatcher, support_tokens
from hmdrn_runtime.matching.ridge import RidgeMatcher
from hmdrn_runtime.prediction import Match, Prediction


@dataclass(frozen=True, eq=False)
class LevelExplanation:
    """One level of the network, location by location.

    Attributes:
        name: "high" or "mid".
        mask: Whether the mask keeps a location, bool (layers, heads, side, side).
        errors: Squared reconstruction errors by species, float64 (S, side, side), at least 0: the species
            of `Explanation.matches` in their order. Each map sums to the species' distance at this level.
        logits_per_error: What an error of 1 takes from a species' logit, learned.
    """

    name: str
    mask: npt.NDArray[np.bool_]
    errors: Float64
    logits_per_error: float

    @property
    def side(self) -> int:
        """Locations in a row of the map, and rows."""
        return int(self.mask.shape[-1])

    @property
    def cell(self) -> int:
        """Pixels of the network's input from one location to the next."""
        return INPUT_SIZE // self.side

    @property
    def foreground(self) -> Float64:
        """Share of layers and heads whose mask keeps a location, 0-1, (side, side)."""
        return np.asarray(self.mask.mean(axis=(0, 1)))

    @property
    def advantage(self) -> Float64 | None:
        """How much each location speaks for the first species against the second, in logits (side, side).

        Over both levels it sums to the difference of their logits. None where only one is compared.
        """
        if len(self.errors) < 2:
            return None
        return np.asarray((self.errors[1] - self.errors[0]) * self.logits_per_error)


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why a photo was named so.

    Attributes:
        prediction: The answer, as `Recognizer.classify` gives it.
        matches: The species that are compared: the best, then the second-best or the one asked for; the
            best alone where the gallery has no other.
        pixels: What the network saw, RGB uint8 (84, 84, 3).
        levels: High, then mid.
    """

    prediction: Prediction
    matches: tuple[Match, ...]
    pixels: npt.NDArray[np.uint8]
    levels: tuple[LevelExplanation, ...]

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """All arrays by name, as `hmdrn explain --arrays` saves them, with the species' labels."""
        named: dict[str, npt.NDArray[Any]] = {
            "labels": np.array([match.label for match in self.matches]),
            "pixels": self.pixels,
        }
        for level in self.levels:
            parts = {
                "mask": level.mask,
                "foreground": level.foreground,
                "errors": level.errors,
                "advantage": level.advantage,
                "logits_per_error": np.array(level.logits_per_error),
            }
            named |= {f"{part}_{level.name}": array for part, array in parts.items() if array is not None}
        return named


def explain_levels(
    matcher: RidgeMatcher | AttentionMatcher, pixels: npt.NDArray[np.uint8], species: Sequence[Species]
) -> tuple[LevelExplanation, ...]:
    """Look at one photo, (84, 84, 3), location by location, beside some species.

    Raises:
        BundleError: An attention bundle of an earlier version, whose graphs do not give q and v.
        EnrollmentError: A class that cannot be solved.
    """
    seen = matcher.backend.run("explain", {"images": pixels[None]})
    network = matcher.network
    if isinstance(matcher, RidgeMatcher):
        errors = _ridge_maps(matcher, seen, species)
    else:
        errors = {v.name: _attention_map(v, seen, species) for v in network.levels}
    levels = []
    for level in network.levels:
        side = math.isqrt(level.tokens)
        mask = seen[f"mask_{level.name}"][0]
        levels.append(
            LevelExplanation(
                level.name,
                mask.reshape(*mask.shape[:2], side, side),
                errors[level.name].reshape(-1, side, side),
                network.fusion.weights[level.name] * network.fusion.scale / network.fusion.divisor,
            )
        )
    return tuple(levels)


def ridge_errors(tokens: Float32, operator: Float32) -> Float64:
    """Squared errors of ridge reconstruction by location.

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
    # Rounding may bring a vanishing error below zero.
    return np.asarray(np.maximum(np.einsum("td,td->t", Q @ upper, Q), 0))


def attention_errors(q: Float32, v: Float32, keys: Float32, values: Float32) -> Float64:
    """Squared errors of reconstruction by attention, by location.

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


def _ridge_maps(
    matcher: RidgeMatcher, seen: Mapping[str, npt.NDArray[Any]], species: Sequence[Species]
) -> dict[str, Float64]:
    operators = matcher.operators(species)
    maps: dict[str, Float64] = {}
    start = 0
    for level in matcher.network.levels:
        part = slice(start, start + level.packed)
        tokens = seen[f"query_tokens_{level.name}"][0]
        maps[level.name] = np.stack([ridge_errors(tokens, operator[part]) for operator in operators])
        start += level.packed
    return maps


def _attention_map(level: Level, seen: Mapping[str, npt.NDArray[Any]], species: Sequence[Species]) -> Float64:
    if f"query_q_{level.name}" not in seen:
        raise BundleError(
            "this bundle's graph 'explain' does not give q and v, without which an attention head's errors "
            "have no places: export it again with hmdrn-export"
        )
    q, v = (seen[f"query_{kind}_{level.name}"][0] for kind in "qv")
    names = [f"{kind}_{level.name}" for kind in "kv"]
    return np.stack([attention_errors(q, v, *(support_tokens(s, name) for name in names)) for s in species])
