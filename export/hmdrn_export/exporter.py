"""From a checkpoint to a bundle."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any

import onnx

from hmdrn_export.bundle_writer.description import describe_graph, describe_network
from hmdrn_export.bundle_writer.fingerprint import fingerprint
from hmdrn_export.bundle_writer.publishing import published
from hmdrn_export.bundle_writer.storage import WEIGHTS, write_graphs
from hmdrn_export.graphs import opset17, tracing
from hmdrn_export.graphs.modules import traces
from hmdrn_export.graphs.tracing import trace
from hmdrn_export.precision.half import to_half
from hmdrn_export.precision.rounding_backend import RoundingBackend
from hmdrn_export.precision.rules import FLOAT32_GRAPHS, listed
from hmdrn_export.verification import VerificationReport, verify
from hmdrn_network.checkpoints import Checkpoint
from hmdrn_runtime.backends.base import Backend
from hmdrn_runtime.backends.onnxruntime import OnnxRuntimeBackend
from hmdrn_runtime.bundle.bundle import MANIFEST, Bundle, open_bundle, sha256_of
from hmdrn_runtime.bundle.manifest import Graph, Input, Manifest
from hmdrn_runtime.bundle.variants import FLOAT32_OPSET17
from hmdrn_runtime.errors import EnrollmentError, ExportError, VerificationError
from hmdrn_runtime.images.preprocessing import INPUT_SIZE, PREPROCESSINGS, RESIZE
from hmdrn_runtime.io.files import user_path

PRECISIONS = ("fp32", "fp16", "int8")
OPSETS = (tracing.OPSET, opset17.OPSET)

Step = Callable[[str, int, int], None]
"""Progress: what is being done, how much of it is done, and of how much."""


@dataclass(frozen=True, eq=False)
class Derived:
    """Variants made of a bundle's verified float32 graphs.

    Attributes:
        variants: Graphs by name, weights inside, by variant; the float32 ones serve where there is none.
        calibration: How they were found, JSON-ready, for the manifest.
    """

    variants: Mapping[str, Mapping[str, onnx.ModelProto]]
    calibration: Mapping[str, Any]


Derive = Callable[[Bundle], Derived]


def export_bundle(
    checkpoint: Checkpoint,
    output: str | os.PathLike[str],
    precision: str = "fp32",
    preprocessing: str = "crop",
    report: Step = lambda what, done, of: None,
    derive: Derive | None = None,
    opset: int = tracing.OPSET,
) -> VerificationReport:
    """Export a network and verify what was written.

    The bundle appears under its name when it is complete and verified, and not before.

    Args:
        checkpoint: The trained network.
        output: Folder to make, NAME.hmdrn; a bundle that is there is replaced.
        precision: "fp32"; "fp16" or "int8", whose bundles have the float32 graphs too.
        preprocessing: "crop" for whole photographs, "squash" for photos that are cropped to the subject.
        report: Told of the progress.
        derive: Makes the variants of "int8", which need photographs to calibrate on.
        opset: 17 adds float32 graphs for TensorRT 8.5 and 8.6, variant "fp32-opset17".

    Returns:
        How the graphs of this precision compare with the network; of "int8" those for ONNX Runtime. The
        manifest has the reports of all variants.

    Raises:
        ExportError: A precision or preprocessing that is not offered, or a place that cannot be written.
        VerificationError: The bundle differs from the network by more than its tolerance; nothing is left.
    """
    if precision not in PRECISIONS:
        raise ExportError(f"unknown precision {precision!r}: choose one of {', '.join(PRECISIONS)}")
    if precision == "int8" and derive is None:
        raise ExportError(
            "precision 'int8' needs photographs to calibrate on: give --calibration DATA, "
            "best of your own kind of species and camera"
        )
    if preprocessing not in PREPROCESSINGS:
        raise ExportError(
            f"unknown preprocessing {preprocessing!r}: choose one of {', '.join(PREPROCESSINGS)}"
        )
    if opset not in OPSETS:
        raise ExportError(f"opset is {opset}: choose one of {', '.join(map(str, OPSETS))}")
    output = user_path(output, ExportError)
    if output.exists() and not (output / MANIFEST).is_file():
        raise ExportError(f"{output} exists and is no bundle: choose another --output, or remove it")
    with published(output) as folder:
        manifest = _write(checkpoint, folder, precision, preprocessing, report, opset)
        results = _verify_all(checkpoint, folder, manifest, manifest.variants, report)
        if derive is not None:
            derived = derive(open_bundle(folder))
            report("writing", 0, 1)
            manifest = _with_derived(folder, manifest, derived)
            results |= _verify_all(checkpoint, folder, manifest, derived.variants, report)
        verification = {variant: result.to_dict() for variant, result in results.items()}
        _write_manifest(folder, replace(manifest, verification=verification))
    return results["int8-ort" if precision == "int8" else precision]


def _write(
    checkpoint: Checkpoint,
    folder: Path,
    precision: str,
    preprocessing: str,
    report: Step,
    opset: int = tracing.OPSET,
) -> Manifest:
    """Trace the graphs into `folder`, and say what they are."""
    network, card = checkpoint.network, checkpoint.card
    identity = fingerprint(network, preprocessing)
    metadata = {
        "hmdrn.model": card.name,
        "hmdrn.fingerprint": identity,
        "hmdrn.precision": "fp32",
        "hmdrn.backbone": network.config.backbone,
        "hmdrn.head": network.config.head,
        "hmdrn.preprocessing": preprocessing,
        "hmdrn.licence": card.licence,
    }
    models: dict[str, onnx.ModelProto] = {}
    jobs = traces(network)
    for done, job in enumerate(jobs):
        report(f"tracing {', '.join(job.cuts)}", done, len(jobs))
        models.update(trace(job, metadata))
    report("writing", len(jobs), len(jobs))
    variants: dict[str, Mapping[str, Graph]] = {}
    rules: dict[str, list[dict[str, Any]]] = {}
    if precision == "fp16":
        photos = {name: model for name, model in models.items() if name not in FLOAT32_GRAPHS}
        # Made before the float32 graphs are written, which moves their weights out.
        halves = {name: to_half(model) for name, model in photos.items()}
        rules["fp16"] = listed(photos.values(), halves.values())
        variants["fp16"] = _write_variant(halves, folder, "fp16")
    if opset == opset17.OPSET:
        older = {name: opset17.to_opset17(model) for name, model in models.items()}
        variants[FLOAT32_OPSET17] = _write_variant(older, folder, FLOAT32_OPSET17)
    variants["fp32"] = _write_variant(models, folder, "fp32")
    variants = {
        name: {**{g: variants["fp32"][g] for g in variants["fp32"] if g not in graphs}, **graphs}
        for name, graphs in variants.items()
    }
    names = {graph.file for graphs in variants.values() for graph in graphs.values()}
    names |= {f"{PurePosixPath(name).parent}/{WEIGHTS}" for name in names}
    return Manifest(
        name=card.name,
        network=describe_network(network, identity),
        input=Input(INPUT_SIZE, RESIZE, preprocessing, network.config.spec.mean, network.config.spec.std),
        variants=variants,
        files={name: sha256_of(folder / name) for name in sorted(names)},
        model={key: value for key, value in asdict(card).items() if key != "name"},
        provenance={
            "checkpoint_sha256": checkpoint.sha256,
            **{
                f"{package}_version": version(package)
                for package in ("hmdrn", "torch", "onnx", "onnxruntime")
            },
        },
        precision_rules=rules,
    )


def _with_derived(folder: Path, manifest: Manifest, derived: Derived) -> Manifest:
    """Write derived variants into `folder`; the manifest with them."""
    written = {
        variant: {**manifest.variants["fp32"], **_write_variant(models, folder, variant)}
        for variant, models in derived.variants.items()
    }
    places = [folder / "graphs" / variant for variant in written]
    files = {str(file.relative_to(folder).as_posix()): file for place in places for file in place.iterdir()}
    return replace(
        manifest,
        variants={**manifest.variants, **written},
        files={**manifest.files, **{name: sha256_of(file) for name, file in sorted(files.items())}},
        calibration=derived.calibration,
    )


def _write_manifest(folder: Path, manifest: Manifest) -> None:
    (folder / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")


def _verify_all(
    checkpoint: Checkpoint, folder: Path, manifest: Manifest, variants: Iterable[str], report: Step
) -> dict[str, VerificationReport]:
    """Check variants of the bundle that is being made, as a device will open them."""
    _write_manifest(folder, manifest)
    return {variant: _verified(checkpoint, open_bundle(folder, variant), report) for variant in variants}


def _write_variant(models: Mapping[str, onnx.ModelProto], folder: Path, variant: str) -> dict[str, Graph]:
    """Write the graphs of one variant, and describe them."""
    place = f"graphs/{variant}"
    graphs = {name: describe_graph(model, f"{place}/{name}.onnx", variant) for name, model in models.items()}
    (folder / place).mkdir(parents=True)
    write_graphs(models, folder / place)
    return graphs


def _verified(checkpoint: Checkpoint, bundle: Bundle, report: Step) -> VerificationReport:
    """Check one variant with an executor that computes as its types say.

    Raises:
        VerificationError: It differs from the network by more than its tolerance.
    """
    # Opened past the manifest's word on what they are for: this is no use of them but a check.
    half = bundle.variant == "fp16"
    backend: Backend = RoundingBackend(bundle) if half else OnnxRuntimeBackend(bundle)
    failed = f"the {bundle.variant} bundle of {checkpoint.card.name!r} differs from its network: "
    try:
        result = verify(
            checkpoint.network,
            bundle,
            backend,
            lambda done, of: report(f"verifying {bundle.variant}", done, of),
        )
    except EnrollmentError as error:  # statistics that are not finite
        raise VerificationError(failed + (_overflow(backend) or str(error))) from error
    failures = (*filter(None, [_overflow(backend)]), *result.failures)
    if failures:
        raise VerificationError(failed + "; ".join(failures))
    return result


def _overflow(backend: Backend) -> str | None:
    if isinstance(backend, RoundingBackend) and backend.overflowed is not None:
        return f"half overflows in {backend.overflowed!r}; export with --precision fp32"
    return None
