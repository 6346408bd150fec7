"""What the commands share: options, progress, tables and JSON."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from hmdrn_runtime.errors import MissingDependencyError

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON for programs instead of a table."
)
bundle_argument = click.argument("bundle", metavar="BUNDLE")
backend_option = click.option(
    "--backend",
    type=click.Choice(["auto", "tensorrt", "onnxruntime-cuda", "onnxruntime"]),
    default="auto",
    show_default=True,
    help="What runs the graphs; auto takes the first of the others that this machine has everything for.",
)
threads_option = click.option("--threads", type=click.IntRange(1), help="CPU threads; all cores by default.")


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """A progress display on standard error, where that is a terminal.

    Yields:
        report(what, done, of), to be called as the work goes on.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda what, done, of: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as display:
        task = display.add_task("", total=None)

        def report(what: str, done: int, of: int) -> None:
            display.update(task, description=what, completed=done, total=of)

        yield report


def require(package: str, purpose: str, extra: str) -> None:
    """Say which extra to install, before an import fails halfway.

    Raises:
        MissingDependencyError: The package is not installed.
    """
    if importlib.util.find_spec(package) is None:
        raise MissingDependencyError(package, purpose, extra)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table for people on standard output; all but the first column are aligned to the right."""
    table = Table(title=title or None, title_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    _console().print(table)


def print_facts(title: str, facts: Sequence[tuple[str, str]], stderr: bool = False) -> None:
    """Names and values for people on standard output, or on standard error beside a stream of JSON."""
    table = Table(title=title or None, title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(name, value)
    _console(stderr).print(table)


def print_json(schema: str, values: dict[str, Any]) -> None:
    """A JSON object with its schema's name and version on standard output."""
    click.echo(json.dumps(versioned(schema, values), indent=2, ensure_ascii=False))


def versioned(schema: str, values: dict[str, Any]) -> dict[str, Any]:
    """A JSON object that names its schema, e.g. "hmdrn.eval/1"."""
    return {"schema": f"hmdrn.{schema}/1", **values}


def _console(stderr: bool = False) -> Console:
    # Labels are the user's text: "[red]" in one is no markup. Tables in a pipe are not cut to 80 columns.
    console = Console(stderr=stderr, markup=False, highlight=False)
    wide = Console(stderr=stderr, markup=False, highlight=False, width=160)
    return console if console.is_terminal else wide
