"""Background species: what an unknown may be. They compete with the enrolled ones and are never named.

A photo is known if an enrolled species explains it better than the background species that do best: the
cohort normalisation of speaker verification (adaptive T-norm: Sturim and Reynolds, ICASSP 2005). How much
better is calibrated by `hmdrn_calibration.open_set.threshold_fit`; this
module applies it on the device.
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
COHORT = 10
"""Background species that a photo's score is relative to: the mean of the best few is steadier than one."""

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Impostors:
    """How photos of species that are not enrolled score, in galleries of a number of photos a species.

    Attributes:
        shots: Photos a species.
        own: Mean score of a gallery's photos for their own species, each left out of it; 0 for one photo.
        bounds: By false-accept rate, ascending: what to add up for the threshold, a constant, for each unit
            of the logarithm of the number of species, and for each of the gallery's own mean score.
        temperature: Logarithm of what divides logits, so that probabilities come true: a constant, and for
            each unit of the gallery's own mean score.
    """

    shots: int
    own: float
    bounds: Mapping[float, tuple[float, float, float]]
    temperature: tuple[float, float]

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary."""
        return {
            "shots": self.shots,
            "own": self.own,
            "bounds": [[far, *bound] for far, bound in self.bounds.items()],
            "temperature": list(self.temperature),
        }


@dataclass(frozen=True, eq=False)
class Background:
    """What a bundle knows of species in general.

    Attributes:
        operators: Packed operators of background species, float32 (N, P); not empty.
        impostors: By photos a species, ascending.
        provenance: Of which photographs it was made.
    """

    operators: Float32
    impostors: tuple[Impostors, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the operators in half precision, as in the bundle: scores depend on them alone."""
        return hashlib.sha256(self.operators.astype("<f2").tobytes()).hexdigest()

    def to_bytes(self) -> bytes:
        """The file beside the manifest; half precision serves, and halves it."""
        return save({"operator": self.operators.astype(np.float16)})

    def to_dict(self) -> dict[str, Any]:
        """The manifest's entry `model.background`."""
        return {
            "species": len(self.operators),
            "impostors": [one.to_dict() for one in self.impostors],
            "provenance": dict(self.provenance),
        }


def open_background(bundle: Bundle) -> Background | None:
    """The background that came with a bundle; None where there is none.

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
    impostors = tuple(_impostors(one) for one in document.items("impostors"))
    if not impostors:
        raise BundleError(f"{where} is damaged: it has no impostor statistics; export it again")
    return Background(operators, impostors, document.get("provenance", dict))


def _impostors(document: JsonObject) -> Impostors:
    try:
        rows = np.array(document.get("bounds", list), float).reshape(-1, 4)
        temperature = np.array(document.get("temperature", list), float).reshape(2)
    except (TypeError, ValueError) as error:
        raise document.error(
            f"{document.where} is damaged or of an older form: 'bounds' or 'temperature' are not as "
            "they should be; export it again"
        ) from error
    own = document.get("own", float)
    if not len(rows) or not all(np.isfinite(part).all() for part in (rows, temperature, own)):
        raise document.error(f"{document.where} is damaged: no bounds, or not finite; export it again")
    bounds = {far: (constant, species, per) for far, constant, species, per in sorted(rows.tolist())}
    first, second = temperature.tolist()
    return Impostors(document.get("shots", int), own, bounds, (first, second))


def scores(logits: npt.NDArray[np.floating], background: npt.NDArray[np.floating]) -> Float64:
    """How much better the best enrolled species explains photos than the best background species.

    Args:
        logits: For the enrolled species (B, C).
        background: For the background species (B, N).

    Returns:
        (B,); higher is more surely known.
    """
    best: Float64 = logits.max(axis=1).astype(np.float64)
    return best - cohort(background)


def cohort(background: npt.NDArray[np.floating]) -> Float64:
    """Mean logit of the background species that explain a photo best, (B, N) to (B,)."""
    kept = min(COHORT, background.shape[1])
    best = np.partition(background.astype(np.float64), -kept, axis=1)[:, -kept:]
    return np.asarray(best.mean(axis=1))
