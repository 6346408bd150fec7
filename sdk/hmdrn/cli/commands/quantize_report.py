"""`hmdrn quantize-report`, and the parts that `hmdrn-export --precision int8` uses too."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hmdrn.cli.data_messages import print_unreadable, print_warnings
from hmdrn.cli.options import (
    PATH,
    Decorator,
    bundle_argument,
    json_option,
    option,
    require_package,
    strict_data_option,
    threads_option,
)
from hmdrn.cli.output import print_json, print_table, progress
from hmdrn.cli.output_paths import check_output_path, list_dataset_paths
from hmdrn.cli.parameters import FiniteRange
from hmdrn.loading import resolve_bundle
from hmdrn_runtime.bundle.bundle import open_bundle
from hmdrn_runtime.datasets.dataset import open_dataset
from hmdrn_runtime.datasets.reading import PhotoReader

if TYPE_CHECKING:
    from hmdrn_calibration.quantization.report import AccuracyDrop, LayerCost, QuantizationReport

drop_option: Decorator = option(
    "--max-accuracy-drop",
    type=FiniteRange(0, min_open=True),
    default=0.3,
    help="INT8: points of episodic accuracy that the mean may lose; its 95 % interval may reach 0.2 more.",
)
episodes_option: Decorator = option(
    "--episodes",
    type=click.IntRange(2),
    default=600,
    help="INT8: episodes that measure accuracy, for each number of shots.",
)
cache_option: Decorator = option(
    "--cache", type=PATH, help="INT8: folder of observed ranges; ~/.cache/hmdrn/calibration by default."
)


@click.command("quantize-report")
@bundle_argument
@click.argument("data", type=PATH)
@drop_option
@episodes_option
@option("--picture", type=PATH, help="Draw the cost of each layer into this file.")
@cache_option
@strict_data_option
@threads_option
@json_option
def command(
    bundle: str,
    data: Path,
    max_accuracy_drop: float,
    episodes: int,
    picture: Path | None,
    cache: Path | None,
    strict_data: bool,
    threads: int | None,
    as_json: bool,
) -> None:
    """Show what INT8 would cost a bundle, layer by layer, on photographs of DATA; writes no graphs.

    DATA is a folder or zip of <class>/<image>, or of <split>/<class>/<image>: the split train then gives the
    ranges and val the accuracy. `hmdrn-export --precision int8` makes the graphs.

    Example: hmdrn quantize-report default birds.zip --picture layers.png
    """
    require_package("onnx", "calibrating", "export")
    if picture is not None:
        require_package("matplotlib", "drawing pictures", "plots")
        picture = check_output_path(picture, "picture", [resolve_bundle(bundle), *list_dataset_paths(data)])
    opened = open_bundle(resolve_bundle(bundle))
    dataset = open_dataset(data)
    print_warnings([dataset])
    with progress() as report:
        from hmdrn_calibration.quantization.histogram_cache import default_cache_folder
        from hmdrn_calibration.quantization.pipeline import check_budget, quantize_bundle
        from hmdrn_calibration.quantization.report import Budget

        if strict_data:
            PhotoReader().check([dataset], report)
        quantized = quantize_bundle(
            opened,
            data,
            Budget(max_accuracy_drop, episodes=episodes),
            every_layer=True,
            cache=cache or default_cache_folder(),
            threads=threads,
            report=report,
        )
    result = quantized.report
    print_unreadable(quantized.unreadable)
    if picture is not None:
        from hmdrn.plotting.figures import draw_layer_costs

        draw_layer_costs(result, f"{bundle}: INT8 on {data}", picture)
    if as_json:
        print_json(
            "calibrate",
            {
                "bundle": bundle,
                "data_source": str(data),
                **result.to_dict(),
                "unreadable": quantized.unreadable,
            },
        )
    else:
        show_calibration(result)
    check_budget(result)


def show_calibration(report: QuantizationReport) -> None:
    """Print tables of the range methods, the layers and the accuracy."""
    print_table(
        f"range methods, {report.rule} (FP32: {report.reference_accuracy:.2f} %)",
        ["variant", "method", "accuracy", "error of distances", "chosen"],
        [
            [m.variant, m.method, f"{m.accuracy:.2f} %", f"{m.distance_error:.2%}", "yes" if m.chosen else ""]
            for m in report.methods
        ],
    )
    if report.layers:
        print_table(
            "each layer quantized alone",
            ["layer", "weights", "error of distances", "points lost", "stays FP32"],
            [
                [c.layer, str(c.weights), f"{c.distance_error:.3%}", _points_lost(c), "yes" if c.kept else ""]
                for c in report.layers
            ],
        )
    allowed = report.budget
    print_table(
        f"accuracy, paired; at most {allowed.max_drop:g} points, the interval to {allowed.max_interval:g}",
        ["variant", "shots", "episodes", "FP32", "INT8", "points lost"],
        [
            [
                d.variant,
                str(d.shot),
                str(d.episodes),
                *(f"{a:.2f} %" for a in (d.fp32_accuracy, d.accuracy)),
                _points_lost(d),
            ]
            for d in report.drops
        ],
    )
    click.echo(f"layers that stay FP32: {', '.join(report.kept) or 'none'}")


def _points_lost(cost: LayerCost | AccuracyDrop) -> str:
    return f"{cost.drop:.2f} ± {cost.ci95:.2f}"
