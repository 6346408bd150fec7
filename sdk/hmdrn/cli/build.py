"""`hmdrn build`."""

from __future__ import annotations

import importlib
import importlib.util

import click

from hmdrn.cli.common import bundle_argument, json_option, print_json, progress
from hmdrn.loading import bundle_path
from hmdrn_runtime.bundle import open_bundle
from hmdrn_runtime.cuda import Gpu, find_gpu
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
    "--dla", type=click.IntRange(0), help="Deep-learning accelerator to run on, where there is one."
)
@json_option
def command(bundle: str, workspace: int, dla: int | None, as_json: bool) -> None:
    """Build TensorRT engines of a bundle, on the device that will run them.

    Example: hmdrn build birds.hmdrn
    """
    opened = open_bundle(bundle_path(bundle))
    gpu = _device()
    from hmdrn_export.tensorrt import BuildOptions, build_engines

    with progress() as report:
        options = BuildOptions(workspace_mib=workspace, dla_core=dla)
        # Not by a plain import: type checkers need not have it.
        folder = build_engines(importlib.import_module("tensorrt"), opened, gpu, options, report)
    if as_json:
        print_json("build", {"bundle": str(opened.path), "engines": str(folder), "gpu": gpu.name})
        return
    click.echo(f"wrote {folder} for {gpu.name} (compute capability {gpu.compute_capability})")


def _device() -> Gpu:
    """The GPU to build for, if all is there that building needs.

    Raises:
        BackendError: Something is missing; the message names all of it.
    """
    missing, gpu = [], None
    try:
        gpu = find_gpu()
    except BackendError as error:
        missing.append(str(error))
    if importlib.util.find_spec("tensorrt") is None:
        missing.append("the Python package 'tensorrt' is not installed")
    if missing or gpu is None:
        raise BackendError(
            f"cannot build engines here: {'; '.join(missing)}. Run hmdrn build on the device itself: JetPack "
            "has TensorRT, elsewhere install the package tensorrt from NVIDIA's index; "
            "without a GPU the bundle runs on ONNX Runtime as it is"
        )
    return gpu
