"""A start takes the operators of its gallery from the file that an earlier one has written."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

import hmdrn
from hmdrn_runtime.gallery.file import save_gallery
from hmdrn_runtime.matching.index import cache_writer as keeper
from hmdrn_runtime.matching.index import index as searching
from hmdrn_runtime.matching.index import species_index as enrolled
from hmdrn_runtime.matching.index.operator_cache import operators_path
from hmdrn_runtime.matching.index.projection import Basis
from hmdrn_runtime.recognizer import Recognizer
from hmdrn_runtime.specimens.drawing import draw_specimens

COUNT = 8
LARGE = ["outside of the graph", "along few directions"]


@pytest.fixture(scope="module")
def photos():
    return draw_specimens(range(COUNT + 1), 2, size=84)


@pytest.fixture(scope="module")
def made(photos, tmp_path_factory):
    """A gallery in which no operator was kept."""
    path = tmp_path_factory.mktemp("made") / "site.gallery"
    one = hmdrn.load(backend="onnxruntime", threads=1)
    for i in range(COUNT):
        one.enroll(f"species {i}", list(photos[i][:1]))
    save_gallery(one.gallery, path)
    return path


def random_basis(operators: np.ndarray, grams: np.ndarray) -> Basis:
    """Directions that are found at once; they exclude little, and bound as rightly as any."""
    axes = np.linalg.qr(np.random.default_rng(0).standard_normal((operators.shape[1], 16)))[0]
    means = [part.mean(axis=0, dtype=np.float64) for part in (operators, grams)]
    return Basis.of(np.ascontiguousarray(axes.T, dtype=np.float32), *means)


@pytest.fixture
def kind(request, monkeypatch):
    """A way in which operators are matched, with few species, of which any solve counts as long."""
    way = getattr(request, "param", "in the graph")
    monkeypatch.setattr(keeper, "SLOW", 0.0)
    if way in LARGE:
        monkeypatch.setattr("hmdrn_runtime.matching.ridge.OUTSIDE", 5)
    if way == "along few directions":
        monkeypatch.setattr(searching, "REFINED", 3)
        monkeypatch.setattr(enrolled, "PRUNED", 5)
        monkeypatch.setattr(enrolled, "fit_basis", random_basis)
    return way


@pytest.fixture
def start(monkeypatch):
    """Opens the gallery as a new process does; with it, the labels of all that are solved."""

    def opened(gallery: Path) -> tuple[Recognizer, list[str]]:
        one = hmdrn.load(gallery=gallery, backend="onnxruntime", threads=1)
        labels: list[str] = []
        solve = one.matcher.solve

        def noted(gram, shots, names):
            labels.extend(names)
            return solve(gram, shots, names)

        monkeypatch.setattr(one.matcher, "solve", noted)
        return one, labels

    return opened


@pytest.fixture
def gallery(kind, made, start, photos, tmp_path):
    """A gallery that was opened and used once."""
    path = tmp_path / made.name
    shutil.copy(made, path)
    start(path)[0].classify(photos[0][1])
    return path


def logits(one, photo):
    return {m.label: m.logit for m in one.classify(photo, top=COUNT).ranking}


@pytest.mark.parametrize("kind", ["in the graph", *LARGE], indirect=True)
def test_a_second_start_solves_nothing_and_answers_as_the_first(gallery, start, photos, monkeypatch):
    monkeypatch.setattr(enrolled, "fit_basis", None)  # nor fits anything
    one, solved = start(gallery)
    found = logits(one, photos[3][1])
    assert solved == []
    operators_path(gallery).unlink()
    monkeypatch.undo()
    other, solved = start(gallery)
    assert logits(other, photos[3][1]) == pytest.approx(found, rel=1e-5)
    assert len(solved) == COUNT


@pytest.mark.parametrize("kind", ["in the graph", *LARGE], indirect=True)
def test_after_a_photo_was_enrolled_its_species_alone_is_solved(gallery, start, photos):
    with hmdrn.edit_gallery(gallery) as edited:
        (statistics,) = start(gallery)[0].photo_statistics(photos[4][1][None])
        edited.add("species 4", [statistics])
        edited.rename("species 5", "renamed")
        edited.forget("species 6")
    one, solved = start(gallery)
    assert one.classify(photos[4][1]).label == "species 4"
    assert one.classify(photos[5][0]).label == "renamed"
    assert solved == ["species 4"]


def test_a_changed_byte_of_the_file_changes_no_answer(gallery, start, photos):
    expected = logits(start(gallery)[0], photos[7][1])
    path = operators_path(gallery)
    data = bytearray(path.read_bytes())
    data[-1] ^= 64
    path.write_bytes(data)
    one, solved = start(gallery)
    assert logits(one, photos[7][1]) == pytest.approx(expected, rel=1e-5)
    assert solved == [f"species {COUNT - 1}"]  # the last row


@pytest.mark.parametrize("other", ["solve graph", "executor"])
def test_operators_that_something_else_has_solved_are_not_taken(gallery, start, photos, monkeypatch, other):
    one, solved = start(gallery)
    with monkeypatch.context() as patch:
        if other == "executor":
            patch.setattr(type(one.backend), "name", "another")
        else:
            patch.setitem(one.bundle.manifest.files, one.bundle.graph("solve").file, "0" * 64)
        one.keep_operators(gallery)
    one.classify(photos[3][1])
    assert len(solved) == COUNT


def test_a_place_that_cannot_be_written_costs_time_and_nothing_else(gallery, start, photos):
    path = operators_path(gallery)
    path.unlink()
    path.mkdir()
    for _ in range(2):
        one, solved = start(gallery)
        assert one.classify(photos[3][0]).label == "species 3"
        assert len(solved) == COUNT
        one.save_gallery(gallery)
    assert sorted(p.name for p in gallery.parent.iterdir()) == [gallery.name, path.name]


@pytest.mark.parametrize("kind", ["in the graph", *LARGE], indirect=True)
def test_saving_keeps_what_was_enrolled_since(gallery, start, photos):
    one, _ = start(gallery)
    one.enroll("newcomer", list(photos[COUNT]))
    one.forget("species 3")
    one.save_gallery(gallery)
    one, solved = start(gallery)
    assert one.classify(photos[COUNT][0]).label == "newcomer"
    assert solved == []
    # The species that was forgotten is not in the file any more.
    with safe_open(operators_path(gallery), "numpy") as file:
        assert file.get_slice("rows").get_shape()[0] == len(one.gallery) == COUNT


def test_what_is_solved_in_a_moment_is_not_kept(gallery, start, photos, monkeypatch):
    operators_path(gallery).unlink()
    monkeypatch.setattr(keeper, "SLOW", 3600.0)
    one, _ = start(gallery)
    one.classify(photos[3][0])
    one.save_gallery(gallery)
    assert not operators_path(gallery).exists()


def test_a_gallery_of_tokens_has_no_operators(exported, start, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(keeper, "SLOW", 0.0)
    path = tmp_path / "tokens.gallery"
    for _ in range(2):
        one = hmdrn.load(exported("conv4", "attention"), gallery=path if path.exists() else None)
        one.enroll("one", list(np.array(photos[0])))
        one.save_gallery(path)
    assert not operators_path(path).exists()
