"""From a checkpoint to a bundle."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any

import onnx

from hmdrn_export.description import describe_graph, describe_network
from hmdrn_export.fingerprint import fingerprint
from hmdrn_export.graphs import traces
from hmdrn_export.half import to_half
from hmdrn_export.precision import FLOAT32_GRAPHS, listed
from hmdrn_export.rounding import RoundingBackend
from hmdrn_export.storage import WEIGHTS, write_graphs
from hmdrn_export.tracing import trace
from hmdrn_export.verification import VerificationReport, verify
from hmdrn_network import Checkpoint
from hmdrn_network.config import IMAGENET_MEAN, IMAGENET_STD
from hmdrn_runtime.backends import Backend, open_backend
from hmdrn_runtime.bundle import MANIFEST, Bundle, open_bundle, sha256_of
from hmdrn_runtime.errors import EnrollmentError, ExportError, VerificationError
from hmdrn_runtime.files import reason, user_path
from hmdrn_runtime.images import INPUT_SIZE, PREPROCESSINGS, RESIZE
from hmdrn_runtime.manifest import Graph, Input, Manifest

PRECISIONS = ("fp32", "fp16", "int8")
_AVAILABLE = ("fp32", "fp16")

Step = Callable[[str, int, int], None]
"""Progress: what is being done, how much of it is done, and of how much."""


def export_bundle(
    checkpoint: Checkpoint,
    output: str | os.PathLike[str],
    precision: str = "fp32",
    preprocessing: str = "crop",
    report: Step = lambda what, done, of: None,
) -> VerificationReport:
    """Export a network and verify what was written.

    The bundle appears under its name when it is complete and verified, and not before.

    Args:
        checkpoint: The trained network.
        output: Folder to make, NAME.hmdrn; a bundle that is there is replaced.
        precision: "fp32"; or "fp16", whose bundle has the float32 graphs too, for CPUs.
        preprocessing: "crop" for whole photographs, "squash" for photos that are cropped to the subject.
        report: Told of the progress.

    Returns:
        How the graphs of this precision compare with the network.

    Raises:
        ExportError: A precision or preprocessing that is not offered, or a place that cannot be written.
        VerificationError: The bundle differs from the network by more than its tolerance; nothing is left.
    """
    if precision not in PRECISIONS:
        raise ExportError(f"unknown precision {precision!r}: choose one of {', '.join(PRECISIONS)}")
    if precision not in _AVAILABLE:
        raise ExportError(
            f"precision {precision!r} is not offered by hmdrn {version('hmdrn')}: "
            f"use --precision {' or '.join(_AVAILABLE)}"
        )
    if preprocessing not in PREPROCESSINGS:
        raise ExportError(
            f"unknown preprocessing {preprocessing!r}: choose one of {', '.join(PREPROCESSINGS)}"
        )
    output = user_path(output, ExportError)
    if output.exists() and not (output / MANIFEST).is_file():
        raise ExportError(f"{output} exists and is no bundle: choose another --output, or remove it")
    with _published(output) as folder:
        manifest = _write(checkpoint, folder, precision, preprocessing, report)
        (folder / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
        results = {
            variant: _verified(checkpoint, open_bundle(folder, variant), report)
            for variant in manifest.variants
        }
        verification = {variant: result.to_dict() for variant, result in results.items()}
        verified = replace(manifest, verification=verification)
        (folder / MANIFEST).write_text(verified.to_json(), encoding="utf-8")
    return results[precision]


def _write(
    checkpoint: Checkpoint, folder: Path, precision: str, preprocessing: str, report: Step
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
        rules["fp16"] = listed(photos.values())
        variants["fp16"] = _write_variant(halves, folder, "fp16")
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
        input=Input(INPUT_SIZE, RESIZE, preprocessing, IMAGENET_MEAN, IMAGENET_STD),
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
    half = bundle.variant == "fp16"
    backend = RoundingBackend(bundle) if half else open_backend(bundle)
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


@contextmanager
def _published(output: Path) -> Iterator[Path]:
    """A folder to write into that takes its final name when the block ends well, and vanishes otherwise."""
    token = secrets.token_hex(4)
    folder = output.with_name(f".{output.name}.{token}.part")
    parents = [parent for parent in output.parents if not parent.exists()]
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise ExportError(f"cannot write to {output.parent}: {reason(error)}") from error
    try:
        yield folder
        replaced = output.with_name(f".{output.name}.{token}.old")
        if output.exists():
            output.replace(replaced)
        try:
            folder.replace(output)
        except OSError:
            if replaced.exists():
                replaced.replace(output)
            raise
        shutil.rmtree(replaced, ignore_errors=True)
    except OSError as error:
        raise ExportError(f"cannot write {output}: {reason(error)}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for parent in parents:  # from the innermost; they are not empty if all went well
            with suppress(OSError):
                parent.rmdir()
