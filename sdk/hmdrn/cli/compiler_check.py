"""`--check-tensorrt`: what NVIDIA's compiler makes of a bundle, with no GPU."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hmdrn.cli.options import print_table, require
from hmdrn_runtime.bundle.bundle import open_bundle
from hmdrn_runtime.errors import VerificationError

if TYPE_CHECKING:
    from hmdrn_export.tensorrt.check import GraphCheck

check_option = click.option(
    "--check-tensorrt",
    is_flag=True,
    help="Compile the graphs with NVIDIA's compiler too (tensorrt-rtx; no GPU needed).",
)


def require_compiler() -> None:
    """Say that the compiler is missing before anything is done.

    Raises:
        MissingDependencyError: It is not installed.
    """
    require("tensorrt_rtx", "checking with NVIDIA's compiler", "check")


def check_with_compiler(path: Path, report: Callable[[str, int, int], None]) -> list[GraphCheck]:
    """Compile all graphs of a bundle that are for NVIDIA's compiler."""
    from hmdrn_export.tensorrt.check import check_bundle

    # Not by a plain import: type checkers need not have it.
    compiler: Any = importlib.import_module("tensorrt_rtx")
    variants = open_bundle(path).manifest.variants
    return [
        check
        for variant in variants
        if variant != "int8-ort"  # whose Q/DQ NVIDIA's compiler refuses
        for check in check_bundle(compiler, open_bundle(path, variant), report=report)
    ]


def show_checks(checks: Sequence[GraphCheck]) -> None:
    """The table."""
    rows = [
        [
            f"{check.variant}/{check.graph}",
            str(check.nodes),
            str(check.layers),
            str(check.int8_products),
            str(check.half_products),
            str(check.float_products),
            f"{check.seconds:.1f} s",
            "wrong" if check.problems else "as the rules say",
        ]
        for check in checks
    ]
    products = ["products in int8", "in half", "in float32"]
    columns = ["graph", "nodes", "layers", *products, "compiled in", "precision"]
    print_table("NVIDIA's compiler (tensorrt-rtx), for SM80, SM86 and SM89", columns, rows)


def refuse_problems(checks: Sequence[GraphCheck]) -> None:
    """End with what is wrong, after everything has been shown.

    Raises:
        VerificationError: A graph was refused, or does not compute where the rules say.
    """
    problems = [f"{c.variant}/{c.graph}: {problem}" for c in checks for problem in c.problems]
    if problems:
        raise VerificationError("NVIDIA's compiler: " + "; ".join(problems[:3]))
