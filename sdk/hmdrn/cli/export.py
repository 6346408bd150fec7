"""`hmdrn export` and `hmdrn-export`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from hmdrn.cli.common import json_option, print_facts, print_json, progress, require
from hmdrn.cli.messages import tell
from hmdrn.loading import DEFAULT, checkpoint_path
from hmdrn_runtime.errors import ExportError
from hmdrn_runtime.files import user_path
from hmdrn_runtime.images import PREPROCESSINGS

_NEEDED = ("torch", "onnx", "onnxscript")


# What `hmdrn` gives its commands this one needs for itself, since it is `hmdrn-export` too.
@click.command("export", context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="hmdrn")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16", "int8"]),
    default="fp32",
    show_default=True,
    help="Precision of the graphs. Available now: fp32; fp16 and int8 are to come.",
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
@json_option
def command(precision: str, checkpoint: str, preprocess: str, output: Path | None, as_json: bool) -> None:
    """Turn a checkpoint into a bundle of ONNX graphs, and verify it against the network.

    Example: hmdrn-export --checkpoint birds.safetensors --output birds.hmdrn
    """
    for package in _NEEDED:
        require(package, "exporting", "export")
    with progress() as report:
        report("loading torch", 0, 1)
        from hmdrn_export import export_bundle
        from hmdrn_network import load_checkpoint

        weights = load_checkpoint(checkpoint_path(checkpoint))
        if weights.card.recipe.get("finished") is False:
            steps = weights.card.recipe.get("steps_done")
            tell(f"{checkpoint} is of a training run stopped after {steps} steps", "hmdrn-export")
        output = user_path(output or f"{weights.card.name}-{precision}.hmdrn", ExportError)
        replaced = "; replaced the bundle that was there" if output.exists() else ""
        result = export_bundle(weights, output, precision, preprocess, report)
    if as_json:
        print_json(
            "export", {"bundle": str(output), "precision": precision, "verification": result.to_dict()}
        )
        return
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
    click.echo(f"next: hmdrn enroll {shlex.quote(str(output))} FOLDER --gallery site.gallery")
