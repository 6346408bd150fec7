"""The picture of a profile shows all of every bar, and hides none behind its legend."""

from __future__ import annotations

import numpy as np
import pytest

from hmdrn_runtime.profiling.conditions import Watch
from hmdrn_runtime.profiling.latency import Latency
from hmdrn_runtime.profiling.result import Profile
from hmdrn_runtime.profiling.stages import Stages

pytest.importorskip("matplotlib", reason="needs matplotlib: the extra plots")


def stages(**seconds: list[float]) -> Stages:
    times = {name: np.array(one) for name, one in seconds.items()}
    total = np.sum(list(times.values()), axis=0)
    return Stages({name: Latency.of(one) for name, one in times.items()}, Latency.of(total), total)


def test_the_bars_lie_within_the_axes_and_the_legend_outside(monkeypatch, tmp_path):
    from hmdrn.plotting import profile as profile_picture

    figures = []
    monkeypatch.setattr(profile_picture, "save_figure", lambda figure, path: figures.append(figure))
    # Of the frame the mean is far above the p90: one call in twelve was very late.
    late = [0.001] * 11 + [0.5]
    sources = {"jpeg": stages(preprocessing=[0.002] * 12), "frame": stages(preprocessing=late, answer=late)}
    profile_picture.draw_profile(Profile(Watch().conditions(), 5, sources), "title", tmp_path / "p.png")
    (figure,) = figures
    figure.draw_without_rendering()
    axes = figure.axes[0]
    ends = [bar.get_x() + bar.get_width() for bar in axes.patches]
    assert max(ends) == pytest.approx(sources["frame"].total.mean)
    assert max(ends) < axes.get_xlim()[1]
    legend = axes.get_legend().get_window_extent()
    assert legend.y1 < axes.get_window_extent().y0
    assert legend.y0 >= 0
