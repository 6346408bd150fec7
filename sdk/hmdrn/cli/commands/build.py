"""`hmdrn build`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from hmdrn.cli.engine_check import describe_engine_check
from hmdrn.cli.messages import print_message
from hmdrn.cli.options import PATH, bundle_argument, json_option, option
from hmdrn.cli.output import print_json, progress
from hmdrn.doctor.advice import SLOW_INT8, has_slow_int8
from hmdrn.loading import resolve_bundle
from hmdrn_runtime.backends.cuda_driver import Gpu, find_gpu
from hmdrn_runtime.backends.tensorrt.cuda.find import find_cuda
from hmdrn_runtime.backends.tensorrt.engine_files import FINGERPRINT, format_build_command
from hmdrn_runtime.backends.tensorrt.fingerprint import Fingerprint, detect_platform
from hmdrn_runtime.backends.tensorrt.requirements import import_tensorrt, require_all
from hmdrn_runtime.bundle.bundle import Bundle, open_bundle
from hmdrn_runtime.device.jetson import has_dla_compiler
from hmdrn_runtime.errors import BackendError
from hmdrn_runtime.gallery.file import load_gallery
from hmdrn_runtime.gallery.gallery import Gallery


@click.command("build")
@bundle_argument
@option(
    "--workspace",
    type=click.IntRange(64),
    default=1024,
    metavar="MIB",
    help="Most scratch memory of an engine.",
)
@option(
    "--dla",
    type=click.IntRange(0),
    help="Deep-learning accelerator to run on, if there is one: half precision, one photo at a time.",
)
@option("--batch", type=click.IntRange(1), help="Most photos at once; more are run in turns.")
@option("--classes", type=click.IntRange(1), help="Most species at once; more are run in turns.")
@option("--shots", type=click.IntRange(1), help="Most photos of a species; for the attention head.")
@option(
    "--gallery", "-g", type=PATH, help="Gallery that will run: engines are made quickest for its species."
)
@option("--photos", type=PATH, help="Photos of your kind, a folder for each class, to check the engines on.")
@option(
    "--if-needed",
    is_flag=True,
    help="Build only if the bundle has no engines that run here, or none quickest for --gallery.",
)
@option(
    "--sign", type=PATH, metavar="KEY", help="Private key (hmdrn keygen): devices that trust it run them too."
)
@json_option
def command(
    bundle: str,
    workspace: int,
    dla: int | None,
    gallery: Path | None,
    photos: Path | None,
    if_needed: bool,
    sign: Path | None,
    as_json: bool,
    **sizes: int | None,
) -> None:
    """Build TensorRT engines of a bundle, on the device that will run them.

    Engines that do not answer as ONNX Runtime on the CPU are not kept: the next higher precision is built.
    Where none are right, --if-needed builds no more until bundle, device, TensorRT or options change.
    They are compared on drawn specimens, and with --photos on up to 5 photos of each of 20 classes.
    ~/.local/state/hmdrn records that they were built here: engines from elsewhere are not run, unless a key
    in HMDRN_TRUSTED_KEYS signed them on a device with the same GPU, TensorRT and Jetson Linux.

    Example: hmdrn build birds.hmdrn
    """
    from hmdrn_export.tensorrt.samples import read_samples
    from hmdrn_export.tensorrt.self_check import QUERIES, SHOTS
    from hmdrn_export.tensorrt.signing import read_signing_key, sign_engines

    opened = open_bundle(resolve_bundle(bundle))
    species = None if gallery is None else load_gallery(gallery)
    key = None if sign is None else read_signing_key(sign)
    preprocessing = opened.manifest.input.to_preprocessing()
    photographs = None if photos is None else read_samples(photos, preprocessing, SHOTS, QUERIES)
    if dla is not None and not has_dla_compiler():
        raise BackendError(
            "this device has no compiler of deep-learning accelerators (libnvdla_compiler.so; Thor and Orin "
            "Nano have no accelerator): leave --dla out"
        )
    if if_needed:
        try:
            find_gpu()
        except BackendError as error:
            print_message(f"there is nothing to build engines for: {error}")
            return
    gpu, trt = require_device()
    present, problem = _find_present_engines(opened, species) if if_needed else (None, "")
    if present is not None:
        if key is not None:
            sign_engines(opened, present, key)
        _report(opened, present, gpu, as_json, built=False)
        return
    from hmdrn_export.tensorrt.builder import BuildOptions
    from hmdrn_export.tensorrt.engines import build_engines, locate_engines
    from hmdrn_export.tensorrt.profiles import default_bounds, fit_gallery
    from hmdrn_export.tensorrt.refusal import describe_build, find_refusal
    from hmdrn_runtime.backends.tensorrt.open import make_engine_opener

    bounds = default_bounds(opened.manifest.network)
    for name, largest in sizes.items():  # batch, classes, shots
        if largest is not None:
            smallest, usual, _ = getattr(bounds, name)
            bounds = replace(bounds, **{name: (smallest, min(usual, largest), largest)})
    bounds = fit_gallery(bounds, opened, species)
    options = BuildOptions(workspace_mib=workspace, dla_core=dla)
    if if_needed:
        build = describe_build(opened, detect_platform(trt, gpu), options, bounds, photographs)
        reason = find_refusal(locate_engines(opened, gpu), build)
        if reason is not None:
            print_message(
                f"no engines are built, because nothing has changed since {reason}; "
                f"{format_build_command(opened)} tries again"
            )
            return
        print_message(f"engines are needed: {problem}")
    with progress() as report:
        opener = make_engine_opener(trt)
        folder = build_engines(trt, opened, gpu, options, report, bounds, opener, photographs)
    if key is not None:
        sign_engines(opened, folder, key)
    _report(opened, folder, gpu, as_json, built=True)


def _find_present_engines(bundle: Bundle, gallery: Gallery | None) -> tuple[Path | None, str]:
    """Return the folder of engines that run here, quickest for a gallery; if none do, None and the reason."""
    from hmdrn_export.tensorrt.profiles import find_misfit
    from hmdrn_runtime.backends.tensorrt.open import open_tensorrt

    try:
        _, backend = open_tensorrt(bundle)
    except BackendError as error:
        return None, str(error)
    backend.close()
    if gallery is not None:
        misfit = find_misfit(_read_fingerprint(backend.folder).options, bundle, gallery)
        if misfit is not None:
            return None, f"those in {backend.folder} run here, but {misfit}"
    return backend.folder, ""


def _report(bundle: Bundle, folder: Path, gpu: Gpu, as_json: bool, built: bool) -> None:
    if as_json:
        fingerprint = _read_fingerprint(folder)
        values = {"precision": fingerprint.precision, "check": fingerprint.check, "built": built}
        print_json("build", {"bundle": str(bundle.path), "engines": str(folder), "gpu": gpu.name, **values})
        return
    click.echo(describe_engines(folder, gpu) if built else f"the engines in {folder} run here")


def describe_engines(folder: Path, gpu: Gpu) -> str:
    """Describe the engines of a folder, their check, and what was not kept, in some lines."""
    fingerprint = _read_fingerprint(folder)
    lines = [f"wrote {folder} for {gpu.name} (compute capability {gpu.compute_capability})"]
    if fingerprint.check is not None:
        lines.append(f"{fingerprint.precision} {describe_engine_check(fingerprint.check)}")
    if fingerprint.precision == "int8" and has_slow_int8(fingerprint.platform.compiler.rpartition(" ")[2]):
        lines.append(f"note: {SLOW_INT8} with hmdrn profile")
    return "\n".join(lines)


def _read_fingerprint(folder: Path) -> Fingerprint:
    path = folder / FINGERPRINT
    return Fingerprint.from_json(path.read_bytes(), str(path))


def require_device() -> tuple[Gpu, Any]:
    """Return the GPU to build for and TensorRT's module; raise BackendError with all that is missing."""
    try:
        gpu, trt, _ = require_all(find_gpu, import_tensorrt, find_cuda)
    except BackendError as error:
        raise BackendError(
            f"cannot build engines here: {error}. Run hmdrn build on the device itself; without a GPU the "
            "bundle runs on ONNX Runtime as it is"
        ) from error
    return gpu, trt
