"""A profile as a picture: the stages of a classification, and latency against species."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from hmdrn.plotting.figures import save_figure
from hmdrn_runtime.profiling.result import Profile
from hmdrn_runtime.profiling.stages import STAGES


def draw_profile(profile: Profile, title: str, path: Path) -> None:
    """Stacked mean stages of every source beside their p90, and latency against the number of species.

    Raises:
        HmdrnError: The picture cannot be written.
    """
    figure = Figure(figsize=(11, 4), layout="constrained")
    stages, species = figure.subplots(1, 2)
    sources = list(profile.stages)
    left = [0.0] * len(sources)
    for name in STAGES:
        found = [profile.stages[source].stages.get(name) for source in sources]
        widths = [0.0 if one is None else one.mean for one in found]
        if any(found):
            stages.barh(sources, widths, left=left, label=name)
            left = [start + width for start, width in zip(left, widths, strict=True)]
    totals = [profile.stages[source].total for source in sources]
    stages.plot([one.p90 for one in totals], sources, "k|", markersize=24, label="p90 of the total")
    stages.invert_yaxis()
    longest = max([*left, *(one.p90 for one in totals)], default=1.0)
    stages.set_xlim(0, 1.05 * longest)
    stages.set_xlabel("ms")
    stages.set_title("from photo to prediction, means")
    counts = [point.value for point in profile.by_species]
    for name in ("p50", "p90"):
        species.plot(counts, [getattr(point.latency, name) for point in profile.by_species], "o-", label=name)
    if counts:
        species.set_xscale("log")
        species.set_xticks(counts, [str(count) for count in counts])
        species.minorticks_off()
    species.set_ylim(bottom=0)
    species.set_xlabel("species")
    species.set_ylabel("ms")
    species.set_title("one prepared photo")
    if sources:
        # Below the axes, where it hides no bar.
        stages.legend(fontsize=7, markerscale=0.3, loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=3)
    if counts:
        species.legend(fontsize=7, loc="lower right")
    figure.suptitle(title, fontsize=9)
    save_figure(figure, path)
