"""From a checkpoint to a bundle."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path

import onnx

from hmdrn_export.fingerprint import fingerprint
from hmdrn_export.graphs import traces
from hmdrn_export.storage import WEIGHTS, write_graphs
from hmdrn_export.tracing import OPSET, trace
from hmdrn_export.verification import VerificationReport, verify
from hmdrn_network import HMDRN, Checkpoint
from hmdrn_network.config import IMAGENET_MEAN, IMAGENET_STD
from hmdrn_runtime.backends import open_backend
from hmdrn_runtime.bundle import MANIFEST, open_bundle, sha256_of
from hmdrn_runtime.errors import ExportError, VerificationError
from hmdrn_runtime.files import reason, user_path
from hmdrn_runtime.images import INPUT_SIZE, PREPROCESSINGS, RESIZE
from hmdrn_runtime.manifest import Fusion, Graph, Input, Manifest, Network, Tensor

PRECISIONS = ("fp32", "fp16", "int8")
_AVAILABLE = ("fp32",)

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
        precision: "fp32".
        preprocessing: "crop" for whole photographs, "squash" for photos that are cropped to the subject.
        report: Told of the progress.

    Returns:
        How the bundle compares with the network.

    Raises:
        ExportError: A precision or preprocessing that is not offered, or a place that cannot be written.
        VerificationError: The bundle differs from the network by more than its tolerance; nothing is left.
    """
    if precision not in PRECISIONS:
        raise ExportError(f"unknown precision {precision!r}: choose one of {', '.join(PRECISIONS)}")
    if precision not in _AVAILABLE:
        raise ExportError(
            f"precision {precision!r} is not offered by hmdrn {version('hmdrn')}: use --precision fp32"
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
        bundle = open_bundle(folder, precision)
        result = verify(
            checkpoint.network, bundle, open_backend(bundle), lambda done, of: report("verifying", done, of)
        )
        if result.failures:
            raise VerificationError(
                f"the {precision} bundle of {checkpoint.card.name!r} differs from its network: "
                + "; ".join(result.failures)
            )
        verified = replace(manifest, verification={precision: result.to_dict()})
        (folder / MANIFEST).write_text(verified.to_json(), encoding="utf-8")
    return result


def _write(
    checkpoint: Checkpoint, folder: Path, precision: str, preprocessing: str, report: Step
) -> Manifest:
    """Trace the graphs into `folder`, and say what they are."""
    network, card = checkpoint.network, checkpoint.card
    identity = fingerprint(network, preprocessing)
    metadata = {
        "hmdrn.model": card.name,
        "hmdrn.fingerprint": identity,
        "hmdrn.precision": precision,
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
    place = f"graphs/{precision}"
    graphs = {name: _describe(model, f"{place}/{name}.onnx", precision) for name, model in models.items()}
    report("writing", len(jobs), len(jobs))
    (folder / place).mkdir(parents=True)
    write_graphs(models, folder / place)
    names = [*(graph.file for graph in graphs.values()), f"{place}/{WEIGHTS}"]
    return Manifest(
        name=card.name,
        network=_network(network, identity),
        input=Input(INPUT_SIZE, RESIZE, preprocessing, IMAGENET_MEAN, IMAGENET_STD),
        variants={precision: graphs},
        files={name: sha256_of(folder / name) for name in names},
        model={key: value for key, value in asdict(card).items() if key != "name"},
        provenance={
            "checkpoint_sha256": checkpoint.sha256,
            **{
                f"{package}_version": version(package)
                for package in ("hmdrn", "torch", "onnx", "onnxruntime")
            },
        },
    )


def _network(network: HMDRN, identity: str) -> Network:
    config, fusion = network.config, network.fusion
    statistics = (
        "keys_values" if config.head == "attention" else "tokens" if config.keeps_tokens() else "gram"
    )
    return Network(
        fingerprint=identity,
        backbone=config.backbone,
        head=config.head,
        levels=config.level_specs,
        fusion=Fusion(
            {name: weight.item() for name, weight in fusion.weight.items()},
            fusion.scale.item(),
            float(fusion.divisor),
        ),
        statistics=statistics,
    )


def _describe(model: onnx.ModelProto, file: str, precision: str) -> Graph:
    def tensors(values: list[onnx.ValueInfoProto]) -> tuple[Tensor, ...]:
        return tuple(
            Tensor(
                value.name,
                onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).name,
                tuple(d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim),
            )
            for value in values
        )

    return Graph(
        file=file,
        precision="fp32" if model.graph.name == "solve" else precision,
        dialect="onnx",
        opset=OPSET,
        backends=("onnxruntime",),
        inputs=tensors(list(model.graph.input)),
        outputs=tensors(list(model.graph.output)),
    )


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
