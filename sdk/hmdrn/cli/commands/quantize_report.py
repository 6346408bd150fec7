"""`hmdrn quantize-report`, and what it shares with `hmdrn-export --precision int8`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hmdrn.cli.numbers import FiniteRange
from hmdrn.cli.options import (
    bundle_argument,
    json_option,
    print_json,
    print_table,
    progress,
    require,
    threads_option,
)
from hmdrn.cli.output_paths import output_place, photos_of
from hmdrn.loading import bundle_path
from hmdrn_runtime.bundle.bundle import open_bundle

if TYPE_CHECKING:
    from hmdrn_calibration.quantization.report import CalibrationReport

drop_option = click.option(
    "--max-accuracy-drop",
    type=FiniteRange(0, min_open=True),
    default=0.3,
    show_default=True,
    help="INT8: points of episodic accuracy that the mean may lose; its 95 % interval may reach twice that.",
)
episodes_option = click.option(
    "--episodes",
    type=click.IntRange(2),
    default=600,
    show_default=True,
    help="INT8: episodes that accuracy is measured on, for each number of shots.",
)
cache_option = click.option(
    "--cache",
    type=click.Path(path_type=Path),
    help="INT8: folder to keep observed ranges in; ~/.cache/hmdrn/calibration by default.",
)


@click.command("quantize-report")
@bundle_argument
@click.argument("data", type=click.Path(path_type=Path))
@drop_option
@episodes_option
@click.option("--picture", type=click.Path(path_type=Path), help="Draw what each layer costs into this file.")
@cache_option
@threads_option
@json_option
def command(
    bundle: str,
    data: Path,
    max_accuracy_drop: float,
    episodes: int,
    picture: Path | None,
    cache: Path | None,
    threads: int | None,
    as_json: bool,
) -> None:
    """Show what INT8 would cost a bundle, layer by layer, on photographs of DATA; writes no graphs.

    DATA is a folder or zip of <class>/<image>, or of <split>/<class>/<image>: ranges are then observed on the
    split train and accuracy is measured on val. `hmdrn-export --precision int8` makes the graphs.

    Example: hmdrn quantize-report default birds.zip --picture layers.png
    """
    require("onnx", "calibrating", "export")
    if picture is not None:
        require("matplotlib", "drawing pictures", "plots")
        picture = output_place(picture, "picture", [bundle_path(bundle), *photos_of(data)])
    opened = open_bundle(bundle_path(bundle))
    with progress() as report:
        from hmdrn_calibration.quantization.histogram_cache import default_folder
        from hmdrn_calibration.quantization.pipeline import calibrate, check_budget
        from hmdrn_calibration.quantization.report import Budget

        result = calibrate(
            opened,
            data,
            Budget(max_accuracy_drop, episodes=episodes),
            every_layer=True,
            cache=cache or default_folder(),
            threads=threads,
            report=report,
        ).report
    if picture is not None:
        from hmdrn.plotting.figures import draw_costs

        draw_costs(result, f"{bundle}: INT8 on {data}", picture)
    if as_json:
        print_json("calibrate", {"bundle": bundle, "data_source": str(data), **result.to_dict()})
    else:
        show_calibration(result)
    check_budget(result)


def show_calibration(report: CalibrationReport) -> None:
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
            "each layer quantised alone",
            ["layer", "weights", "error of distances", "points lost", "stays FP32"],
            [
                [
                    cost.layer,
                    str(cost.weights),
                    f"{cost.distance_error:.3%}",
                    f"{cost.drop:.2f} ± {cost.ci95:.2f}",
                    "yes" if cost.kept else "",
                ]
                for cost in report.layers
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
                f"{d.fp32_accuracy:.2f} %",
                f"{d.accuracy:.2f} %",
                f"{d.drop:.2f} ± {d.ci95:.2f}",
            ]
            for d in report.drops
        ],
    )
    click.echo(f"layers that stay FP32: {', '.join(report.kept) or 'none'}")
