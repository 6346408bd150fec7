"""Running the variants of an ablation, seed by seed, and writing its results."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence

import click

from benchmarks.ablation import report as reports
from benchmarks.ablation.experiment import BaseExperiment, Outcome, write_file
from benchmarks.ablation.summary import Summary
from benchmarks.ablation.variants import FULL, VARIANTS
from hmdrn.cli.output import print_json, print_table, with_schema
from hmdrn_runtime.progress import ProgressCallback


def parse_variants(context: click.Context, parameter: click.Parameter, value: str) -> tuple[str, ...]:
    """Return the requested variants in the order of `VARIANTS`; `full`, the reference, is always included."""
    requested = {FULL, *(part.strip() for part in value.split(","))}
    unknown = sorted(requested - set(VARIANTS))
    if unknown:
        raise click.BadParameter(f"no variant {unknown[0]!r}: choose among {', '.join(VARIANTS)}")
    return tuple(name for name in VARIANTS if name in requested)


def run_variants(experiment: BaseExperiment, variants: Sequence[str], seeds: int) -> dict[str, list[Outcome]]:
    """Return the outcomes of all seeds by variant; seed by seed, so that the first is complete early."""
    outcomes: dict[str, list[Outcome]] = {variant: [] for variant in variants}
    try:
        for seed in range(seeds):
            for variant in variants:
                outcomes[variant].append(experiment.run(variant, seed))
    except KeyboardInterrupt:
        folder = experiment.folder
        click.echo(f"stopped; {folder} holds all but the last minute: the same command resumes it", err=True)
        raise
    return outcomes


def publish(
    experiment: BaseExperiment, outcomes: dict[str, list[Outcome]], title: str, as_json: bool
) -> None:
    """Write results.json, results.md and ablation.png to the experiment's folder, and print the summary."""
    summary, folder = Summary(outcomes), experiment.folder
    values = reports.build_results(summary, outcomes, experiment.identity)
    write_file(folder / "results.json", json.dumps(with_schema("ablation", values)).encode())
    page = reports.format_markdown(summary, experiment.identity, len(outcomes[FULL]))
    write_file(folder / "results.md", page.encode())
    reports.draw_figure(summary, folder / "ablation.png")
    if as_json:
        # Thousands of single episodes go to the file alone.
        print_json("ablation", {name: value for name, value in values.items() if name != "episodes"})
        return
    group, columns, rows = reports.build_tables(summary)[0]
    print_table(f"{group}; {title}", columns, rows)
    for sentence in reports.format_verdicts(summary):
        click.echo(sentence.replace("*", "").replace("`", ""))
    click.echo(f"by group, and the figure: {folder / 'results.md'}, {folder / 'ablation.png'}")


def make_reporter(display: ProgressCallback) -> ProgressCallback:
    """Return the display, or without a terminal a callback that prints one line a minute."""
    if sys.stderr.isatty():
        return display
    next_line = 0.0

    def report(what: str, done: int, of: int) -> None:
        nonlocal next_line
        if time.monotonic() >= next_line:
            next_line = time.monotonic() + 60
            click.echo(f"{what} ({done} of {of})", err=True)

    return report
