"""Background species: stand-ins for unknown species, never predicted themselves.

A photo is known if an enrolled species explains it better than the background species do, by the soft maximum
of their logits: cohort normalization from speaker verification (Sturim and Reynolds, ICASSP 2005), with the
energy of Liu et al. (NeurIPS 2020) in place of a mean. The margin is fitted by
`hmdrn_calibration.open_set.threshold_fit`; this module applies it on the device.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from hmdrn_runtime.bundle.bundle import Bundle
from hmdrn_runtime.errors import BundleError
from hmdrn_runtime.gallery.photo_statistics import Float32
from hmdrn_runtime.io.json_document import JsonObject

FILE = "background.safetensors"
SOFTNESS = 2.0
"""Temperature of the soft maximum over background species; toward 0 only the best counts: less steady."""

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RivalScores:
    """Scores of a gallery's photos for the best of its other species: strangers that look alike score so too.

    Attributes:
        mean: Their mean.
        spread: Their standard deviation.
    """

    mean: float
    spread: float


@dataclass(frozen=True)
class ImpostorStatistics:
    """Scores of photos of unknown species, in galleries with a given number of photos per species.

    Attributes:
        shots: Photos per species.
        own: Mean leave-one-out score of a gallery's photos for their own species; 0 for one photo.
        rivals: Mean and spread of the scores of a gallery's photos for the best other species.
        bounds: By false-accept rate, ascending, the threshold's coefficients, in spreads above that mean: a
            constant, and one for the inverse of the number of species less one.
        temperature: Coefficients of the logarithm of the temperature, which makes probabilities honest: a
            constant, and one for the gallery's own mean score.
    """

    shots: int
    own: float
    rivals: RivalScores
    bounds: Mapping[float, tuple[float, float]]
    temperature: tuple[float, float]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return {
            "shots": self.shots,
            "own": self.own,
            "rivals": [self.rivals.mean, self.rivals.spread],
            "bounds": [[far, *bound] for far, bound in self.bounds.items()],
            "temperature": list(self.temperature),
        }


@dataclass(frozen=True, eq=False)
class Background:
    """The background species of a bundle, and the statistics of unknown photos.

    Attributes:
        operators: Packed operators of background species, float32 (N, P); not empty.
        impostors: By photos per species, ascending.
        provenance: The photographs that it was made of.
    """

    operators: Float32
    impostors: tuple[ImpostorStatistics, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the operators in half precision, as in the bundle; scores depend on nothing else."""
        return hashlib.sha256(self.operators.astype("<f2").tobytes()).hexdigest()

    def to_bytes(self) -> bytes:
        """Return the content of the file beside the manifest, in half precision."""
        return save({"operator": self.operators.astype(np.float16)})

    def to_dict(self) -> dict[str, Any]:
        """Return the manifest's entry `model.background`."""
        return {
            "species": len(self.operators),
            "impostors": [statistics.to_dict() for statistics in self.impostors],
            "provenance": dict(self.provenance),
        }


def open_background(bundle: Bundle) -> Background | None:
    """Read a bundle's background; None if it has none.

    Raises:
        BundleError: It is damaged.
    """
    if "background" not in bundle.manifest.model or FILE not in bundle.manifest.files:
        return None
    where = f"the background of {bundle.path}"
    document = JsonObject(bundle.manifest.model, where, BundleError).child("background")
    try:
        operators = load((bundle.path / FILE).read_bytes())["operator"].astype(np.float32)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise BundleError(f"{where} cannot be read: export the bundle again") from error
    expected = (document.get("species", int), bundle.manifest.network.packed)
    if operators.shape != expected or not len(operators) or not np.isfinite(operators).all():
        raise BundleError(f"{where} is damaged: no finite operators of shape {expected}; export it again")
    impostors = tuple(_read_impostors(entry) for entry in document.objects("impostors"))
    if not impostors:
        raise BundleError(f"{where} is damaged: it has no impostor statistics; export it again")
    return Background(operators, impostors, document.get("provenance", dict))


def _read_impostors(document: JsonObject) -> ImpostorStatistics:
    try:
        rows = np.array(document.get("bounds", list), float).reshape(-1, 3)
        rivals = np.array(document.get("rivals", list), float).reshape(2)
        temperature = np.array(document.get("temperature", list), float).reshape(2)
    except (TypeError, ValueError) as error:
        raise document.error(
            f"{document.where} is damaged: bad shape of 'bounds', 'rivals' or 'temperature'; export it again"
        ) from error
    own = document.get("own", float)
    if not len(rows) or not all(np.isfinite(part).all() for part in (rows, rivals, temperature, own)):
        raise document.error(f"{document.where} is damaged: no bounds, or not finite; export it again")
    bounds = {far: (constant, inverse) for far, constant, inverse in sorted(rows.tolist())}
    first, second = temperature.tolist()
    scores = RivalScores(*rivals.tolist())
    return ImpostorStatistics(document.get("shots", int), own, scores, bounds, (first, second))


def known_scores(logits: npt.NDArray[np.floating], background: npt.NDArray[np.floating]) -> Float64:
    """Return the best enrolled logit (B, C) less the background logits' soft maximum (B, N), as (B,).

    Higher scores are more surely known.
    """
    best: Float64 = logits.max(axis=1).astype(np.float64)
    return best - soft_maximum(background)


def soft_maximum(background: npt.NDArray[np.floating]) -> Float64:
    """Return T log sum exp(logit / T) over background species, T = `SOFTNESS`, (B, N) to (B,)."""
    scaled = background.astype(np.float64) / SOFTNESS
    best = scaled.max(axis=1)
    return np.asarray(SOFTNESS * (best + np.log(np.exp(scaled - best[:, None]).sum(axis=1))))
