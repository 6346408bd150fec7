"""Results of the ablation: tables, a page of Markdown, a figure and JSON.

`results.json`, schema `hmdrn.ablation/1`:

    settings      backbone, training, preprocessing, evaluation {group: [[way, shot, queries, episodes]]},
                  data (digest and classes of every data set), evaluated_pixels_sha256
    seeds         training seeds; the evaluation episodes have the same seed
    variants      {name: description}
    versions      of Python and of the packages
    accuracies    {variant, group, shot, mean, ci95, by_seed, seed_spread}, in percent
    differences   the same for `full` minus the variant, paired by episode, in points
    claims        {claim, variant, shot, verdict, mean, ci95, by_seed, seed_spread} of the differences over
                  all groups
    episodes      {variant, seed, group, way, shot, queries, accuracies}, one accuracy 0-1 per episode

Intervals are over the episodes of all seeds together; `seed_spread` is the standard deviation between the
seeds' means, null for a single seed.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure as Canvas

from benchmarks.ablation.experiment import Outcome
from benchmarks.ablation.summary import ALL_GROUPS, Figure, Summary
from benchmarks.ablation.variants import FULL, VARIANTS
from hmdrn.plotting.figures import save_figure

Table = tuple[str, list[str], list[list[str]]]
"""Title, columns and rows."""


def build_results(
    summary: Summary, outcomes: Mapping[str, Sequence[Outcome]], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the contents of `results.json`, without its schema."""
    groups = [(group, shot) for group in (ALL_GROUPS, *summary.groups) for shot in summary.shots]
    places = [(variant, group, shot) for variant in summary.variants for group, shot in groups]

    def list_figures(compute: Any, variants: set[str]) -> list[dict[str, Any]]:
        return [
            {"variant": variant, "group": group, "shot": shot, **figure.to_dict()}
            for variant, group, shot in places
            if variant in variants and (figure := compute(variant, group, shot)) is not None
        ]

    return {
        "settings": dict(settings),
        "seeds": list(range(len(outcomes[FULL]))),
        "variants": {name: VARIANTS[name].description for name in summary.variants},
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in ("hmdrn", "torch", "numpy", "pillow")},
        },
        "accuracies": list_figures(summary.accuracy, set(summary.variants)),
        "differences": list_figures(summary.gain, set(summary.variants) - {FULL}),
        "claims": [
            {"claim": claim, "variant": variant, "shot": shot, "verdict": gain.verdict, **gain.to_dict()}
            for claim, variant, shot, gain in summary.claims()
        ],
        "episodes": [
            {"variant": variant, "seed": seed, **entry}
            for variant, by_seed in outcomes.items()
            for seed, outcome in enumerate(by_seed)
            for entry in outcome
        ],
    }


def build_tables(summary: Summary) -> list[Table]:
    """Return accuracies and differences over all groups, then for each group."""
    shots = summary.shots
    columns = [
        "variant",
        *(f"{_format_shots(s)}, %" for s in shots),
        *(f"full minus it, {_format_shots(s)}" for s in shots),
    ]
    return [
        (
            group,
            columns,
            [
                [
                    variant,
                    *(_format_accuracy(summary.accuracy(variant, group, s)) for s in shots),
                    *(
                        "" if variant == FULL else _format_points(summary.gain(variant, group, s))
                        for s in shots
                    ),
                ]
                for variant in summary.variants
            ],
        )
        for group in (ALL_GROUPS, *summary.groups)
    ]


def format_verdicts(summary: Summary) -> list[str]:
    """Return a sentence of Markdown for each claim and variant."""
    sentences: dict[tuple[str, str], list[str]] = {}
    for claim, variant, shot, gain in summary.claims():
        text = f"{_format_shots(shot)} **{gain.verdict}** ({_format_points(gain)} points"
        if gain.spread is not None:
            text += "; by seed " + ", ".join(f"{mean:+.2f}" for mean in gain.by_seed)
        sentences.setdefault((claim, variant), []).append(text + ")")
    return [
        f"{claim} (`full` against `{variant}`): {', '.join(parts)}."
        for (claim, variant), parts in sentences.items()
    ]


def format_markdown(summary: Summary, settings: Mapping[str, Any], seeds: int) -> str:
    """Return the page `results.md`."""
    lines = [
        "# Ablation of HMDRN",
        "",
        *_describe_protocol(settings, seeds),
        *(f"- `{name}`: {VARIANTS[name].description}" for name in summary.variants),
        "",
        "## The paper's claims",
        "",
        "Confirmed: the interval of the difference over all groups lies above 0. Contradicted: below. "
        "Undecided: 0 is in it.",
        "",
        *(f"- {sentence}" for sentence in format_verdicts(summary)),
    ]
    for title, columns, rows in build_tables(summary):
        lines += ["", f"## {title[0].upper()}{title[1:]}", "", _format_row(columns)]
        lines += [_format_row(["---", *["---:"] * (len(columns) - 1)]), *map(_format_row, rows)]
    return "\n".join(lines) + "\n"


def _describe_protocol(settings: Mapping[str, Any], seeds: int) -> list[str]:
    """Describe the protocol in lines of Markdown: paragraphs, each followed by an empty line."""
    training = settings["training"]
    start = (
        f"Every variant has the backbone and the projections of one checkpoint ({settings['start'][:12]}); "
        "the backbone stays as it is."
        if "start" in settings
        else f"For every seed the backbone is pre-trained once, by {training['pretrain_steps']} steps of "
        "classification on its mean-pooled high level, and every variant starts from it."
    )
    return [
        f"Backbone {settings['backbone']}; seeds: {seeds}. {start} Each then trains on "
        f"the same {training['episodes']} episodes ({training['way']}-way, 1 to "
        f"{training['max_shot']} shots, {training['queries']} queries a class) "
        "with the same settings. Its last weights are evaluated; none are chosen by validation.",
        "",
        "Evaluated on classes that were not trained on, by the same episodes for all variants of a seed:",
        "",
        *(
            f"- {group}, {way}-way, {_format_shots(shot)}, {queries} queries a class: {episodes} episodes"
            for group, drawn in settings["evaluation"].items()
            for way, shot, queries, episodes in drawn
        ),
        "",
        "± is the half-width of the 95 % interval over the episodes of all seeds: the uncertainty of "
        "measuring these networks. The differences by seed show how much training itself varies. "
        "Differences are paired by episode.",
        "",
    ]


def draw_figure(summary: Summary, path: Path) -> None:
    """Draw accuracies with their intervals, by variant and number of shots.

    Raises:
        HmdrnError: The figure cannot be written.
    """
    groups = (ALL_GROUPS, *summary.groups)
    canvas = Canvas(
        figsize=(3.2 * len(groups) + 1.5, 0.4 * len(summary.variants) + 1.6), layout="constrained"
    )
    panels = canvas.subplots(1, len(groups), squeeze=False, sharey=True)[0]
    for axes, group in zip(panels, groups, strict=True):
        for shot in summary.shots:
            figures = [summary.accuracy(variant, group, shot) for variant in summary.variants]
            points = [(row, figure) for row, figure in enumerate(figures) if figure is not None]
            axes.errorbar(
                [figure.mean for _, figure in points],
                [row for row, _ in points],
                xerr=[figure.ci95 for _, figure in points],
                fmt="o",
                markersize=4,
                capsize=3,
                label=_format_shots(shot),
            )
        axes.set_title(group, fontsize=9)
        axes.set_xlabel("accuracy, %")
        axes.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(range(len(summary.variants)), summary.variants)
    panels[0].invert_yaxis()
    panels[0].legend(fontsize=7)
    save_figure(canvas, path)


def _format_accuracy(figure: Figure | None) -> str:
    return "" if figure is None else f"{figure.mean:.2f} ± {figure.ci95:.2f}"


def _format_points(figure: Figure | None) -> str:
    return "" if figure is None else f"{figure.mean:+.2f} ± {figure.ci95:.2f}"


def _format_shots(shot: int) -> str:
    return f"{shot} shot{'s' if shot > 1 else ''}"


def _format_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
