"""Rejection of unknown species, measured on photos."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hmdrn_calibration.open_set.background_fit import Group, simulate_galleries
from hmdrn_calibration.open_set.metrics import auroc, expected_calibration_error, fpr_at_tpr, softmax
from hmdrn_calibration.open_set.threshold_fit import (
    compute_temperature,
    compute_threshold,
    select_impostors,
)
from hmdrn_runtime.errors import DatasetError
from hmdrn_runtime.evaluation.episodes import mean_and_interval
from hmdrn_runtime.evaluation.evaluation import EpisodeSetting
from hmdrn_runtime.matching.ridge import RidgeMatcher
from hmdrn_runtime.open_set.background import Background

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RejectionResult:
    """Measures over E galleries drawn from one data set; its other species are unknown to a gallery.

    Attributes:
        far: False-accept rate asked for, 0-1.
        auroc: Of every gallery, 0-1, (E,).
        fpr95: Share of unknown photos accepted where 95 % of the known are, of every gallery (E,).
        false_accepts: Share of unknown photos accepted at the calibrated threshold (E,).
        true_accepts: Share of known photos accepted at it (E,).
        ece_before: Expected calibration error of the probabilities without temperature, over all galleries.
        ece: The same with temperature.
    """

    far: float
    auroc: Floats
    fpr95: Floats
    false_accepts: Floats
    true_accepts: Floats
    ece_before: float
    ece: float

    def to_dict(self) -> dict[str, float]:
        """Return means over galleries in percent, with half-widths of 95 % intervals; JSON-ready."""
        values = {"far": 100 * self.far, "ece_before": 100 * self.ece_before, "ece": 100 * self.ece}
        for name in ("auroc", "fpr95", "false_accepts", "true_accepts"):
            mean, interval = mean_and_interval(100 * getattr(self, name))
            values |= {name: mean, f"{name}_ci95": interval}
        return values


def evaluate_rejection(
    matcher: RidgeMatcher, group: Group, background: Background, setting: EpisodeSetting, far: float
) -> RejectionResult:
    """Measure one data set, a group of species of which `way` are known to a gallery, at a rate `far`, 0-1.

    Raises:
        DatasetError: There are too few species or photos.
    """
    members = {label: photos for label, photos in group.items() if len(photos) > setting.shot}
    if len(members) <= setting.way or setting.way < 2:
        raise DatasetError(
            f"{setting.way} known species leave none of {len(members)} unknown (species of more than "
            f"{setting.shot} photos count): choose a --way from 2 to {len(members) - 1}, or give more species"
        )
    statistics = select_impostors(background.impostors, setting.shot)
    measures: list[tuple[float, float, float, float]] = []
    answers: list[tuple[Floats, Floats, npt.NDArray[np.bool_]]] = []
    for gallery in simulate_galleries(
        matcher,
        members,
        background.operators,
        way=setting.way,
        shots=setting.shot,
        count=setting.episodes,
        rng=np.random.default_rng(setting.seed),
        queries=setting.queries,
    ):
        known, unknown, logits = gallery.known, gallery.unknown, gallery.logits
        threshold = compute_threshold(statistics, gallery.species, gallery.rivals, far)
        measures.append(
            (
                auroc(known, unknown),
                fpr_at_tpr(known, unknown),
                float((unknown >= threshold).mean()),
                float((known >= threshold).mean()),
            )
        )
        scaled = logits / compute_temperature(statistics, gallery.own)
        correct = logits.argmax(axis=1) == gallery.truth
        answers.append((softmax(logits).max(axis=1), softmax(scaled).max(axis=1), correct))
    before, after, correct = (np.concatenate(part) for part in zip(*answers, strict=True))
    roc, fpr95, false_accepts, true_accepts = np.array(measures).T
    ece_before, ece = (expected_calibration_error(p, correct) for p in (before, after))
    return RejectionResult(far, roc, fpr95, false_accepts, true_accepts, ece_before, ece)
