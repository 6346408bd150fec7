"""How well a bundle refuses species that it was not shown, measured on photographs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hmdrn_calibration.open_set.background_fit import Group, trials
from hmdrn_calibration.open_set.metrics import auroc, calibration_error, false_accepts, softmax
from hmdrn_calibration.open_set.threshold_fit import nearest_impostors, temperature, threshold
from hmdrn_runtime.errors import DatasetError
from hmdrn_runtime.evaluation.episodes import mean_and_interval
from hmdrn_runtime.evaluation.evaluation import Setting
from hmdrn_runtime.matching.ridge import RidgeMatcher
from hmdrn_runtime.open_set.background import Background

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Rejection:
    """Over galleries drawn from one data set; its species that a gallery lacks are unknown to it.

    Attributes:
        far: False-accept rate asked for, 0-1.
        auroc: Of every gallery, 0-1, (E,).
        fpr95: Share of unknown photos accepted where 95 % of the known are, of every gallery (E,).
        false_accepts: Share of unknown photos accepted at the calibrated threshold (E,).
        true_accepts: Share of known photos accepted at it (E,).
        ece_before: Expected calibration error of the probabilities without temperature, over all galleries.
        ece: The same with it.
    """

    far: float
    auroc: Floats
    fpr95: Floats
    false_accepts: Floats
    true_accepts: Floats
    ece_before: float
    ece: float

    def to_dict(self) -> dict[str, float]:
        """Means over galleries in percent, each with the half-width of its 95 % interval; JSON-ready."""
        values = {"far": 100 * self.far, "ece_before": 100 * self.ece_before, "ece": 100 * self.ece}
        for name in ("auroc", "fpr95", "false_accepts", "true_accepts"):
            mean, interval = mean_and_interval(100 * getattr(self, name))
            values |= {name: mean, f"{name}_ci95": interval}
        return values


def reject(
    matcher: RidgeMatcher, group: Group, background: Background, setting: Setting, far: float
) -> Rejection:
    """Measure one data set.

    Args:
        matcher: Of a ridge network.
        group: Statistics of its photos by species.
        background: The bundle's.
        setting: `way` species are known to a gallery, the others are not.
        far: False-accept rate to ask for, 0-1.

    Raises:
        DatasetError: There are too few species or photos.
    """
    members = {n: list(p) for n, p in group.items() if len(p) > setting.shot}
    if len(members) <= setting.way or setting.way < 2:
        raise DatasetError(
            f"{setting.way} known species leave none of {len(members)} unknown (species of more than "
            f"{setting.shot} photos count): choose a --way from 2 to {len(members) - 1}, or give more species"
        )
    statistics = nearest_impostors(background.impostors, setting.shot)
    rows: list[tuple[float, float, float, float]] = []
    sure: list[tuple[Floats, Floats, npt.NDArray[np.bool_]]] = []
    for t in trials(
        matcher,
        members,
        background.operators,
        way=setting.way,
        shots=setting.shot,
        count=setting.episodes,
        rng=np.random.default_rng(setting.seed),
        queries=setting.queries,
    ):
        least = threshold(statistics, t.species, t.own, far)
        rows.append(
            (
                auroc(t.known, t.unknown),
                false_accepts(t.known, t.unknown),
                float((t.unknown >= least).mean()),
                float((t.known >= least).mean()),
            )
        )
        plain, calm = softmax(t.logits), softmax(t.logits / temperature(statistics, t.own))
        sure.append((plain.max(axis=1), calm.max(axis=1), t.logits.argmax(axis=1) == t.truth))
    before, after, right = (np.concatenate(part) for part in zip(*sure, strict=True))
    order, at95, wrong, passed = np.array(rows).T
    return Rejection(
        far, order, at95, wrong, passed, calibration_error(before, right), calibration_error(after, right)
    )
