"""A fleet as a whole: one device makes keys, builds and signs; others run the engines, or say why not."""

from __future__ import annotations

import dataclasses
import re
import shutil
from types import SimpleNamespace

import pytest
from fake_tensorrt import FakeCuda, fake_trt, make_plan

from hmdrn.cli.commands import build
from hmdrn.cli.main import cli, run
from hmdrn.loading import load
from hmdrn_export.tensorrt import engines
from hmdrn_runtime.backends.cuda_driver import Gpu
from hmdrn_runtime.backends.tensorrt import fingerprint
from hmdrn_runtime.backends.tensorrt import open as opening
from hmdrn_runtime.errors import BackendError
from hmdrn_runtime.specimens.drawing import draw_specimens

pytest.importorskip("cryptography", reason="needs cryptography: the extra fleet")
pytestmark = pytest.mark.slow

ORIN = Gpu("Orin (nvgpu)", "8.7", 8)


@dataclasses.dataclass(frozen=True)
class Device:
    """A device of the fleet, which a process is moved to by `start`."""

    name: str
    l4t: str = "R36 (release), REVISION: 4.3, GCID: 38968081, DATE: Wed Jan  8 2025"
    tensorrt: str = "10.3.0"
    gpu: Gpu = ORIN

    def start(self, monkeypatch, folder):
        cuda = FakeCuda()
        trt = fake_trt(cuda, self.tensorrt)
        monkeypatch.delenv("HMDRN_TRUSTED_KEYS", raising=False)
        monkeypatch.setenv("XDG_STATE_HOME", str(folder / self.name))
        monkeypatch.setattr(fingerprint, "read_l4t_release", lambda: self.l4t)
        for module in (build, opening):
            monkeypatch.setattr(module, "find_gpu", lambda: self.gpu)
            monkeypatch.setattr(module, "import_tensorrt", lambda: trt)
            monkeypatch.setattr(module, "find_cuda", lambda: [lambda: cuda])
        return trt


BUILDER = Device("builder")
OTHER = Device("other", l4t="R36 (release), REVISION: 4.7, GCID: 42132812, DATE: Thu Sep 18 2025")
LATER = Device("later", l4t="R36 (release), REVISION: 5.0")
UPDATED = Device("updated", tensorrt="10.16.0")
LARGER = Device("larger", gpu=dataclasses.replace(ORIN, multiprocessors=16))


@pytest.fixture(scope="module")
def built(exported, tmp_path_factory):
    """The builder's folder: the keys, and a bundle with signed engines."""

    def compile_graph(trt, path, shapes, options, report):
        return SimpleNamespace(plan=make_plan(path, {"batch": 8, "classes": 20}), timing_cache=b"")

    folder = tmp_path_factory.mktemp("builder")
    bundle, key = folder / "birds.hmdrn", folder / "fleet.pem"
    shutil.copytree(exported("conv4", "ridge"), bundle)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "build_engine", compile_graph)
        BUILDER.start(patch, folder)
        assert run(cli, "hmdrn", ["keygen", str(key)]) == 0
        assert run(cli, "hmdrn", ["build", str(bundle), "--sign", str(key)]) == 0
    return folder


@pytest.fixture
def fleet(built, tmp_path):
    """The bundle and the public key, as they are copied to another device."""
    shutil.copytree(built / "birds.hmdrn", tmp_path / "birds.hmdrn")
    shutil.copy(built / "fleet.pem.pub", tmp_path)
    return SimpleNamespace(bundle=tmp_path / "birds.hmdrn", public=tmp_path / "fleet.pem.pub")


def test_engines_signed_on_one_device_answer_right_on_another(fleet, tmp_path, monkeypatch):
    trt = OTHER.start(monkeypatch, tmp_path)
    photos, answers = draw_specimens(range(3), 3, size=84, seed=1), []
    for backend in ("tensorrt", "onnxruntime"):
        birds = load(fleet.bundle, backend=backend, trusted_keys=[fleet.public])
        assert birds.backend.name == backend
        for species, images in enumerate(photos):
            birds.enroll(f"species {species}", list(images[:2]))
        answers.append([birds.classify(images[2]) for images in photos])
    assert len(trt.engines) == 3  # classify, enroll and solve
    assert all(engine.contexts for engine in trt.engines)
    for ours, expected in zip(*answers, strict=True):
        assert ours.label == expected.label
        assert ours.probability == pytest.approx(expected.probability, abs=1e-4)


def use_another_key(fleet):
    other = fleet.public.with_name("other.pem")
    assert run(cli, "hmdrn", ["keygen", str(other)]) == 0
    return [f"{other}.pub"]


def change_an_engine(fleet):
    (plan,) = fleet.bundle.glob("engines/*/classify.plan")
    plan.write_bytes(plan.read_bytes().replace(b'"batch": 8', b'"batch": 9'))
    return [fleet.public]


def trust_nobody(fleet):
    return []


def change_nothing(fleet):
    return [fleet.public]


@pytest.mark.parametrize(
    ("change", "device", "reason"),
    [
        (use_another_key, OTHER, r"are signed with the key \w{12}\.\.\., which is not trusted here"),
        (trust_nobody, OTHER, "were not built here"),
        (change_an_engine, OTHER, r"classify\.plan was changed or damaged: its SHA-256 is"),
        (change_nothing, LATER, "built for L4T 36.4, here is 36.5"),
        (change_nothing, UPDATED, "built for compiler tensorrt 10.3.0, here is tensorrt 10.16"),
        (change_nothing, LARGER, "a GPU with 8 multiprocessors, not 16"),
    ],
    ids=["key", "no-key", "engine", "l4t", "tensorrt", "gpu"],
)
def test_other_keys_engines_and_devices_are_refused_with_the_reason(
    fleet, tmp_path, monkeypatch, change, device, reason
):
    keys = change(fleet)
    trt = device.start(monkeypatch, tmp_path)
    with pytest.raises(BackendError, match=reason):
        load(fleet.bundle, backend="tensorrt", trusted_keys=keys)
    birds = load(fleet.bundle, trusted_keys=keys)
    assert birds.backend.name == "onnxruntime"
    assert re.search(reason, birds.backend_report.engines_issue)
    assert trt.engines == []
