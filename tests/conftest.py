"""Shared fixtures: bundles exported once a run, photographs and reference outputs where they are."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from filelock import FileLock, Timeout

# As many workers run as there are cores: threads of each would hold the others up. Before torch is imported.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if hasattr(os, "sched_getaffinity"):  # ONNX Runtime's too: they spin while they wait for work
        os.sched_getaffinity = lambda pid: {0}

ROOT = Path(__file__).parent.parent


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Run one worker more than there are cores: tests of processes and pages wait a fifth of their time."""
    return (os.cpu_count() or 1) + 1


pytest_plugins = ["authors_fixtures"]

CONV4 = ROOT / "weights" / "conv4.safetensors"

SMALL_SIDES = {"efficientnet-lite0": 64}
"""Sides in pixels of untrained networks that are not their backbone's: so many layers would take long."""


@pytest.fixture(scope="session", autouse=True)
def _state_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Leave the user's own state alone: no stored profile of this machine chooses in a test."""
    with patch.dict(os.environ, {"XDG_STATE_HOME": str(tmp_path_factory.mktemp("state"))}):
        yield


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """Path of a file that lies outside the project; the test is skipped, by name, where it is missing.

    They are looked for in $HMDRN_SHARED, else in `shared` beside the project.
    """
    folder = Path(os.environ.get("HMDRN_SHARED", ROOT.parent / "shared"))

    def find(name: str) -> Path:
        path = folder / name
        if not path.exists():
            pytest.skip(f"needs {name} in $HMDRN_SHARED or {folder}")
        return path

    return find


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Callable[..., Path]:
    """Makes a file or folder once for all processes of the test run: once(name, make, meanwhile).

    While another process makes it, `meanwhile` is called, if given, before waiting for the other.
    """
    base = tmp_path_factory.getbasetemp()
    # Workers of pytest-xdist have a folder each below the run's own.
    folder = (base if worker_id == "master" else base.parent) / "made-once"
    folder.mkdir(exist_ok=True)

    def made(name: str, make: Callable[[Path], None], meanwhile: Callable[[], object] | None = None) -> Path:
        path = folder / name
        lock = FileLock(folder / f"{name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if meanwhile is not None:
                meanwhile()
            lock.acquire()
        try:
            if not path.exists():
                make(path)
        finally:
            lock.release()
        return path

    return made


@pytest.fixture(scope="session")
def seeded_checkpoint(once: Callable[..., Path]) -> Callable[[str, str], Path]:
    """Checkpoint of a network with fixed weights, by backbone and head: the trained Conv-4, else untrained.

    Every weight that starts at a constant is moved off it: two tensors that are equal by chance would
    hide a mix-up of the two. The trained Conv-4, which has no such weights, saves the export of another.
    """

    def make(path: Path) -> None:
        torch = pytest.importorskip("torch")

        from hmdrn_network.checkpoints import ModelCard, save_checkpoint
        from hmdrn_network.config import NetworkConfig
        from hmdrn_network.hmdrn import HMDRN

        backbone, head = path.stem.split("_")
        torch.manual_seed(7)
        side = SMALL_SIDES.get(backbone, 0)
        network = HMDRN(NetworkConfig(backbone, head, side=side))  # type: ignore[arg-type]
        with torch.no_grad():
            for name, value in network.state_dict().items():
                if value.is_floating_point() and not name.endswith("positions"):
                    noise = torch.empty_like(value).uniform_(0.9, 1.1)
                    value.copy_(value * noise + (0.05 * (noise - 1) if value.dim() else 0))
                if name.endswith("beta"):
                    value.sub_(0.2)
            if side:
                _fit_batch_norms(network)
        save_checkpoint(path, network, ModelCard(f"{backbone}-{head}-seeded"))

    def find(backbone: str, head: str) -> Path:
        trained = (backbone, head) == ("conv4", "ridge")
        return CONV4 if trained else once(f"{backbone}_{head}.safetensors", make)

    return find


def _fit_batch_norms(network: Any) -> None:
    """Normalize by drawn specimens: through fifty random layers the signal would fade.

    ReLU6 clips a few of its values: where it clips half, random layers multiply the errors of rounding.
    """
    import torch

    from hmdrn_runtime.specimens.drawing import draw_specimens

    side = network.config.side
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # the mean over all batches
            if name.endswith(("stem.norm", "expand_norm", "depthwise_norm")):  # ReLU6 comes next
                module.weight.mul_(1.3)
                module.bias.add_(2.0)
    network.train()
    network.features(torch.from_numpy(draw_specimens(range(4), 4, size=side).reshape(-1, side, side, 3)))
    network.eval()


@pytest.fixture(scope="session")
def exported(once: Callable[..., Path], seeded_checkpoint: Callable[[str, str], Path]) -> Callable[..., Path]:
    """Bundle of a checkpoint, exported once a run: exported("conv4", "attention") or exported(path)."""

    def make(*source: str | Path, preprocessing: str = "crop") -> Path:
        pytest.importorskip("torch")

        from hmdrn_export.exporter import export_bundle
        from hmdrn_network.checkpoints import load_checkpoint

        checkpoint = Path(source[0]) if len(source) == 1 else seeded_checkpoint(*map(str, source))

        def export(path: Path) -> None:
            export_bundle(load_checkpoint(checkpoint), path, preprocessing=preprocessing)

        other = None
        if checkpoint == CONV4:  # most tests need this bundle first, and the other one next
            other = partial(make, "conv4", "attention")
        return once(f"{checkpoint.stem}_{preprocessing}.hmdrn", export, other)

    return make


@pytest.fixture(scope="session")
def conv4(exported: Callable[..., Path]) -> Path:
    """Bundle of the trained Conv-4: smaller and faster than the package's model."""
    path: Path = exported(CONV4)
    return path


@pytest.fixture
def untraced(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Lets exports take the graphs of a finished bundle, untraced(bundle): tracing takes longest."""

    def take(bundle: Path) -> None:
        from hmdrn_export import exporter

        monkeypatch.setattr(exporter, "trace_graphs", _load_graphs(bundle))

    return take


def _load_graphs(bundle: Path) -> Callable[[Any, Any], dict[str, Any]]:
    """Return a double of `trace_graphs` that takes the graphs of a finished bundle."""
    from onnx_graphs import load_graph

    folder = bundle / "graphs" / "fp32"
    return lambda job, metadata: {name: load_graph(folder / f"{name}.onnx") for name in job.graphs}


@pytest.fixture(scope="session")
def written(
    once: Callable[..., Path],
    seeded_checkpoint: Callable[[str, str], Path],
    exported: Callable[..., Path],
) -> Callable[[str, str, str], Any]:
    """written(backbone, head, variant): an fp16 bundle that is not verified, which would take longer."""

    def make(backbone: str, head: str, variant: str) -> Any:
        from hmdrn_export import exporter
        from hmdrn_network.checkpoints import load_checkpoint
        from hmdrn_runtime.bundle.bundle import MANIFEST_NAME, open_bundle

        def write(path: Path) -> None:
            checkpoint = load_checkpoint(seeded_checkpoint(backbone, head))
            trace = exporter.trace_graphs
            if head == "ridge" or backbone == "conv4":  # other tests need this bundle as well
                trace = _load_graphs(exported(backbone, head))
            path.mkdir()
            with patch.object(exporter, "trace_graphs", trace):
                manifest = exporter.write_bundle(checkpoint, path, "fp16", "crop")
            (path / MANIFEST_NAME).write_text(manifest.to_json(), encoding="utf-8")

        return open_bundle(once(f"{backbone}_{head}_fp16_unverified.hmdrn", write), variant)

    return make
