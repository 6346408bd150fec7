from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
import json
import math
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save

from hmdrn_network.authors import is_derived
from hmdrn_network.checkpoints import (
    FORMAT,
    ModelCard,
    build_network,
    canonical_weights,
    load_checkpoint,
    save_checkpoint,
)
from hmdrn_network.config import NetworkConfig
from hmdrn_network.hmdrn import HMDRN
from hmdrn_runtime.errors import CheckpointError

Entries = dict[str, torch.Tensor]

CARD = ModelCard(
    "warbler-7",
    license="CC-BY-4.0",
    training_data="640 photos of warblers; Zaunkönig, 鳥",
    intended_use="field trials\nnot for gulls",
    metrics={"val 5-way 5-shot accuracy": 83.125, "ci95": 0.56},
    recipe={"seed": 3, "steps": [100, 200], "amp": True, "note": None},
)


def network(config: NetworkConfig | None = None) -> HMDRN:
    torch.manual_seed(3)
    made = HMDRN(config or NetworkConfig()).requires_grad_(False)
    for value in made.state_dict().values():
        if value.is_floating_point():
            value.add_(0.1 * torch.rand(value.shape))
    return made


def own_file(path: Path, entries: Entries | None = None, **metadata: str | None) -> Path:
    """A file of our format with some of it changed; metadata of None is left out."""
    whole = {
        "format": FORMAT,
        "config": json.dumps(NetworkConfig().to_dict()),
        "card": json.dumps({"name": "x"}),
    }
    values = {key: value for key, value in (whole | metadata).items() if value is not None}
    path.write_bytes(save(canonical_weights(network()) if entries is None else entries, values))
    return path


def equal(a: HMDRN, b: HMDRN) -> bool:
    ours, theirs = canonical_weights(a), canonical_weights(b)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    return str(caught.value)


def one_bad(value: torch.Tensor) -> torch.Tensor:
    """The same but for one entry that is not finite."""
    bad = value.clone()
    bad.flatten()[0] = math.nan
    return bad


# Our own files


@pytest.mark.parametrize("levels", [("high", "mid"), ("high",), ("mid",)], ids="+".join)
@pytest.mark.parametrize("head", ["ridge", "attention"])
def test_a_saved_network_is_loaded_exactly(tmp_path, head, levels):
    saved = network(NetworkConfig("conv4", head, levels)).train()
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, saved, CARD)
    loaded = load_checkpoint(path)
    assert loaded.network.config == saved.config
    assert loaded.card == CARD
    assert loaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert equal(loaded.network, saved)
    assert not loaded.network.training
    assert all(value.dtype == torch.float32 for value in canonical_weights(loaded.network).values())


def test_a_resnet12_is_saved_and_loaded_exactly(tmp_path):
    saved = network(NetworkConfig("resnet12", "ridge"))
    save_checkpoint(tmp_path / "model", saved, CARD)
    loaded = load_checkpoint(tmp_path / "model")
    assert loaded.network.config == saved.config
    assert equal(loaded.network, saved)


def test_saving_a_loaded_network_gives_the_same_file(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    save_checkpoint(first, network(), CARD)
    loaded = load_checkpoint(first)
    save_checkpoint(second, loaded.network, loaded.card)
    assert load_checkpoint(second).card == loaded.card
    assert load_file(first).keys() == load_file(second).keys()
    assert equal(load_checkpoint(second).network, loaded.network)


def test_a_file_holds_neither_position_tables_nor_batch_counters(tmp_path):
    save_checkpoint(tmp_path / "model", network(), CARD)
    names = load_file(tmp_path / "model").keys()
    assert not [name for name in names if "positions" in name or "num_batches" in name]
    assert len(names) == 101


def test_a_network_in_half_precision_is_loaded_as_float32(tmp_path):
    half = {name: value.half() for name, value in canonical_weights(network()).items()}
    loaded = canonical_weights(load_checkpoint(own_file(tmp_path / "half", half)).network)
    for name, value in loaded.items():
        assert torch.equal(value, half[name].float())


def test_a_compact_file_has_half_the_size_and_rounded_matrices(tmp_path):
    torch.manual_seed(0)
    network = HMDRN(NetworkConfig("efficientnet-lite0", side=64)).eval()
    save_checkpoint(tmp_path / "full.safetensors", network, ModelCard("full"))
    save_checkpoint(tmp_path / "compact.safetensors", network, ModelCard("compact"), compact=True)
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("compact", "full")]
    assert sizes[0] < 0.56 * sizes[1]
    read = load_checkpoint(tmp_path / "compact.safetensors").network.state_dict()
    for name, value in network.state_dict().items():
        exact = value.half().to(value.dtype) if value.dim() > 1 else value
        assert torch.equal(read[name], exact), name


def test_saving_replaces_a_file_as_a_whole_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"old")
    save_checkpoint(path, network(), CARD)
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]
    assert load_checkpoint(path).card == CARD


def test_a_folder_that_is_missing_is_named_on_saving(tmp_path):
    with pytest.raises(
        CheckpointError, match=re.escape(f"{tmp_path / 'none'} does not exist; make it first")
    ):
        save_checkpoint(tmp_path / "none" / "model", network(), CARD)


def test_saved_weights_are_not_views_of_the_network(tmp_path):
    trained = network()
    save_checkpoint(tmp_path / "model", trained, CARD)
    loaded = load_checkpoint(tmp_path / "model").network
    before = canonical_weights(loaded)["heads.high.alpha"].clone()
    trained.heads["high"].alpha.fill_(99.0)
    assert torch.equal(canonical_weights(loaded)["heads.high.alpha"], before)


@pytest.mark.parametrize("start", [b"PK", b"\x80\x02"], ids=["zip", "pickle"])
def test_a_safetensors_file_is_loaded_with_any_length_of_its_header(tmp_path, start):
    # A safetensors file begins with its header's length, and that may spell the mark of a torch file.
    path = tmp_path / "model"
    plain = ModelCard("x", license="")
    save_checkpoint(path, network(), plain)
    length = int.from_bytes(path.read_bytes()[:8], "little")
    wanted = int.from_bytes(start, "little")
    while wanted < length:
        wanted += 2**16
    card = dataclasses.replace(plain, license="y" * (wanted - length))
    save_checkpoint(path, network(), card)
    assert path.read_bytes()[:2] == start
    assert load_checkpoint(path).card == card


# The authors' files


@pytest.mark.parametrize("spelling", ["fsrm", "mtfem"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_both_spellings_and_a_prefix_give_the_same_network(tmp_path, authors_entries, spelling, prefix):
    entries = authors_entries("conv4", spelling=spelling)
    path = tmp_path / "some birds.pth"
    torch.save(OrderedDict((prefix + name, value) for name, value in entries.items()), path)
    loaded = load_checkpoint(path)
    assert loaded.network.config == NetworkConfig("conv4", "attention", ("high", "mid"))
    assert loaded.card == ModelCard("some birds")
    assert loaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert not loaded.network.training
    number = {"high": "1", "mid": "2"}
    later = authors_entries("conv4")
    weights = canonical_weights(loaded.network)
    assert float(weights["fusion.scale"]) == 2.0
    assert float(weights["fusion.weight.high"]) == pytest.approx(0.4)
    assert float(weights["fusion.weight.mid"]) == pytest.approx(0.6)
    for level in ("high", "mid"):
        head = later[f"clarm{number[level]}.to_qkv.0.weight"]
        assert torch.equal(weights[f"heads.{level}.qkv.weight"], head)
        norm = later[f"mtfem{number[level]}.transformer.blocks.1.norm1.weight"]
        assert torch.equal(weights[f"transformers.{level}.layers.1.norm.weight"], norm)
    assert sum(w.numel() for w in weights.values()) == sum(
        value.numel() for name, value in later.items() if not is_derived(name)
    )


@pytest.mark.parametrize("level", ["high", "mid"])
@pytest.mark.parametrize("spelling", ["fsrm", "mtfem"])
def test_a_file_of_one_level_alone_is_recognized(tmp_path, authors_entries, level, spelling):
    torch.save(authors_entries("conv4", (level,), spelling=spelling), tmp_path / "part.pth")
    loaded = load_checkpoint(tmp_path / "part.pth").network
    assert loaded.config == NetworkConfig("conv4", "attention", (level,))


def test_a_resnet12_is_recognized(tmp_path, authors_entries, resnet12_filled):
    assert load_checkpoint(resnet12_filled).network.config == NetworkConfig("resnet12", "attention")
    torch.save(authors_entries("resnet12", ("mid",), spelling="fsrm"), tmp_path / "part.pth")
    assert load_checkpoint(tmp_path / "part.pth").network.config == NetworkConfig(
        "resnet12", "attention", ("mid",)
    )


@pytest.mark.parametrize("zipped", [True, False])
def test_new_and_old_torch_files_are_read(tmp_path, authors_entries, zipped):
    path = tmp_path / "model.pth"
    torch.save(authors_entries("conv4"), path, _use_new_zipfile_serialization=zipped)
    assert load_checkpoint(str(path)).network.config.head == "attention"


def test_position_tables_and_batch_counters_may_be_missing(tmp_path, authors_entries):
    entries = {name: v for name, v in authors_entries("conv4").items() if not is_derived(name)}
    torch.save(entries, tmp_path / "model.pth")
    assert load_checkpoint(tmp_path / "model.pth").network.config.backbone == "conv4"


# Entries that do not fit


@pytest.mark.parametrize("head", ["ridge", "attention"])
def test_every_entry_that_is_missing_is_named(head):
    config = NetworkConfig("conv4", head)
    weights = canonical_weights(network(config))
    for name in weights:
        rest = {n: w for n, w in weights.items() if n != name}
        with pytest.raises(CheckpointError, match=rf"somewhere .*: 1 missing \({re.escape(name)}\)$"):
            build_network(config, rest, "somewhere")


def test_all_problems_of_a_file_are_in_one_error(tmp_path):
    weights = canonical_weights(network())
    del weights["fusion.scale"], weights["transformers.mid.norm.bias"]
    weights["surplus.one"], weights["surplus.two"] = torch.zeros(2), torch.zeros(2)
    weights["backbone.blocks.1.conv.weight"] = torch.zeros(64, 64, 5, 5)
    weights["heads.mid.beta"] = torch.zeros(3)
    weights["heads.high.alpha"] = torch.tensor(math.nan)
    weights["backbone.blocks.0.norm.running_var"][7] = math.inf
    message = refusal(own_file(tmp_path / "model", weights))
    assert str(tmp_path / "model") in message
    assert "conv4 network with ridge head and levels high+mid" in message
    assert "2 missing (fusion.scale, transformers.mid.norm.bias)" in message
    assert "2 unexpected (surplus.one, surplus.two)" in message
    assert (
        "2 misshapen (backbone.blocks.1.conv.weight (64, 64, 5, 5) instead of (64, 64, 3, 3), "
        "heads.mid.beta (3,) instead of ())"
    ) in message
    assert "2 not finite (backbone.blocks.0.norm.running_var, heads.high.alpha)" in message


def test_a_matrix_on_its_side_is_misshapen(tmp_path):
    weights = canonical_weights(network(NetworkConfig("conv4", "attention")))
    weights["heads.high.qkv.weight"] = weights["heads.high.qkv.weight"].T.contiguous()
    config = json.dumps(NetworkConfig("conv4", "attention").to_dict())
    message = refusal(own_file(tmp_path / "model", weights, config=config))
    assert "1 misshapen (heads.high.qkv.weight (64, 192) instead of (192, 64))" in message


def test_a_matrix_that_was_flattened_is_misshapen(tmp_path):
    weights = canonical_weights(network())
    name = "transformers.high.layers.0.mlp_in.weight"
    weights[name] = weights[name].flatten()
    message = refusal(own_file(tmp_path / "model", weights))
    assert f"1 misshapen ({name} (4096,) instead of (64, 64))" in message


def test_weights_of_another_configuration_are_refused(tmp_path):
    message = refusal(
        own_file(tmp_path / "model", config=json.dumps(NetworkConfig("conv4", "attention").to_dict()))
    )
    assert "2 missing (heads.high.qkv.weight, heads.mid.qkv.weight)" in message
    assert "4 unexpected (heads.high.alpha, heads.high.beta, heads.mid.alpha, heads.mid.beta)" in message


def wrong_entries(make: Callable[..., Entries], change: str) -> Entries:
    entries = make("conv4")
    if change == "missing":
        del entries["mtfem2.transformer.blocks.1.linear1.bias"]
    elif change == "unexpected":
        entries["mtfem1.transformer.blocks.3.linear1.bias"] = torch.zeros(64)
    elif change == "unknown":
        entries["fc.weight"] = torch.zeros(64, 64)
    elif change == "misshapen":
        entries["feature_extractor.conv2.layers.0.weight"] = torch.zeros(64, 32, 3, 3)
    else:
        entries["clarm1.to_qkv.0.weight"] = one_bad(entries["clarm1.to_qkv.0.weight"])
    return entries


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("missing", r"1 missing \(transformers\.mid\.layers\.1\.mlp_in\.bias\)"),
        ("unexpected", r"1 unexpected \(transformers\.high\.layers\.3\.mlp_in\.bias\)"),
        ("unknown", r"1 unexpected \(fc\.weight\)"),
        ("misshapen", r"1 misshapen \(backbone\.blocks\.1\.conv\.weight \(64, 32, 3, 3\) instead of"),
        ("not finite", r"1 not finite \(heads\.high\.qkv\.weight\)"),
    ],
)
def test_an_entry_of_the_authors_that_does_not_fit_is_named(tmp_path, authors_entries, change, message):
    path = tmp_path / "model.pth"
    torch.save(wrong_entries(authors_entries, change), path)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(path)


def test_all_problems_of_an_authors_file_are_in_one_error(tmp_path, authors_entries):
    entries = authors_entries("conv4")
    del entries["w1"]
    entries["fc.weight"] = torch.zeros(64, 64)
    entries["clarm1.to_qkv.0.weight"] = one_bad(entries["clarm1.to_qkv.0.weight"])
    torch.save(entries, tmp_path / "model.pth")
    message = refusal(tmp_path / "model.pth")
    assert "fc.weight" in message
    assert "1 missing (fusion.weight.high)" in message
    assert "1 not finite (heads.high.qkv.weight)" in message


def test_a_file_without_heads_names_the_heads_that_authors_files_have(tmp_path, authors_entries):
    # The authors have the attention head alone, so nothing else can be missing.
    entries = {n: v for n, v in authors_entries("conv4").items() if not n.startswith("clarm")}
    torch.save(entries, tmp_path / "model.pth")
    message = refusal(tmp_path / "model.pth")
    assert "2 missing (heads.high.qkv.weight, heads.mid.qkv.weight)" in message


def test_a_resnet12_that_lacks_its_first_convolution_is_still_a_resnet12(tmp_path, authors_entries):
    entries = authors_entries("resnet12", ("mid",))
    del entries["feature_extractor.layer1.0.conv1.weight"]
    torch.save(entries, tmp_path / "model.pth")
    assert "1 missing (backbone.blocks.0.conv1.weight)" in refusal(tmp_path / "model.pth")


def test_a_file_with_both_spellings_of_an_entry_is_refused(tmp_path, authors_entries):
    entries = authors_entries("conv4")
    entries["hhdcm1.to_qkv.0.weight"] = entries["clarm1.to_qkv.0.weight"] + 1
    torch.save(entries, tmp_path / "model.pth")
    assert "hhdcm1.to_qkv.0.weight" in refusal(tmp_path / "model.pth")


def test_weights_without_a_transformer_are_not_an_hmdrn(tmp_path, authors_entries):
    entries = {n: v for n, v in authors_entries("conv4").items() if n.startswith("feature_extractor")}
    torch.save(entries, tmp_path / "model.pth")
    assert "no transformer of either level" in refusal(tmp_path / "model.pth")


# Files that are something else


def test_a_file_that_is_missing_is_named(tmp_path):
    message = refusal(tmp_path / "none.pth")
    assert str(tmp_path / "none.pth") in message
    assert "check the path" in message


def test_a_folder_is_not_a_checkpoint(tmp_path):
    assert str(tmp_path) in refusal(tmp_path)


def test_the_home_folder_may_be_written_as_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    save_checkpoint(tmp_path / "model", network(), CARD)
    assert load_checkpoint("~/model").card == CARD


@pytest.mark.parametrize("path", ["~no-such-user/model.pth", "a\0b.pth"], ids=["no user", "null byte"])
def test_a_path_that_cannot_be_is_a_checkpoint_error(path):
    with pytest.raises(CheckpointError):
        load_checkpoint(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"P", b"hello, this is text\n" * 50, b"\xff" * 100, b"PK\x03\x04 no zip", b"\x80\x02 no pickle"],
    ids=["empty", "one byte", "text", "noise", "zip in name", "pickle in name"],
)
def test_a_file_of_something_else_is_refused(tmp_path, content):
    (tmp_path / "model.pth").write_bytes(content)
    assert str(tmp_path / "model.pth") in refusal(tmp_path / "model.pth")


@pytest.mark.parametrize("kind", ["safetensors", "zip", "pickle"])
@pytest.mark.parametrize("share", [0.001, 0.02, 0.5, 0.999])
def test_a_truncated_file_is_refused(tmp_path, authors_entries, kind, share):
    path = tmp_path / "model"
    if kind == "safetensors":
        save_checkpoint(path, network(), CARD)
    else:
        torch.save(authors_entries("conv4"), path, _use_new_zipfile_serialization=kind == "zip")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert str(path) in refusal(path)


@functools.cache
def small_torch_file(zipped: bool) -> bytes:
    buffer = io.BytesIO()
    entries = {"scale": torch.ones(1), "w1": torch.ones(1), "clarm1.to_qkv.0.weight": torch.ones(2, 2)}
    torch.save(entries, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "pickle"])
def test_a_torch_file_cut_anywhere_is_refused(tmp_path, zipped):
    data, path, others = small_torch_file(zipped), tmp_path / "model.pth", {}
    for end in range(2, len(data), max(1, len(data) // 200)):
        path.write_bytes(data[:end])
        try:
            load_checkpoint(path)
        except CheckpointError:
            continue
        except Exception as error:
            others[end] = repr(error)
    assert not others


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "pickle"])
@settings(max_examples=100, deadline=None, derandomize=True)
@given(data=st.data())
def test_a_torch_file_with_a_changed_byte_is_refused_or_read(tmp_path_factory, zipped, data):
    content = bytearray(small_torch_file(zipped))
    where = data.draw(st.integers(2, min(len(content), 1200) - 1))
    content[where] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("changed") / "model.pth"
    path.write_bytes(content)
    # There is too little in it to be a network, whatever the byte.
    assert refusal(path)


class Trap:
    """Runs code when it is unpickled."""

    def __init__(self, sprung: Path) -> None:
        self.sprung = sprung

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.sprung,)


def trap(kind: str, path: Path, sprung: Path) -> None:
    entries = {"scale": torch.ones(1), "w1": Trap(sprung)}
    if kind.startswith("torch"):
        torch.save(entries, path, _use_new_zipfile_serialization=kind == "torch zip")
    else:
        path.write_bytes(pickle.dumps(Trap(sprung), protocol=int(kind[-1])))


@pytest.mark.parametrize("kind", ["torch zip", "torch pickle", "pickle 0", "pickle 2", "pickle 4"])
def test_a_pickle_that_would_run_code_is_refused_and_runs_none(tmp_path, kind):
    path, sprung = tmp_path / "model.pth", tmp_path / "sprung"
    trap(kind, path, sprung)
    assert str(path) in refusal(path)
    assert not sprung.exists()
    # The trap is one: a reader without care does spring it.
    if kind == "torch zip":
        torch.load(path, weights_only=False)
    elif kind.startswith("pickle"):
        pickle.loads(path.read_bytes())
    if kind != "torch pickle":
        assert sprung.exists()


def test_the_error_about_a_pickle_does_not_suggest_loading_it_unsafely(tmp_path):
    # Torch's own message does, with control codes for bold print.
    path = tmp_path / "model.pth"
    trap("torch zip", path, tmp_path / "sprung")
    message = refusal(path)
    assert "can still be loaded" not in message
    assert "will likely succeed" not in message
    assert "\x1b" not in message


@pytest.mark.parametrize(
    "content",
    [
        [torch.zeros(1)],
        torch.zeros(1),
        {"state_dict": {"scale": torch.zeros(1)}},
        {"scale": torch.zeros(1), "epoch": 3},
    ],
    ids=["list", "tensor", "nested", "with a number"],
)
def test_a_torch_file_that_is_not_a_plain_state_dict_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "model.pth")
    assert "not a plain state dict" in refusal(tmp_path / "model.pth")


@pytest.mark.parametrize(
    "value",
    [
        torch.zeros(1).to(torch.float8_e4m3fn),
        torch.tensor([0.4]).to_sparse(),
    ],
    ids=["float8", "sparse"],
)
def test_an_entry_of_a_kind_that_no_network_has_is_refused(tmp_path, authors_entries, value):
    torch.save({**authors_entries("conv4"), "w1": value}, tmp_path / "model.pth")
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path / "model.pth")


def test_a_safetensors_file_of_something_else_is_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    path.write_bytes(save({"weight": torch.zeros(2)}))
    assert f"is a safetensors file of format None, expected '{FORMAT}'" in refusal(path)
    path.write_bytes(save({"weight": torch.zeros(2)}, {"format": "pt"}))
    assert "is a safetensors file of format 'pt'" in refusal(path)


@pytest.mark.parametrize(
    "metadata",
    [
        {"config": None},
        {"card": None},
        {"config": "{"},
        {"config": "5"},
        {"config": "null"},
        {"config": "[]"},
        {"config": '"conv4"'},
        {"config": '{"backbone": "conv4", "head": "ridge", "levels": 5}'},
        {"config": '{"backbone": "conv4", "head": "ridge", "levels": ["mid", "high"]}'},
        {"config": '{"backbone": ["conv4"], "head": "ridge", "levels": ["high", "mid"]}'},
        {"config": '{"backbone": "conv9", "head": "ridge", "levels": ["high", "mid"]}'},
        {"config": '{"backbone": "conv4", "head": "ridge"}'},
        {"config": "[" * 100_000},
        {"card": "{"},
        {"card": "[]"},
        {"card": "{}"},
        {"card": '{"name": "x", "color": "blue"}'},
        {"card": '{"name": 5}'},
        {"card": '{"name": "x", "metrics": [1]}'},
    ],
    ids=lambda m: " ".join(f"{key} {value if value is None else value[:30]}" for key, value in m.items()),
)
def test_damaged_metadata_is_refused(tmp_path, metadata):
    path = own_file(tmp_path / "model.safetensors", **metadata)
    with pytest.raises(CheckpointError):
        load_checkpoint(path)


def test_damaged_metadata_names_the_file(tmp_path):
    path = own_file(tmp_path / "model.safetensors", card="{")
    assert str(path) in refusal(path)
    assert "damaged metadata" in refusal(path)


def test_weights_that_were_rounded_once_stay_in_half_precision(tmp_path):
    paths = [tmp_path / f"{name}.safetensors" for name in ("rounded", "again")]
    save_checkpoint(paths[0], HMDRN(NetworkConfig()), ModelCard("compact"), compact=True)
    save_checkpoint(paths[1], load_checkpoint(paths[0]).network, ModelCard("compact"))
    assert paths[0].read_bytes() == paths[1].read_bytes()
