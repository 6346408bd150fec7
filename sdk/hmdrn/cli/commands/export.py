"""`hmdrn export` and `hmdrn-export`."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hmdrn.cli.commands.build import require_device, wrote_engines
from hmdrn.cli.commands.quantize_report import cache_option, drop_option, episodes_option, show_calibration
from hmdrn.cli.compiler_check import (
    check_option,
    check_with_compiler,
    refuse_problems,
    require_compiler,
    show_checks,
)
from hmdrn.cli.messages import print_message
from hmdrn.cli.options import json_option, print_facts, print_json, progress, require
from hmdrn.loading import DEFAULT, checkpoint_path
from hmdrn_runtime.errors import ExportError
from hmdrn_runtime.images.preprocessing import PREPROCESSINGS
from hmdrn_runtime.io.files import user_path

if TYPE_CHECKING:
    from hmdrn_calibration.quantization.report import CalibrationReport
    from hmdrn_export.exporter import Derived
    from hmdrn_runtime.backends.cuda_driver import Gpu
    from hmdrn_runtime.bundle.bundle import Bundle

_NEEDED = ("torch", "onnx", "onnxscript")


# What `hmdrn` gives its commands this one needs for itself, since it is `hmdrn-export` too.
@click.command("export", context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="hmdrn")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16", "int8"]),
    default="fp32",
    show_default=True,
    help="Precision of the graphs; fp16 and int8 bundles have the fp32 graphs too.",
)
@click.option(
    "--checkpoint", default=DEFAULT, show_default=True, help="Weights: .safetensors, or the authors' .pth."
)
@click.option(
    "--preprocess",
    type=click.Choice(PREPROCESSINGS),
    default="crop",
    show_default=True,
    help="crop: whole photographs; squash: photos that are cropped to the subject.",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    help="Bundle to write; ./<name>-<precision>.hmdrn by default.",
)
@click.option(
    "--calibration",
    type=click.Path(path_type=Path),
    metavar="DATA",
    help="INT8: photographs to calibrate on, a folder or zip of <class>/<image> or <split>/<class>/<image>.",
)
@click.option(
    "--opset",
    type=click.Choice(["17", "18"]),
    default="18",
    show_default=True,
    help="17 adds fp32 graphs that TensorRT 8.5 and 8.6 (JetPack 5) can read.",
)
@click.option(
    "--target",
    type=click.Choice(["onnx", "tensorrt"]),
    default="onnx",
    show_default=True,
    help="tensorrt builds this device's engines too, as hmdrn build does.",
)
@drop_option
@episodes_option
@cache_option
@check_option
@click.option(
    "--background",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="DATA",
    help="Photographs of any species, to tell unknown ones by; best several sets of look-alikes each.",
)
@json_option
def command(
    precision: str,
    checkpoint: str,
    preprocess: str,
    output: Path | None,
    calibration: Path | None,
    opset: str,
    target: str,
    max_accuracy_drop: float,
    episodes: int,
    cache: Path | None,
    check_tensorrt: bool,
    background: tuple[Path, ...],
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
    for package in _NEEDED:
        require(package, "exporting", "export")
    if calibration is not None:
        from hmdrn_calibration.quantization.calibration_data import divide

        divide(calibration)  # data that will not do is told before the graphs are traced
    if check_tensorrt:
        require_compiler()
    device = require_device() if target == "tensorrt" else None
    with progress() as report:
        report("loading torch", 0, 1)
        from hmdrn_export.exporter import export_bundle
        from hmdrn_network.checkpoints import load_checkpoint

        weights = load_checkpoint(checkpoint_path(checkpoint))
        if weights.card.recipe.get("finished") is False:
            steps = weights.card.recipe.get("steps_done")
            print_message(f"{checkpoint} is of a training run stopped after {steps} steps", "hmdrn-export")
        output = user_path(output or f"{weights.card.name}-{precision}.hmdrn", ExportError)
        replaced = "; replaced the bundle that was there" if output.exists() else ""
        calibrator = None
        if calibration is not None:
            calibrator = _Calibrator(calibration, max_accuracy_drop, episodes, cache, report)
        result = export_bundle(weights, output, precision, preprocess, report, calibrator, int(opset))
        if background:
            from hmdrn.open_set import add_background

            add_background(output, background, report)
        checks = check_with_compiler(output, report) if check_tensorrt else []
        engines = None if device is None else _build(output, *device, report)
    found = calibrator.report if calibrator is not None else None
    if as_json:
        values: dict[str, Any] = {
            "bundle": str(output),
            "precision": precision,
            "verification": result.to_dict(),
        }
        if engines is not None:
            values["engines"] = str(engines)
        if check_tensorrt:
            values["compiler"] = [check.to_dict() for check in checks]
        print_json("export", values if found is None else {**values, "calibration": found.to_dict()})
        refuse_problems(checks)
        return
    if found is not None:
        show_calibration(found)
    allowed = result.tolerances
    residual = (
        "-" if result.solve_residual is None else f"{result.solve_residual:.1e} (at most {allowed.residual})"
    )
    print_facts(
        f"{output} verified: {result.executor} against {result.reference}",
        [
            ("episodes of drawn specimens", f"{result.episodes} ({result.queries} queries)"),
            (
                "distances, largest relative error",
                f"{result.distance_error:.1e} (at most {allowed.distance:.0e})",
            ),
            (
                "mask bits that differ",
                f"{result.mask_bits_differing:.3%} of {result.mask_bits} (at most {allowed.mask_bits:.1%}); "
                f"{result.mask_bits_near} within 1e-5 of their threshold",
            ),
            ("same answer", f"{result.top1_agreement:.2f} % (at least {allowed.top1:.2f} %)"),
            ("largest residual of a solve", residual),
        ],
    )
    size = sum(file.stat().st_size for file in output.rglob("*") if file.is_file())
    click.echo(f"wrote {output} ({size / 1e6:.2f} MB){replaced}")
    if precision == "fp16":
        click.echo("on a CPU this bundle runs its fp32 graphs; its fp16 graphs are for TensorRT")
    if device is not None and engines is not None:
        click.echo(wrote_engines(engines, device[0]))
    if checks:
        show_checks(checks)
        refuse_problems(checks)
    click.echo(f"next: hmdrn enroll {shlex.quote(str(output))} FOLDER --gallery site.gallery")


def _build(output: Path, gpu: Gpu, trt: Any, report: Callable[[str, int, int], None]) -> Path:
    from hmdrn_export.tensorrt.builder import BuildOptions
    from hmdrn_export.tensorrt.engines import build_engines
    from hmdrn_runtime.bundle.bundle import open_bundle

    return build_engines(trt, open_bundle(output), gpu, BuildOptions(), report)


class _Calibrator:
    """Makes the INT8 variants of a bundle while it is exported, and keeps what was found."""

    def __init__(
        self,
        data: Path,
        max_drop: float,
        episodes: int,
        cache: Path | None,
        report: Callable[[str, int, int], None],
    ) -> None:
        self._data, self._max_drop, self._episodes = data, max_drop, episodes
        self._cache, self._progress = cache, report
        self.report: CalibrationReport | None = None

    def __call__(self, bundle: Bundle) -> Derived:
        """As `export_bundle` wants it.

        Raises:
            VerificationError: INT8 costs more than is allowed.
        """
        from hmdrn_calibration.quantization.histogram_cache import default_folder
        from hmdrn_calibration.quantization.pipeline import calibrate, check_budget
        from hmdrn_calibration.quantization.report import Budget
        from hmdrn_export.exporter import Derived

        found = calibrate(
            bundle,
            self._data,
            Budget(self._max_drop, episodes=self._episodes),
            cache=self._cache or default_folder(),
            report=self._progress,
        )
        check_budget(found.report)
        self.report = found.report
        return Derived(found.variants, found.report.to_dict())
