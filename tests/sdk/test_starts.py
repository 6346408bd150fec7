"""A process reads the operators of its gallery from the file that an earlier process wrote."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

import hmdrn
from hmdrn_runtime.gallery.file import save_gallery
from hmdrn_runtime.matching.index import operator_cache
from hmdrn_runtime.matching.index.operator_cache import operator_cache_path
from hmdrn_runtime.recognizer import Recognizer
from hmdrn_runtime.specimens.drawing import draw_specimens

COUNT = 8
KINDS = ["in the graph", "outside of the graph"]


@pytest.fixture(scope="module")
def photos():
    return draw_specimens(range(COUNT + 1), 2, size=128)


@pytest.fixture(scope="module")
def made(photos, tmp_path_factory):
    """A gallery without a file of operators."""
    path = tmp_path_factory.mktemp("made") / "site.gallery"
    recognizer = hmdrn.load(backend="onnxruntime", threads=1)
    for i in range(COUNT):
        recognizer.enroll(f"species {i}", list(photos[i][:1]))
    save_gallery(recognizer.gallery, path)
    return path


@pytest.fixture
def kind(request, monkeypatch):
    """A way of matching operators, with few species; every solve counts as slow."""
    way = getattr(request, "param", "in the graph")
    monkeypatch.setattr(operator_cache, "MIN_SECONDS", 0.0)
    if way == "outside of the graph":
        monkeypatch.setattr("hmdrn_runtime.matching.ridge.MIN_INDEXED", 5)
    return way


@pytest.fixture
def start(monkeypatch):
    """Open the gallery as a new process does; also return the labels that are solved."""

    def open_gallery(gallery: Path) -> tuple[Recognizer, list[str]]:
        recognizer = hmdrn.load(gallery=gallery, backend="onnxruntime", threads=1)
        labels: list[str] = []
        solve = recognizer.matcher.solve

        def record_labels(gram, shots, names):
            labels.extend(names)
            return solve(gram, shots, names)

        monkeypatch.setattr(recognizer.matcher, "solve", record_labels)
        return recognizer, labels

    return open_gallery


@pytest.fixture
def gallery(kind, made, start, photos, tmp_path):
    """A gallery that was open_gallery and used once."""
    path = tmp_path / made.name
    shutil.copy(made, path)
    start(path)[0].classify(photos[0][1])
    return path


def logits(recognizer, photo):
    return {m.label: m.logit for m in recognizer.classify(photo, top=COUNT).ranking}


@pytest.mark.parametrize("kind", KINDS, indirect=True)
def test_a_second_start_solves_nothing_and_predicts_as_the_first(gallery, start, photos):
    recognizer, solved = start(gallery)
    first = logits(recognizer, photos[3][1])
    assert solved == []
    operator_cache_path(gallery).unlink()
    other, solved = start(gallery)
    assert logits(other, photos[3][1]) == pytest.approx(first, rel=1e-5)
    assert len(solved) == COUNT


@pytest.mark.parametrize("kind", KINDS, indirect=True)
def test_after_enrolling_a_photo_only_its_species_is_solved(gallery, start, photos):
    with hmdrn.edit_gallery(gallery) as edited:
        (statistics,) = start(gallery)[0].matcher.compute_statistics(photos[4][1][None])
        edited.add("species 4", [statistics])
        edited.rename("species 5", "renamed")
        edited.forget("species 6")
    recognizer, solved = start(gallery)
    assert recognizer.classify(photos[4][1]).label == "species 4"
    assert recognizer.classify(photos[5][0]).label == "renamed"
    assert solved == ["species 4"]


def test_a_changed_byte_of_the_file_changes_no_prediction(gallery, start, photos):
    expected = logits(start(gallery)[0], photos[7][1])
    path = operator_cache_path(gallery)
    data = bytearray(path.read_bytes())
    data[-1] ^= 64
    path.write_bytes(data)
    recognizer, solved = start(gallery)
    assert logits(recognizer, photos[7][1]) == pytest.approx(expected, rel=1e-5)
    assert solved == [f"species {COUNT - 1}"]  # the last row


@pytest.mark.parametrize("other", ["solve graph", "executor"])
def test_operators_of_another_solver_are_not_used(gallery, start, photos, monkeypatch, other):
    recognizer, solved = start(gallery)
    with monkeypatch.context() as patch:
        if other == "executor":
            patch.setattr(type(recognizer.backend), "name", "another")
        else:
            patch.setitem(recognizer.bundle.manifest.files, recognizer.bundle.graph("solve").file, "0" * 64)
        recognizer.attach_operator_cache(gallery)
    recognizer.classify(photos[3][1])
    assert len(solved) == COUNT


def test_an_unwritable_place_only_costs_time(gallery, start, photos):
    path = operator_cache_path(gallery)
    path.unlink()
    path.mkdir()
    for _ in range(2):
        recognizer, solved = start(gallery)
        assert recognizer.classify(photos[3][0]).label == "species 3"
        assert len(solved) == COUNT
        recognizer.save_gallery(gallery)
    assert sorted(p.name for p in gallery.parent.iterdir()) == [gallery.name, path.name]


@pytest.mark.parametrize("kind", KINDS, indirect=True)
def test_saving_stores_operators_enrolled_since(gallery, start, photos):
    recognizer, _ = start(gallery)
    recognizer.enroll("newcomer", list(photos[COUNT]))
    recognizer.forget("species 3")
    recognizer.save_gallery(gallery)
    recognizer, solved = start(gallery)
    assert recognizer.classify(photos[COUNT][0]).label == "newcomer"
    assert solved == []
    # The species that was forgotten is not in the file any more.
    with safe_open(operator_cache_path(gallery), "numpy") as file:
        assert file.get_slice("rows").get_shape()[0] == len(recognizer.gallery) == COUNT


def test_operators_that_are_solved_quickly_are_not_stored(gallery, start, photos, monkeypatch):
    operator_cache_path(gallery).unlink()
    monkeypatch.setattr(operator_cache, "MIN_SECONDS", 3600.0)
    recognizer, _ = start(gallery)
    recognizer.classify(photos[3][0])
    recognizer.save_gallery(gallery)
    assert not operator_cache_path(gallery).exists()


def test_a_gallery_of_tokens_has_no_operators(exported, start, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(operator_cache, "MIN_SECONDS", 0.0)
    path = tmp_path / "tokens.gallery"
    for _ in range(2):
        recognizer = hmdrn.load(exported("conv4", "attention"), gallery=path if path.exists() else None)
        recognizer.enroll("one", list(np.array(photos[0])))
        recognizer.save_gallery(path)
    assert not operator_cache_path(path).exists()
