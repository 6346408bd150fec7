"""The results for people and for programs: tables, a page of Markdown, a picture and JSON.

`results.json`, schema `hmdrn.ablation/1`:

    settings      backbone, training, preprocessing, evaluation {group: [[way, shot, queries, episodes]]},
                  data (digest and classes of every data set), evaluated_pixels_sha256
    seeds         of training; the episodes of evaluation are of the same seed
    variants      {name: description}
    versions      of Python and of the packages
    accuracies    {variant, group, shot, mean, ci95, by_seed, seed_spread}, in percent
    differences   the same of `full` minus the variant, paired by episode, in points
    claims        {claim, variant, shot, verdict, mean, ci95, by_seed, seed_spread} of the differences over
                  all groups
    episodes      {variant, seed, group, way, shot, queries, accuracies}, an accuracy of 0-1 for each episode

An interval is over episodes, those of all seeds together; `seed_spread` is the standard deviation between
the seeds' means, null of a single seed.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure as Picture

from benchmarks.ablation.experiment import Outcome
from benchmarks.ablation.summary import ALL_GROUPS, Figure, Summary
from benchmarks.ablation.variants import FULL, VARIANTS
from hmdrn.plotting.figures import save_figure

Table = tuple[str, list[str], list[list[str]]]
"""Title, columns and rows."""


def values(
    summary: Summary, outcomes: Mapping[str, Sequence[Outcome]], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """What `results.json` holds, but for its schema."""
    groups = [(group, shot) for group in (ALL_GROUPS, *summary.groups) for shot in summary.shots]
    places = [(variant, group, shot) for variant in summary.variants for group, shot in groups]

    def figures(of: Any, variants: set[str]) -> list[dict[str, Any]]:
        return [
            {"variant": variant, "group": group, "shot": shot, **figure.to_dict()}
            for variant, group, shot in places
            if variant in variants and (figure := of(variant, group, shot)) is not None
        ]

    return {
        "settings": dict(settings),
        "seeds": list(range(len(outcomes[FULL]))),
        "variants": {name: VARIANTS[name].description for name in summary.variants},
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in ("hmdrn", "torch", "numpy", "pillow")},
        },
        "accuracies": figures(summary.accuracy, set(summary.variants)),
        "differences": figures(summary.gain, set(summary.variants) - {FULL}),
        "claims": [
            {"claim": claim, "variant": variant, "shot": shot, "verdict": gain.verdict, **gain.to_dict()}
            for claim, variant, shot, gain in summary.claims()
        ],
        "episodes": [
            {"variant": variant, "seed": seed, **one}
            for variant, of_seeds in outcomes.items()
            for seed, outcome in enumerate(of_seeds)
            for one in outcome
        ],
    }


def tables(summary: Summary) -> list[Table]:
    """Accuracies and differences over all groups, then of every group."""
    shots = summary.shots
    columns = [
        "variant",
        *(f"{_shots(s)}, %" for s in shots),
        *(f"full minus it, {_shots(s)}" for s in shots),
    ]
    return [
        (
            group,
            columns,
            [
                [
                    variant,
                    *(_accuracy(summary.accuracy(variant, group, s)) for s in shots),
                    *("" if variant == FULL else _points(summary.gain(variant, group, s)) for s in shots),
                ]
                for variant in summary.variants
            ],
        )
        for group in (ALL_GROUPS, *summary.groups)
    ]


def verdicts(summary: Summary) -> list[str]:
    """For each claim and variant a sentence, as Markdown."""
    sentences: dict[tuple[str, str], list[str]] = {}
    for claim, variant, shot, gain in summary.claims():
        text = f"{_shots(shot)} **{gain.verdict}** ({_points(gain)} points"
        if gain.spread is not None:
            text += "; by seed " + ", ".join(f"{mean:+.2f}" for mean in gain.by_seed)
        sentences.setdefault((claim, variant), []).append(text + ")")
    return [
        f"{claim} (`full` against `{variant}`): {', '.join(parts)}."
        for (claim, variant), parts in sentences.items()
    ]


def markdown(summary: Summary, settings: Mapping[str, Any], seeds: int) -> str:
    """The page `results.md`."""
    lines = [
        "# Ablation of HMDRN",
        "",
        *_protocol(settings, seeds),
        *(f"- `{name}`: {VARIANTS[name].description}" for name in summary.variants),
        "",
        "## The paper's claims",
        "",
        "Confirmed: the interval of the difference over all groups lies above 0. Contradicted: below. "
        "Undecided: 0 is in it.",
        "",
        *(f"- {sentence}" for sentence in verdicts(summary)),
    ]
    for title, columns, rows in tables(summary):
        lines += ["", f"## {title[0].upper()}{title[1:]}", "", _row(columns)]
        lines += [_row(["---", *["---:"] * (len(columns) - 1)]), *map(_row, rows)]
    return "\n".join(lines) + "\n"


def _protocol(settings: Mapping[str, Any], seeds: int) -> list[str]:
    """What was done, in lines of Markdown: paragraphs, each followed by an empty line."""
    training = settings["training"]
    return [
        f"Backbone {settings['backbone']}; seeds: {seeds}. For every seed the backbone is pre-trained once, "
        f"by {training['pretrain_steps']} steps of classification on its mean-pooled high level, and every "
        f"variant starts from it. Each then trains on the same {training['episodes']} episodes "
        f"({training['way']}-way, 1 to {training['max_shot']} shots, {training['queries']} queries a class) "
        "with the same settings. Its last weights are evaluated; none are chosen by validation.",
        "",
        "Evaluated on classes that were not trained on, by the same episodes for all variants of a seed:",
        "",
        *(
            f"- {group}, {way}-way, {_shots(shot)}, {queries} queries a class: {episodes} episodes"
            for group, drawn in settings["evaluation"].items()
            for way, shot, queries, episodes in drawn
        ),
        "",
        "± is the half-width of the 95 % interval over the episodes of all seeds: how well these networks "
        "were measured. How much training itself varies, the differences by seed tell. Differences are "
        "paired by episode.",
        "",
    ]


def draw(summary: Summary, path: Path) -> None:
    """The picture: accuracies with their intervals, by variant and number of shots.

    Raises:
        HmdrnError: The picture cannot be written.
    """
    groups = (ALL_GROUPS, *summary.groups)
    picture = Picture(
        figsize=(3.2 * len(groups) + 1.5, 0.4 * len(summary.variants) + 1.6), layout="constrained"
    )
    panels = picture.subplots(1, len(groups), squeeze=False, sharey=True)[0]
    for axes, group in zip(panels, groups, strict=True):
        for shot in summary.shots:
            found = [summary.accuracy(variant, group, shot) for variant in summary.variants]
            shown = [(place, figure) for place, figure in enumerate(found) if figure is not None]
            axes.errorbar(
                [figure.mean for _, figure in shown],
                [place for place, _ in shown],
                xerr=[figure.ci95 for _, figure in shown],
                fmt="o",
                markersize=4,
                capsize=3,
                label=_shots(shot),
            )
        axes.set_title(group, fontsize=9)
        axes.set_xlabel("accuracy, %")
        axes.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(range(len(summary.variants)), summary.variants)
    panels[0].invert_yaxis()
    panels[0].legend(fontsize=7)
    save_figure(picture, path)


def _accuracy(figure: Figure | None) -> str:
    return "" if figure is None else f"{figure.mean:.2f} ± {figure.ci95:.2f}"


def _points(figure: Figure | None) -> str:
    return "" if figure is None else f"{figure.mean:+.2f} ± {figure.ci95:.2f}"


def _shots(shot: int) -> str:
    return f"{shot} shot{'s' if shot > 1 else ''}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
