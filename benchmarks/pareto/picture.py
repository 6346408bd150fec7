"""Picture of accuracy against time and size."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from hmdrn.plotting.figures import save_figure


def draw_pareto(models: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw mean accuracy over all groups, 1-shot, against ms (where measured) and MB, with the frontiers.

    Args:
        models: Entries of the benchmark's JSON.
        path: Picture to write.
    """
    timed = all(model["ms"] is not None for model in models)
    figure = Figure(figsize=(11 if timed else 6, 4.5), layout="constrained")
    panels = figure.subplots(1, 2 if timed else 1, sharey=True, squeeze=False)[0]
    accuracies = [_mean_accuracy(model) for model in models]
    costs = [[model["bytes"] / 1e6 for model in models]]
    if timed:
        costs.insert(0, [model["ms"] for model in models])
    labels = ["ms per photo, one core", "MB on the device"][-len(costs) :]
    for axes, values, label in zip(panels, costs, labels, strict=True):
        for model, cost, accuracy in zip(models, values, accuracies, strict=True):
            axes.scatter(cost, accuracy, color="tab:green" if model["ours"] else "tab:gray", zorder=3)
        for index, height in enumerate(spread_labels(accuracies, 0.03 * (max(accuracies) - min(accuracies)))):
            name = models[index]["name"].removeprefix("hmdrn ")
            axes.annotate(name, (values[index], height), (7, -2), textcoords="offset points", fontsize=7)
        best = find_frontier(values, accuracies)
        axes.plot([values[i] for i in best], [accuracies[i] for i in best], color="tab:green", alpha=0.4)
        axes.set_xlabel(label)
        axes.set_xlim(0, 2.0 * max(values))  # room for the names
        axes.grid(alpha=0.2)
    panels[0].set_ylabel("accuracy, 5-way 1-shot, mean of the groups, %")
    save_figure(figure, path)


def spread_labels(heights: Sequence[float], gap: float) -> list[float]:
    """Return heights at least `gap` apart, in the same order, as near to their own as those below allow."""
    placed = list(heights)
    order = np.argsort(heights, kind="stable")
    for below, above in pairwise(order):
        placed[above] = max(placed[above], placed[below] + gap)
    return placed


def find_frontier(costs: Sequence[float], accuracies: Sequence[float]) -> list[int]:
    """Return the indices of models that no other beats in cost and accuracy at once, by rising cost."""
    frontier: list[int] = []
    for index in np.lexsort((-np.asarray(accuracies), np.asarray(costs))):
        if not frontier or accuracies[index] > accuracies[frontier[-1]]:
            frontier.append(int(index))
    return frontier


def _mean_accuracy(model: dict[str, Any]) -> float:
    fewest = min(entry["shot"] for entry in model["accuracies"])
    return float(np.mean([e["accuracy"] for e in model["accuracies"] if e["shot"] == fewest]))
