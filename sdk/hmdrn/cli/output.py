"""Progress, tables and JSON that commands print."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from hmdrn.cli.encoding import is_utf8
from hmdrn_runtime.io.json_document import is_encodable
from hmdrn_runtime.progress import ProgressCallback


@contextmanager
def progress() -> Iterator[ProgressCallback]:
    """Show progress on standard error, where that is a terminal.

    Yields:
        report(what, done, total), to be called as the work goes on.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda what, done, total: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as display:
        task = display.add_task("", total=None)
        yield lambda what, done, total: display.update(task, description=what, completed=done, total=total)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table on standard output; all but the first column are aligned to the right."""
    table = Table(title=title or None, title_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    _console().print(table)


def print_facts(title: str, facts: Sequence[tuple[str, str]], stderr: bool = False) -> None:
    """Print names and values on standard output, or on standard error beside a stream of JSON."""
    table = Table(title=title or None, title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(name, value)
    _console(stderr).print(table)


def print_json(schema: str, values: dict[str, Any]) -> None:
    """Print a JSON object with its schema's name and version on standard output."""
    click.echo(format_json(with_schema(schema, values)))


def format_json(values: Any) -> str:
    """Return JSON for standard output: in ASCII if that is not UTF-8, or the values have undecodable bytes.

    Such a byte of a file's name is a lone surrogate, of which `os.fsencode` makes the byte again.
    """
    text = json.dumps(values, indent=2, ensure_ascii=False)
    return text if is_utf8(sys.stdout) and is_encodable(text) else json.dumps(values, indent=2)


def with_schema(schema: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return a JSON object that names its schema, e.g. "hmdrn.eval/1"."""
    return {"schema": f"hmdrn.{schema}/1", **values}


def _console(stderr: bool = False) -> Console:
    # Without markup, since labels are the user's text. In a pipe tables are not cut to 80 columns.
    console = Console(stderr=stderr, markup=False, highlight=False)
    return (
        console if console.is_terminal else Console(stderr=stderr, markup=False, highlight=False, width=160)
    )
