"""Export of a checkpoint to a bundle."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx

from hmdrn_export.bundle_writer.checkpoint_file import CheckpointFile
from hmdrn_export.bundle_writer.description import describe_graph, describe_input, describe_network
from hmdrn_export.bundle_writer.fingerprint import compute_fingerprint
from hmdrn_export.bundle_writer.publication import publish_atomically
from hmdrn_export.bundle_writer.weights_file import write_graphs
from hmdrn_export.graphs import opset17, tracing
from hmdrn_export.graphs.trace_jobs import make_trace_jobs
from hmdrn_export.graphs.tracing import trace_graphs
from hmdrn_export.graphs.work import count_multiply_adds
from hmdrn_export.precision.half import convert_to_half
from hmdrn_export.precision.rounding_backend import RoundingBackend
from hmdrn_export.precision.rules import FLOAT32_GRAPHS, describe_rules
from hmdrn_export.verification.report import VerificationReport
from hmdrn_export.verification.verifier import verify_bundle
from hmdrn_network.checkpoints import Checkpoint
from hmdrn_network.folding import fold_normalizations
from hmdrn_runtime.arguments import check_kind
from hmdrn_runtime.backends.base import Backend
from hmdrn_runtime.backends.onnxruntime import OnnxRuntimeBackend
from hmdrn_runtime.bundle.bundle import CHECKPOINT, MANIFEST_NAME, Bundle, compute_sha256, open_bundle
from hmdrn_runtime.bundle.manifest import Graph, Manifest
from hmdrn_runtime.bundle.variants import FLOAT32_OPSET17
from hmdrn_runtime.errors import EnrollmentError, ExportError, VerificationError
from hmdrn_runtime.images.preprocessing import PREPROCESSING_MODES
from hmdrn_runtime.io.files import expand_path
from hmdrn_runtime.progress import ProgressCallback, ignore_progress

PRECISIONS = ("fp32", "fp16", "int8")
OPSETS = (tracing.OPSET, opset17.OPSET)

Models = Mapping[str, onnx.ModelProto]
"""Graphs by name, weights inside."""


@dataclass(frozen=True, eq=False)
class DerivedVariants:
    """Variants made of a bundle's verified float32 graphs.

    Attributes:
        variants: Graphs by variant; float32 graphs complete each variant.
        calibration: Report on their making, JSON-ready, for the manifest.
    """

    variants: Mapping[str, Models]
    calibration: Mapping[str, Any]


def export_bundle(
    checkpoint: Checkpoint,
    output: str | os.PathLike[str],
    precision: str = "fp32",
    preprocessing: str = "crop",
    report: ProgressCallback = ignore_progress,
    derive: Callable[[Bundle], DerivedVariants] | None = None,
    opset: int = tracing.OPSET,
    compact: bool = False,
) -> VerificationReport:
    """Export a network and verify the bundle.

    The bundle appears under its name once it is complete and verified, and not before.

    Args:
        checkpoint: The trained network.
        output: Folder to write, NAME.hmdrn; an existing bundle is replaced.
        precision: "fp32"; bundles of "fp16" and "int8" have the float32 graphs too.
        preprocessing: "crop" for whole photos, "squash" for photos that are cropped to the subject.
        report: Receives the progress.
        derive: Makes the variants of "int8", which need photos to calibrate on.
        opset: 17 adds float32 graphs for TensorRT 8.6, variant "fp32-opset17".
        compact: True to round matrices and kernels to half precision, for a bundle of half the size; the
            float32 graphs compute with the rounded weights, widened while they load.

    Returns:
        Comparison of the graphs of this precision with the network; of "int8" those for ONNX Runtime. The
        manifest has the reports of all variants.

    Raises:
        ExportError: The precision or preprocessing is unknown, or `output` cannot be written.
        VerificationError: The bundle differs from the network by more than its tolerance; nothing is left.
    """
    for name, value, choices in (
        ("precision", precision, PRECISIONS),
        ("preprocessing", preprocessing, PREPROCESSING_MODES),
        ("opset", opset, OPSETS),
    ):
        if value not in choices:
            raise ExportError(f"unknown {name} {value!r}: choose one of {', '.join(map(str, choices))}")
    if precision == "int8" and derive is None:
        raise ExportError(
            "precision 'int8' needs photos to calibrate on: give --calibration DATA, "
            "best of your own kind of species and camera"
        )
    check_kind(checkpoint, Checkpoint, "checkpoint", "pass what hmdrn.load_checkpoint returns", ExportError)
    output = expand_path(output, ExportError)
    if output.exists() and not (output / MANIFEST_NAME).is_file():
        raise ExportError(f"{output} exists and is not a bundle: choose another --output, or remove it")
    checkpoint = replace(checkpoint, network=fold_normalizations(checkpoint.network, half=compact))
    with publish_atomically(output) as folder:
        manifest = write_bundle(checkpoint, folder, precision, preprocessing, report, opset)
        results = _verify_variants(checkpoint, folder, manifest, manifest.variants, report)
        if derive is not None:
            derived = derive(open_bundle(folder))
            report("writing", 0, 1)
            manifest = add_variants(folder, manifest, derived)
            results |= _verify_variants(checkpoint, folder, manifest, derived.variants, report)
        verification = {variant: result.to_dict() for variant, result in results.items()}
        _write_manifest(folder, replace(manifest, verification=verification))
    return results["int8-ort" if precision == "int8" else precision]


def write_bundle(
    checkpoint: Checkpoint,
    folder: Path,
    precision: str,
    preprocessing: str,
    report: ProgressCallback = ignore_progress,
    opset: int = tracing.OPSET,
) -> Manifest:
    """Trace the graphs into `folder`, without verification; see `export_bundle`.

    Returns:
        The manifest, which is not written.
    """
    network, card = checkpoint.network, checkpoint.card
    fingerprint = compute_fingerprint(network, preprocessing)
    metadata = {
        "hmdrn.model": card.name,
        "hmdrn.fingerprint": fingerprint,
        "hmdrn.precision": "fp32",
        "hmdrn.backbone": network.config.backbone,
        "hmdrn.head": network.config.head,
        "hmdrn.preprocessing": preprocessing,
        "hmdrn.license": card.license,
    }
    models: dict[str, onnx.ModelProto] = {}
    jobs = make_trace_jobs(network)
    for done, job in enumerate(jobs):
        report(f"tracing {', '.join(job.graphs)}", done, len(jobs))
        models.update(trace_graphs(job, metadata))
    report("writing", len(jobs), len(jobs))
    work = count_multiply_adds(models["encode" if "encode" in models else "explain"])
    # The float32 graphs come last: writing them moves their weights out.
    variants: dict[str, Models] = {}
    rules: dict[str, list[dict[str, Any]]] = {}
    if precision == "fp16":
        singles = {name: model for name, model in models.items() if name not in FLOAT32_GRAPHS}
        variants["fp16"] = {name: convert_to_half(model) for name, model in singles.items()}
        rules["fp16"] = describe_rules(singles.values(), variants["fp16"].values())
    if opset == opset17.OPSET:
        variants[FLOAT32_OPSET17] = {n: opset17.convert_to_opset17(model) for n, model in models.items()}
    graphs, files = _write_variants({**variants, "fp32": models}, folder, checkpoint)
    return Manifest(
        name=card.name,
        network=describe_network(network, fingerprint),
        input=describe_input(network, preprocessing),
        variants={variant: {**graphs["fp32"], **own} for variant, own in graphs.items()},
        files=files,
        model={**{k: v for k, v in asdict(card).items() if k != "name"}, "multiply_adds": work},
        provenance={
            "checkpoint_sha256": checkpoint.sha256,
            **{f"{name}_version": version(name) for name in ("hmdrn", "torch", "onnx", "onnxruntime")},
        },
        precision_rules=rules,
    )


def add_variants(folder: Path, manifest: Manifest, derived: DerivedVariants) -> Manifest:
    """Write derived variants into `folder`, and return the manifest with them."""
    graphs, files = _write_variants(derived.variants, folder)
    completed = {variant: {**manifest.variants["fp32"], **own} for variant, own in graphs.items()}
    return replace(
        manifest,
        variants={**manifest.variants, **completed},
        files={**manifest.files, **files},
        calibration=derived.calibration,
    )


def _write_variants(
    variants: Mapping[str, Models], folder: Path, checkpoint: Checkpoint | None = None
) -> tuple[dict[str, dict[str, Graph]], dict[str, str]]:
    """Write variants, and return their graphs' descriptions and their files' SHA-256 by name.

    The float32 graphs read their weights from the `checkpoint`, which is written beside them.
    """
    graphs: dict[str, dict[str, Graph]] = {}
    files: dict[str, str] = {}
    for variant, models in variants.items():
        place = f"graphs/{variant}"
        graphs[variant] = {
            name: describe_graph(model, f"{place}/{name}.onnx", variant) for name, model in models.items()
        }
        (folder / place).mkdir(parents=True)
        own = CheckpointFile(checkpoint, folder / CHECKPOINT) if checkpoint and variant == "fp32" else None
        write_graphs(models, folder / place, own)
        files |= {f"{place}/{file.name}": compute_sha256(file) for file in (folder / place).iterdir()}
    return graphs, dict(sorted(files.items()))


def _write_manifest(folder: Path, manifest: Manifest) -> None:
    (folder / MANIFEST_NAME).write_text(manifest.to_json(), encoding="utf-8")


def _verify_variants(
    checkpoint: Checkpoint,
    folder: Path,
    manifest: Manifest,
    variants: Iterable[str],
    report: ProgressCallback,
) -> dict[str, VerificationReport]:
    """Verify variants of an unfinished bundle, opened as a device will open them."""
    _write_manifest(folder, manifest)
    return {
        variant: _verify_variant(checkpoint, open_bundle(folder, variant), report) for variant in variants
    }


def _verify_variant(checkpoint: Checkpoint, bundle: Bundle, report: ProgressCallback) -> VerificationReport:
    """Verify one variant with an executor that computes as its types say.

    Raises:
        VerificationError: It differs from the network by more than its tolerance.
    """
    # Not by `open_backend`, which refuses variants for other backends.
    half = bundle.variant == "fp16"
    backend: Backend = RoundingBackend(bundle) if half else OnnxRuntimeBackend(bundle)
    failed = f"the {bundle.variant} bundle of {checkpoint.card.name!r} differs from its network: "
    try:
        result = verify_bundle(checkpoint.network, bundle, backend, report)
    except EnrollmentError as error:  # statistics that are not finite
        raise VerificationError(failed + (_find_overflow(backend) or str(error))) from error
    failures = (*filter(None, [_find_overflow(backend)]), *result.failures)
    if failures:
        raise VerificationError(failed + "; ".join(failures))
    return result


def _find_overflow(backend: Backend) -> str | None:
    if isinstance(backend, RoundingBackend) and backend.overflowed is not None:
        return f"half overflows in {backend.overflowed!r}; export with --precision fp32"
    return None
