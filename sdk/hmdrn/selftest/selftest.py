"""Self-test of hmdrn on a device: part after part, none of which ends the others."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from hmdrn.doctor.advice import advise
from hmdrn.doctor.probe_runner import run_probe
from hmdrn.doctor.report import DeviceReport, collect_report
from hmdrn.selftest.parts import find_precision
from hmdrn_runtime.backends.onnxruntime_cuda import PROVIDER
from hmdrn_runtime.backends.tensorrt.cuda.find import find_cuda
from hmdrn_runtime.bundle.bundle import Bundle, open_bundle
from hmdrn_runtime.bundle.manifest import Manifest
from hmdrn_runtime.bundle.variants import find_incompatibility
from hmdrn_runtime.errors import BackendError, HmdrnError
from hmdrn_runtime.io.files import describe_os_error
from hmdrn_runtime.messages import format_error
from hmdrn_runtime.progress import ProgressCallback, ignore_progress

MAX_SECONDS = 600.0
"""Longest duration of a self-test."""

_MAX_PART_SECONDS = 300.0
"""A part that hangs must leave time for the others."""

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"

ProbeRunner = Callable[..., Mapping[str, Any]]


@dataclass(frozen=True)
class PartResult:
    """Result of one part.

    Attributes:
        name: The part, e.g. "fp32 on onnxruntime".
        status: "passed", "failed" or "skipped".
        reason: Reason why it failed or was skipped; empty if it passed.
        seconds: Its duration.
        answer: Its figures.
    """

    name: str
    status: str
    reason: str = ""
    seconds: float = 0.0
    answer: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class SelfTest:
    """Result of a self-test.

    Attributes:
        bundle: The bundle as it was given.
        quick: True if it was the short one, which builds no engines.
        device: The report of `hmdrn doctor`; None if it failed.
        parts: Results of the parts, in order.
        seconds: Duration of the whole.
    """

    bundle: str
    quick: bool
    device: DeviceReport | None
    parts: tuple[PartResult, ...]
    seconds: float

    @property
    def works(self) -> bool:
        """True if no part failed."""
        return all(part.status != FAILED for part in self.parts)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return {"works": self.works, **asdict(self)}


class _Deadline:
    """Runs probes of the parts within the time that is left."""

    def __init__(self, seconds: float, run: ProbeRunner, environment: Mapping[str, str]) -> None:
        self._end = time.monotonic() + seconds
        self._run = partial(run, module="hmdrn.selftest.parts", environment=environment)

    def run(self, name: str, *arguments: str) -> PartResult:
        left, start = self._end - time.monotonic(), time.monotonic()
        if left <= 1:
            return PartResult(name, SKIPPED, "no time is left")
        answer = dict(self._run(*arguments, timeout=min(left, _MAX_PART_SECONDS)))
        seconds = time.monotonic() - start
        reason = answer.get("error") or answer.get("problem") or ""
        return PartResult(name, FAILED if reason else PASSED, str(reason), seconds, answer)


def run_selftest(
    name: str,
    path: Path,
    photos: Path | None = None,
    quick: bool = False,
    report: ProgressCallback = ignore_progress,
    run: ProbeRunner = run_probe,
    collect: Callable[[str], DeviceReport] = collect_report,
) -> SelfTest:
    """Try and measure all that hmdrn does on this device.

    Args:
        name: The bundle as it was given.
        path: Its folder, which is left unchanged: engines are built in a copy.
        photos: Photographs by class, for the accuracy.
        quick: True for fewer photos and short measurements, without building engines.
        report: Receives the progress.
        run: Runs a probe in a process of its own.
        collect: Collects the report on the device.
    """
    start, parts = time.monotonic(), list[PartResult]()
    device: DeviceReport | None = None
    report("device", 0, 1)
    try:
        device = collect(name)
        parts.append(_judge_device(device))
    except Exception as error:  # the other parts can still say more
        parts.append(PartResult("device", FAILED, format_error(error)))
    parts[0] = replace(parts[0], seconds=time.monotonic() - start)
    with tempfile.TemporaryDirectory(prefix="hmdrn-selftest-") as folder:
        deadline = _Deadline(MAX_SECONDS - parts[0].seconds, run, {"XDG_STATE_HOME": folder})
        try:
            bundle = open_bundle(path)
        except HmdrnError as error:
            parts.append(PartResult("bundle", FAILED, str(error)))
        else:
            given = "" if photos is None else str(photos.resolve())
            for part in _run_parts(bundle, device, given, quick, Path(folder), deadline, report):
                parts.append(part)
    return SelfTest(name, quick, device, tuple(parts), time.monotonic() - start)


def _judge_device(device: DeviceReport) -> PartResult:
    broken = next((advice for advice in advise(device) if advice.needed), None)
    return PartResult("device", FAILED if broken else PASSED, broken.what if broken else "")


def _run_parts(
    bundle: Bundle,
    device: DeviceReport | None,
    photos: str,
    quick: bool,
    folder: Path,
    deadline: _Deadline,
    report: ProgressCallback,
) -> Iterator[PartResult]:
    extent = "quick" if quick else ""

    def run_variant(name: str, path: Path, backend: str, variant: str) -> PartResult:
        report(name, 0, 1)
        return deadline.run(name, "run", str(path), backend, variant, photos, extent)

    for backend in ("onnxruntime", "onnxruntime-cuda"):
        problem = _find_cuda_problem(device) if backend == "onnxruntime-cuda" else None
        if problem is not None:
            yield PartResult(backend, *problem)
            continue
        for variant, graphs in bundle.manifest.variants.items():
            name = f"{variant} on {backend}"
            if reason := find_incompatibility(graphs, backend):
                yield PartResult(name, SKIPPED, reason)
            else:
                yield run_variant(name, bundle.path, backend, variant)
    yield from _check_packages(device, deadline, report)
    reason = _find_tensorrt_problem(device)
    if reason or quick:
        uses_engines = device is not None and device.choice.get("backend") == "tensorrt"
        if quick and uses_engines:
            yield run_variant("engines on tensorrt", bundle.path, "tensorrt", "")
        else:
            yield PartResult("tensorrt", SKIPPED, reason or "the quick test builds no engines")
        return
    copy = folder / bundle.path.name
    try:
        shutil.copytree(bundle.path, copy, ignore=shutil.ignore_patterns("engines"))
    except OSError as error:  # one of its kinds lists every file
        first = error.args[0][0][-1] if isinstance(error, shutil.Error) else describe_os_error(error)
        yield PartResult("copying the bundle", FAILED, str(first))
        return
    for precision in _list_precisions(bundle.manifest):
        name = f"building {precision} engines"
        report(name, 0, 1)
        built = deadline.run(name, "build", str(copy), precision, photos)
        yield built
        if built.status == PASSED:
            yield run_variant(f"{precision} engines on tensorrt", copy, "tensorrt", "")


def _check_packages(
    device: DeviceReport | None, deadline: _Deadline, report: ProgressCallback
) -> Iterator[PartResult]:
    """Try each installed package for CUDA, whether TensorRT is there or not."""
    try:
        if device is None:
            raise BackendError("the device could not be read")
        if "error" in device.gpu:
            raise BackendError(f"there is no GPU that can be used: {device.gpu['error']}")
        kinds = find_cuda()
    except BackendError as error:
        yield PartResult("memory of the GPU", SKIPPED, str(error))
        return
    for kind in kinds:
        name = f"memory of the GPU through {kind.package}"
        report(name, 0, 1)
        yield deadline.run(name, "cuda", kind.package)


def _list_precisions(manifest: Manifest) -> list[str]:
    """List the precisions of engines that a bundle can be built at, the fastest first."""
    present = {
        find_precision(manifest.variants[name])
        for name in ("int8-trt", "fp16", "fp32")
        if name in manifest.variants
    }
    return [precision for precision in ("int8", "fp16", "fp32") if precision in present]


def _find_cuda_problem(device: DeviceReport | None) -> tuple[str, str] | None:
    """Return the status and reason of ONNX Runtime on CUDA where it cannot be tried."""
    if device is None or PROVIDER not in device.providers:
        return SKIPPED, "the installed ONNX Runtime has no CUDA provider"
    if "error" in device.gpu:
        return SKIPPED, f"there is no GPU that can be used: {device.gpu['error']}"
    problem = device.providers[PROVIDER]
    return None if problem is None else (FAILED, problem)


def _find_tensorrt_problem(device: DeviceReport | None) -> str:
    """Return the reason why engines cannot be tried; empty if they can."""
    if device is None:
        return "the device could not be read"
    for answer in (device.gpu, device.tensorrt, device.cuda_bindings):
        if "error" in answer:
            return str(answer["error"])
    return ""
