"""`hmdrn export` and `hmdrn-export`."""

from __future__ import annotations

import importlib
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hmdrn.cli.commands.build import describe_engines, require_device
from hmdrn.cli.commands.quantize_report import cache_option, drop_option, episodes_option, show_calibration
from hmdrn.cli.data_messages import print_unreadable, print_warnings
from hmdrn.cli.messages import print_message
from hmdrn.cli.options import (
    PATH,
    json_option,
    option,
    preprocess_option,
    require_package,
    strict_data_option,
)
from hmdrn.cli.output import print_facts, print_json, print_table, progress
from hmdrn.loading import DEFAULT, find_bundle, resolve_checkpoint
from hmdrn_runtime.bundle.bundle import Bundle, open_bundle
from hmdrn_runtime.datasets.dataset import open_dataset
from hmdrn_runtime.datasets.reading import PhotoReader, apply_to_all
from hmdrn_runtime.errors import ExportError, VerificationError
from hmdrn_runtime.io.files import expand_path
from hmdrn_runtime.open_set.background import FILE as BACKGROUND
from hmdrn_runtime.progress import ProgressCallback

if TYPE_CHECKING:
    from hmdrn_calibration.quantization.report import QuantizationReport
    from hmdrn_export.exporter import DerivedVariants
    from hmdrn_export.tensorrt.check import GraphCheck
    from hmdrn_export.verification.report import VerificationReport


# Its own -h and --version, since it is `hmdrn-export` too.
@click.command("export", context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="hmdrn")
@option(
    "--precision",
    type=click.Choice(["fp32", "fp16", "int8"]),
    default="fp32",
    help="Precision of the graphs; fp16 and int8 bundles have the fp32 graphs too.",
)
@option("--checkpoint", default=DEFAULT, help="Weights: .safetensors, a bundle, or the authors' .pth.")
@preprocess_option("crop: whole photographs; squash: photos that are cropped to the subject.")
@option("--output", "-o", type=PATH, help="Bundle to write; ./<name>-<precision>.hmdrn by default.")
@option(
    "--calibration",
    type=PATH,
    metavar="DATA",
    help="INT8: photographs to calibrate on, a folder or zip of <class>/<image> or <split>/<class>/<image>.",
)
@option(
    "--int8-for",
    type=click.Choice(["all", "onnxruntime"]),
    default="all",
    help="INT8: onnxruntime leaves out the graphs for TensorRT, which are as large again.",
)
@option(
    "--compact",
    is_flag=True,
    help="Round weights to half precision in the checkpoint and the fp32 graphs: half the size.",
)
@option(
    "--opset",
    type=click.Choice(["17", "18"]),
    default="18",
    help="17 adds fp32 graphs that TensorRT 8.6 (JetPack 6.0) can read.",
)
@option(
    "--target",
    type=click.Choice(["onnx", "tensorrt"]),
    default="onnx",
    help="tensorrt builds this device's engines too, as hmdrn build does.",
)
@drop_option
@episodes_option
@cache_option
@option(
    "--check-tensorrt",
    is_flag=True,
    help="Compile the graphs with NVIDIA's compiler too (tensorrt-rtx; no GPU needed).",
)
@option(
    "--background",
    multiple=True,
    type=PATH,
    metavar="DATA",
    help="Photographs of any species, to recognize unknown ones by; best several sets of look-alikes each.",
)
@strict_data_option
@json_option
def command(
    precision: str,
    checkpoint: str,
    preprocess: str,
    output: Path | None,
    calibration: Path | None,
    int8_for: str,
    compact: bool,
    opset: str,
    target: str,
    max_accuracy_drop: float,
    episodes: int,
    cache: Path | None,
    check_tensorrt: bool,
    background: tuple[Path, ...],
    strict_data: bool,
    as_json: bool,
) -> None:
    """Turn a checkpoint into a bundle of ONNX graphs, and verify it against the network.

    Example: hmdrn-export --checkpoint birds.safetensors --output birds.hmdrn
    """
    if (precision == "int8") != (calibration is not None):
        raise ExportError(
            "--precision int8 needs photographs: give --calibration DATA, best of your own kind of species"
            if calibration is None
            else "--calibration is for --precision int8"
        )
    for package in ("torch", "onnx", "onnxscript"):
        require_package(package, "exporting", "export")
    if calibration is not None:
        from hmdrn_calibration.quantization.calibration_data import split_photos

        split_photos(calibration)  # raises on unusable data before the graphs are traced
    if calibration is not None or background:
        from hmdrn.open_set import open_background_data

        datasets = [open_dataset(path) for path in (calibration,) if path is not None]
        datasets += apply_to_all(open_background_data, background)
        print_warnings(datasets)
        if strict_data:
            with progress() as report:
                PhotoReader().check(datasets, report)
    if check_tensorrt:
        require_package("tensorrt_rtx", "checking with NVIDIA's compiler", "check")
    device = require_device() if target == "tensorrt" else None
    quantization: QuantizationReport | None = None
    reader = PhotoReader()
    with progress() as report:
        report("loading torch", 0, 1)
        from hmdrn_export.exporter import export_bundle
        from hmdrn_network.checkpoints import load_checkpoint

        source = resolve_checkpoint(checkpoint)
        weights = load_checkpoint(source)
        if weights.card.recipe.get("finished") is False:
            steps = weights.card.recipe.get("steps_done")
            print_message(f"{checkpoint} is of a training run stopped after {steps} steps", "hmdrn-export")
        output = expand_path(output or f"{weights.card.name}-{precision}.hmdrn", ExportError)
        replaced = "; replaced the bundle that was there" if output.exists() else ""

        def quantize(bundle: Bundle) -> DerivedVariants:
            from hmdrn_calibration.quantization.histogram_cache import default_cache_folder
            from hmdrn_calibration.quantization.pipeline import check_budget, quantize_bundle
            from hmdrn_calibration.quantization.qdq_placement import DIALECTS, ORT
            from hmdrn_calibration.quantization.report import Budget
            from hmdrn_export.exporter import DerivedVariants

            nonlocal quantization
            assert calibration is not None
            budget, folder = Budget(max_accuracy_drop, episodes=episodes), cache or default_cache_folder()
            dialects = DIALECTS if int8_for == "all" else (ORT,)
            quantized = quantize_bundle(
                bundle, calibration, budget, dialects=dialects, cache=folder, report=report
            )
            quantization = quantized.report
            reader.unreadable += quantized.unreadable
            check_budget(quantization)
            return DerivedVariants(quantized.variants, quantization.to_dict())

        derive = quantize if precision == "int8" else None
        verification = export_bundle(
            weights, output, precision, preprocess, report, derive, int(opset), compact
        )
        if background:
            from hmdrn.open_set import add_background

            add_background(output, background, report, reader=reader)
        elif (origin := find_bundle(source)) is not None and (origin / BACKGROUND).is_file():
            from hmdrn.open_set import copy_background

            if not copy_background(origin, output):
                print_message(
                    f"note: {output} has no background species: those of {checkpoint} are for its own "
                    "weights and preprocessing; give --background DATA",
                    "hmdrn-export",
                )
        checks = check_with_compiler(output, report) if check_tensorrt else []
        engines = None
        if device is not None:
            from hmdrn_export.tensorrt.builder import BuildOptions
            from hmdrn_export.tensorrt.engines import build_engines
            from hmdrn_runtime.backends.tensorrt.open import make_engine_opener

            gpu, trt = device
            opener = make_engine_opener(trt)
            exported = open_bundle(output)
            engines = build_engines(trt, exported, gpu, BuildOptions(), report, open_backend=opener)
    print_unreadable(reader.unreadable)
    if as_json:
        values: dict[str, Any] = {"bundle": str(output), "precision": precision}
        values["unreadable"] = reader.unreadable
        values["verification"] = verification.to_dict()
        if engines is not None:
            values["engines"] = str(engines)
        if check_tensorrt:
            values["compiler"] = [asdict(check) for check in checks]
        if quantization is not None:
            values["calibration"] = quantization.to_dict()
        print_json("export", values)
        refuse_problems(checks)
        return
    if quantization is not None:
        show_calibration(quantization)
    _show_verification(verification, output)
    size = sum(file.stat().st_size for file in output.rglob("*") if file.is_file())
    click.echo(f"wrote {output} ({size / 1e6:.2f} MB){replaced}")
    if precision == "fp16":
        click.echo("on a CPU this bundle runs its fp32 graphs; its fp16 graphs are for TensorRT")
    if engines is not None:
        click.echo(describe_engines(engines, gpu))
    if checks:
        show_checks(checks)
        refuse_problems(checks)
    click.echo(f"next: hmdrn enroll {shlex.quote(str(output))} FOLDER --gallery site.gallery")


def _show_verification(result: VerificationReport, output: Path) -> None:
    allowed, residual = result.tolerances, "-"
    if result.solve_residual is not None:
        residual = f"{result.solve_residual:.1e} (at most {allowed.residual})"
    distance = f"{result.distance_error:.1e} (at most {allowed.distance:.0e})"
    mask_bits = f"{result.mask_bits_differing:.3%} of {result.mask_bits} (at most {allowed.mask_bits:.1%})"
    near = f"{result.mask_bits_near} within 1e-5 of their threshold"
    print_facts(
        f"{output} verified: {result.executor} against {result.reference}",
        [
            ("episodes of drawn specimens", f"{result.episodes} ({result.queries} queries)"),
            ("distances, largest relative error", distance),
            ("mask bits that differ", f"{mask_bits}; {near}"),
            ("same answer", f"{result.top1_agreement:.2f} % (at least {allowed.top1:.2f} %)"),
            ("largest residual of a solve", residual),
        ],
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
