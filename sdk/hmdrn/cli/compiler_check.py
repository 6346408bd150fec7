"""`--check-tensorrt`: compiles a bundle with NVIDIA's compiler, with no GPU."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hmdrn.cli.options import Decorator
from hmdrn.cli.output import print_table
from hmdrn_runtime.bundle.bundle import open_bundle
from hmdrn_runtime.errors import VerificationError
from hmdrn_runtime.progress import ProgressCallback

if TYPE_CHECKING:
    from hmdrn_export.tensorrt.check import GraphCheck

check_option: Decorator = click.option(
    "--check-tensorrt",
    is_flag=True,
    help="Compile the graphs with NVIDIA's compiler too (tensorrt-rtx; no GPU needed).",
)


def check_with_compiler(path: Path, report: ProgressCallback) -> list[GraphCheck]:
    """Compile all graphs of a bundle that are for NVIDIA's compiler."""
    from hmdrn_export.tensorrt.check import check_bundle

    # Not a plain import: type checkers need not have the package.
    compiler: Any = importlib.import_module("tensorrt_rtx")
    return [
        check
        for variant in open_bundle(path).manifest.variants
        if variant != "int8-ort"  # NVIDIA's compiler refuses its Q/DQ
        for check in check_bundle(compiler, open_bundle(path, variant), report=report)
    ]


def show_checks(checks: Sequence[GraphCheck]) -> None:
    """Print a row for each graph."""
    products = ("int8_products", "half_products", "float_products")
    rows = [
        [
            f"{check.variant}/{check.graph}",
            *(str(getattr(check, name)) for name in ("nodes", "layers", *products)),
            f"{check.seconds:.1f} s",
            "wrong" if check.problems else "as the rules say",
        ]
        for check in checks
    ]
    columns = ["graph", "nodes", "layers", "products in int8", "in half", "in float32"]
    title = "NVIDIA's compiler (tensorrt-rtx), for SM80, SM86 and SM89"
    print_table(title, [*columns, "compiled in", "precision"], rows)


def refuse_problems(checks: Sequence[GraphCheck]) -> None:
    """Raise VerificationError if a graph was refused, or does not compute where the rules say."""
    problems = [f"{c.variant}/{c.graph}: {problem}" for c in checks for problem in c.problems]
    if problems:
        raise VerificationError("NVIDIA's compiler: " + "; ".join(problems[:3]))
