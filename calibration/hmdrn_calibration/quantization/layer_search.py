"""Measured choices: the range method, the cost of each layer, the layers that stay FP32."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from hmdrn_calibration.quantization.experiment import QuantizationExperiment, Ranges
from hmdrn_calibration.quantization.layers import find_layers, list_layers
from hmdrn_calibration.quantization.paired_trials import PairedTrial, TrialOutcome
from hmdrn_calibration.quantization.qdq_placement import ORT, Dialect
from hmdrn_calibration.quantization.ranges import METHODS
from hmdrn_calibration.quantization.report import AccuracyDrop, Budget, LayerCost, MethodScore
from hmdrn_runtime.evaluation.evaluation import Evaluation, compare_accuracy
from hmdrn_runtime.progress import ProgressCallback


def choose_methods(
    experiment: QuantizationExperiment,
    trial: PairedTrial,
    reference: TrialOutcome,
    dialects: Sequence[Dialect],
    report: ProgressCallback,
) -> tuple[tuple[MethodScore, ...], dict[Dialect, Ranges]]:
    """Try every range method with all layers quantized.

    Accuracy decides; among methods that it cannot distinguish from the best, the error of distances does.

    Returns:
        The scores of all methods, and the ranges of every placement by its chosen method.
    """
    scores: list[MethodScore] = []
    chosen_ranges: dict[Dialect, Ranges] = {}
    total = len(dialects) * len(METHODS)
    for dialect in dialects:
        ranges = {method: experiment.compute_ranges(method, dialect) for method in METHODS}
        outcomes: dict[str, TrialOutcome] = {}
        for method in METHODS:
            report("comparing range methods", len(scores) + len(outcomes), total)
            outcomes[method] = trial.run(experiment.make_candidate(dialect, ranges[method]))
        errors = {method: outcome.distance_error(reference) for method, outcome in outcomes.items()}
        best = max(outcomes.values(), key=lambda outcome: outcome.accuracy)
        drops = {method: outcome.accuracy_drop(best) for method, outcome in outcomes.items()}
        # Down to the least accurate of those that are indistinguishable from the best: intervals differ in
        # width, and nothing may win over a method that is both more accurate and closer.
        floor = min(outcomes[method].accuracy for method, (drop, ci95) in drops.items() if drop <= ci95)
        as_good = [method for method, outcome in outcomes.items() if outcome.accuracy >= floor]
        chosen = min(as_good, key=errors.__getitem__)
        chosen_ranges[dialect] = ranges[chosen]
        scores += [
            MethodScore(dialect.variant, method, outcome.accuracy, errors[method], method == chosen)
            for method, outcome in outcomes.items()
        ]
    report("comparing range methods", total, total)
    return tuple(scores), chosen_ranges


def measure_layer_costs(
    experiment: QuantizationExperiment,
    trial: PairedTrial,
    reference: TrialOutcome,
    ranges: Ranges,
    report: ProgressCallback,
) -> tuple[LayerCost, ...]:
    """Measure what quantizing each layer alone costs, as ONNX Runtime computes it."""
    layers = list_layers(experiment.models)
    weights = _count_weights(experiment)
    costs = []
    for done, layer in enumerate(layers):
        report("measuring layers", done, len(layers))
        others = [other for other in layers if other != layer]
        outcome = trial.run(experiment.make_candidate(ORT, ranges, others))
        drop, ci95 = outcome.accuracy_drop(reference)
        costs.append(
            LayerCost(layer, weights[layer], outcome.distance_error(reference), drop, ci95, kept=False)
        )
    report("measuring layers", len(layers), len(layers))
    return tuple(costs)


def measure_drops(
    experiment: QuantizationExperiment,
    ranges: Mapping[Dialect, Ranges],
    float32_layers: Sequence[str],
    reference: Sequence[Evaluation],
    episodes: int,
    report: ProgressCallback,
) -> tuple[AccuracyDrop, ...]:
    """Measure the accuracy of the variants against FP32 with some layers kept in FP32."""
    drops = []
    for dialect in ranges:
        candidate = experiment.make_candidate(dialect, ranges[dialect], float32_layers)
        kernels = "integer kernels" if dialect is ORT else "Q/DQ rounding, float32 products"
        for fp32, int8 in zip(reference, experiment.evaluate(candidate, episodes, report), strict=True):
            difference = compare_accuracy(fp32, int8)
            drops.append(
                AccuracyDrop(
                    variant=dialect.variant,
                    way=int8.setting.way,
                    shot=int8.setting.shot,
                    queries=int8.setting.queries,
                    episodes=int8.setting.episodes,
                    fp32_accuracy=fp32.accuracy,
                    accuracy=int8.accuracy,
                    drop=difference.points,
                    ci95=difference.ci95,
                    executor=f"{int8.executor}, {kernels}",
                )
            )
    return tuple(drops)


def search_float32_layers(
    budget: Budget,
    costs: Callable[[], Sequence[LayerCost]],
    measure: Callable[[Sequence[str]], tuple[AccuracyDrop, ...]],
) -> tuple[tuple[str, ...], tuple[AccuracyDrop, ...]]:
    """Keep the costliest layers in FP32, one after another, until the budget holds.

    Args:
        budget: The accuracy budget.
        costs: Returns the layers' costs; not called if all layers can be quantized.
        measure: Returns the accuracy with some layers kept.

    Returns:
        The layers kept, and the accuracy with them; after `budget.max_kept` even if the budget does not hold.
    """
    layers: tuple[str, ...] = ()
    drops = measure(layers)
    if all(drop.within(budget) for drop in drops):
        return layers, drops
    ranked = sorted(costs(), key=lambda cost: -cost.distance_error)
    for cost in ranked[: int(budget.max_kept * len(ranked))]:
        layers = (*layers, cost.layer)
        drops = measure(layers)
        if all(drop.within(budget) for drop in drops):
            break
    return layers, drops


def _count_weights(experiment: QuantizationExperiment) -> dict[str, int]:
    """Count the weights of every layer."""
    sizes: dict[str, int] = {}
    for model in experiment.models.values():
        shapes = {weight.name: weight.dims for weight in model.graph.initializer}
        layers = find_layers(model.graph)
        sizes |= {
            layers[node.name]: math.prod(shapes[node.input[1]])
            for node in model.graph.node
            if node.name in layers
        }
    return sizes
