"""Choices that are measured: the range method, what each layer costs, which layers stay FP32."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from onnx import numpy_helper

from hmdrn_calibration.quantization.calibration_data import Report
from hmdrn_calibration.quantization.experiment import Ranges, Workbench
from hmdrn_calibration.quantization.layers import all_layers, layers_of
from hmdrn_calibration.quantization.paired_trials import Outcome, Trial
from hmdrn_calibration.quantization.qdq_placement import DIALECTS, ORT, Dialect
from hmdrn_calibration.quantization.ranges import METHODS
from hmdrn_calibration.quantization.report import Budget, Drop, LayerCost, MethodScore
from hmdrn_runtime.evaluation.evaluation import Evaluation, difference


def choose_methods(
    bench: Workbench, trial: Trial, reference: Outcome, report: Report
) -> tuple[MethodScore, ...]:
    """Try every range method with all layers quantised.

    Accuracy decides; between methods that it cannot tell from the best, the error of distances does.
    """
    scores: list[MethodScore] = []
    total = len(DIALECTS) * len(METHODS)
    for dialect in DIALECTS:
        outcomes: dict[str, Outcome] = {}
        for method in METHODS:
            report("comparing range methods", len(scores) + len(outcomes), total)
            outcomes[method] = trial.run(bench.candidate(dialect, bench.ranges(method, dialect)))
        errors = {method: outcome.distance_error(reference) for method, outcome in outcomes.items()}
        best = max(outcomes.values(), key=lambda outcome: outcome.accuracy)
        # Down to the least accurate of those that cannot be told from the best: intervals differ in width,
        # and nothing may win over a method that is both more accurate and closer.
        floor = min(outcome.accuracy for outcome in outcomes.values() if _indistinguishable(outcome, best))
        as_good = [method for method, outcome in outcomes.items() if outcome.accuracy >= floor]
        chosen = min(as_good, key=errors.__getitem__)
        scores += [
            MethodScore(dialect.variant, method, outcome.accuracy, errors[method], method == chosen)
            for method, outcome in outcomes.items()
        ]
    report("comparing range methods", total, total)
    return tuple(scores)


def _indistinguishable(outcome: Outcome, best: Outcome) -> bool:
    points, interval = outcome.lost(best)
    return points <= interval


def chosen_ranges(bench: Workbench, methods: Sequence[MethodScore]) -> dict[Dialect, Ranges]:
    """Ranges of every placement by its chosen method."""
    method = {score.variant: score.method for score in methods if score.chosen}
    return {dialect: bench.ranges(method[dialect.variant], dialect) for dialect in DIALECTS}


def layer_costs(
    bench: Workbench, trial: Trial, reference: Outcome, ranges: Ranges, report: Report
) -> tuple[LayerCost, ...]:
    """Quantise each layer alone, as ONNX Runtime computes it, and see what it costs."""
    layers = all_layers(bench.models)
    weights = _weights(bench)
    costs = []
    for done, layer in enumerate(layers):
        report("measuring layers", done, len(layers))
        outcome = trial.run(bench.candidate(ORT, ranges, [other for other in layers if other != layer]))
        drop, ci95 = outcome.lost(reference)
        costs.append(
            LayerCost(layer, weights[layer], outcome.distance_error(reference), drop, ci95, kept=False)
        )
    report("measuring layers", len(layers), len(layers))
    return tuple(costs)


def drops(
    bench: Workbench,
    ranges: Mapping[Dialect, Ranges],
    kept: Sequence[str],
    reference: Sequence[Evaluation],
    episodes: int,
    report: Report,
) -> tuple[Drop, ...]:
    """Accuracy of both variants against FP32 with some layers kept in FP32."""
    found = []
    for dialect in DIALECTS:
        evaluations = bench.evaluate(bench.candidate(dialect, ranges[dialect], kept), episodes, report)
        for fp32, int8 in zip(reference, evaluations, strict=True):
            change = difference(fp32, int8)
            s = int8.setting
            found.append(
                Drop(
                    *(dialect.variant, s.way, s.shot, s.queries, s.episodes, fp32.accuracy, int8.accuracy),
                    *(change.points, change.ci95, _executor(int8, dialect)),
                )
            )
    return tuple(found)


def keep_until(
    budget: Budget,
    costs: Callable[[], Sequence[LayerCost]],
    measure: Callable[[Sequence[str]], tuple[Drop, ...]],
) -> tuple[tuple[str, ...], tuple[Drop, ...]]:
    """Keep the layers that cost most in FP32, one after another, until the budget holds.

    Args:
        budget: What is allowed.
        costs: Gives the layers' costs; not asked if all layers can be quantised.
        measure: Accuracy with some layers kept.

    Returns:
        The layers kept, and the accuracy with them; past `budget.max_kept` whether the budget holds or not.
    """
    kept: tuple[str, ...] = ()
    found = measure(kept)
    if all(drop.within(budget) for drop in found):
        return kept, found
    ranked = sorted(costs(), key=lambda cost: -cost.distance_error)
    for cost in ranked[: int(budget.max_kept * len(ranked))]:
        kept = (*kept, cost.layer)
        found = measure(kept)
        if all(drop.within(budget) for drop in found):
            break
    return kept, found


def _executor(evaluation: Evaluation, dialect: Dialect) -> str:
    how = "integer kernels" if dialect is ORT else "Q/DQ rounding, float32 products"
    return f"{evaluation.executor}, {how}"


def _weights(bench: Workbench) -> dict[str, int]:
    """Number of weights of every layer."""
    sizes: dict[str, int] = {}
    for model in bench.models.values():
        arrays = {w.name: w for w in model.graph.initializer}
        nodes = {node.name: node for node in model.graph.node}
        for node, layer in layers_of(model.graph).items():
            sizes[layer] = int(numpy_helper.to_array(arrays[nodes[node].input[1]]).size)
    return sizes
