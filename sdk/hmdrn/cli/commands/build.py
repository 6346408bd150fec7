"""`hmdrn build`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from hmdrn.cli.options import bundle_argument, json_option, print_json, progress
from hmdrn.loading import bundle_path
from hmdrn_runtime.backends.cuda_driver import Gpu, find_gpu
from hmdrn_runtime.backends.tensorrt.requirements import import_tensorrt, require_all
from hmdrn_runtime.bundle.bundle import open_bundle
from hmdrn_runtime.errors import BackendError


@click.command("build")
@bundle_argument
@click.option(
    "--workspace",
    type=click.IntRange(64),
    default=1024,
    show_default=True,
    metavar="MIB",
    help="Most scratch memory of an engine.",
)
@click.option(
    "--dla",
    type=click.IntRange(0),
    help="Deep-learning accelerator to run on, where there is one: half alone, photos one by one.",
)
@click.option("--batch", type=click.IntRange(1), help="Most photos at once; more are run in turns.")
@click.option("--classes", type=click.IntRange(1), help="Most species at once; more are run in turns.")
@click.option(
    "--shots", type=click.IntRange(1), help="Most photos of a species; counts for the attention head."
)
@json_option
def command(
    bundle: str,
    workspace: int,
    dla: int | None,
    batch: int | None,
    classes: int | None,
    shots: int | None,
    as_json: bool,
) -> None:
    """Build TensorRT engines of a bundle, on the device that will run them.

    Notes in ~/.local/state/hmdrn that they were built here: engines from elsewhere are not run.

    Example: hmdrn build birds.hmdrn
    """
    opened = open_bundle(bundle_path(bundle))
    gpu, trt = require_device()
    from hmdrn_export.tensorrt.builder import BuildOptions
    from hmdrn_export.tensorrt.engines import build_engines
    from hmdrn_export.tensorrt.profiles import default_bounds

    with progress() as report:
        options = BuildOptions(workspace_mib=workspace, dla_core=dla)
        most = {"batch": batch, "classes": classes, "shots": shots}
        bounds = default_bounds(opened.manifest.network)
        for name, size in most.items():
            if size is not None:
                least, best, _ = getattr(bounds, name)
                bounds = replace(bounds, **{name: (least, min(best, size), size)})
        folder = build_engines(trt, opened, gpu, options, report, bounds)
    if as_json:
        print_json("build", {"bundle": str(opened.path), "engines": str(folder), "gpu": gpu.name})
        return
    click.echo(wrote_engines(folder, gpu))


def wrote_engines(folder: Path, gpu: Gpu) -> str:
    """Where engines are, and what for, in a line."""
    return f"wrote {folder} for {gpu.name} (compute capability {gpu.compute_capability})"


def require_device() -> tuple[Gpu, Any]:
    """The GPU to build for and TensorRT's module, if both are there.

    Raises:
        BackendError: Something is missing; the message names all of it.
    """
    try:
        gpu, trt = require_all(find_gpu, import_tensorrt)
    except BackendError as error:
        raise BackendError(
            f"cannot build engines here: {error}. Run hmdrn build on the device itself; without a GPU the "
            "bundle runs on ONNX Runtime as it is"
        ) from error
    return gpu, trt
