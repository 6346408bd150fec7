"""Options and arguments that commands share."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import click
from click.decorators import FC

from hmdrn.cli.parameters import FiniteRange
from hmdrn_runtime.errors import MissingDependencyError

PATH = click.Path(path_type=Path)

Decorator: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]
"""Adds an option or argument to a command's function."""


def option(*names: str, **attributes: Any) -> Callable[[FC], FC]:
    """Declare an option whose help shows its default."""
    return click.option(*names, show_default=True, **attributes)


def false_accept_rate_option(help: str, default: float | None = None) -> Callable[[FC], FC]:
    """Declare `--false-accept-rate`, also spelled `--far`: 0.01 to 0.5."""
    names = ("--false-accept-rate", "--far", "false_accept_rate")
    return option(*names, type=FiniteRange(0.01, 0.5), default=default, help=help)


def preprocess_option(help: str) -> Callable[[FC], FC]:
    """Declare `--preprocess`."""
    return option("--preprocess", type=click.Choice(["crop", "squash"]), default="crop", help=help)


json_option: Decorator = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON for programs instead of a table."
)
bundle_argument: Decorator = click.argument("bundle", metavar="BUNDLE")
data_argument: Decorator = click.argument("data", nargs=-1, required=True, metavar="DATA...", type=PATH)
gallery_option: Decorator = option(
    "--gallery", "-g", required=True, type=PATH, help="Gallery file of the species."
)
strict_data_option: Decorator = option(
    "--strict-data", is_flag=True, help="Refuse DATA with photos that cannot be read, and name them all."
)
backend_option: Decorator = option(
    "--backend",
    type=click.Choice(["auto", "tensorrt", "onnxruntime-cuda", "onnxruntime"]),
    default="auto",
    help="Executor of the graphs; auto takes the first of the others that works on this machine.",
)
threads_option: Decorator = option(
    "--threads", type=click.IntRange(1), help="CPU threads; all cores by default."
)


def require_package(package: str, purpose: str, extra: str) -> None:
    """Raise MissingDependencyError, which names the extra to install, if a package is missing."""
    if importlib.util.find_spec(package) is None:
        raise MissingDependencyError(package, purpose, extra)
