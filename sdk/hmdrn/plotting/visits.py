"""Pictures of visits: species by hour of the day and by day."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from hmdrn.plotting.figures import save_figure
from hmdrn.visits.statistics import VisitStatistics

MAX_SPECIES = 40
"""Most species drawn, the most frequent ones."""
MAX_DAYS = 92
"""Most days drawn, the last ones."""


def draw_visits(statistics: VisitStatistics, path: Path) -> None:
    """Draw the number of visits of each species by hour of the day, and by day.

    Args:
        statistics: Of at least one visit.
        path: The picture.

    Raises:
        HmdrnError: The picture cannot be written, or its suffix is not a picture's.
    """
    species = statistics.species[:MAX_SPECIES]
    last = max(date.fromisoformat(day) for s in species for day in s.days)
    first = min(date.fromisoformat(day) for s in species for day in s.days)
    first = max(first, last - timedelta(days=MAX_DAYS - 1))
    days = [str(first + timedelta(days=i)) for i in range((last - first).days + 1)]
    tables = (
        np.array([s.hours for s in species], float),
        np.array([[s.days.get(day, 0) for day in days] for s in species], float),
    )
    figure = Figure(figsize=(14, 1.6 + 0.32 * len(species)), layout="constrained")
    hour_axes, day_axes = figure.subplots(1, 2, sharey=True)
    for axes, table in ((hour_axes, tables[0]), (day_axes, tables[1])):
        image = axes.imshow(table, cmap="viridis", aspect="auto", vmin=0, interpolation="nearest")
        figure.colorbar(image, ax=axes, label="visits")
    hour_axes.set_yticks(range(len(species)), [f"{s.text} ({s.visits})" for s in species], fontsize=8)
    hour_axes.set_xticks(range(0, 24, 3), [f"{hour}:00" for hour in range(0, 24, 3)], fontsize=8)
    hour_axes.set_title("by hour of the day")
    step = max(1, len(days) // 8)
    day_axes.set_xticks(range(0, len(days), step), days[::step], fontsize=8, rotation=30)
    day_axes.set_title("by day")
    save_figure(figure, path)
