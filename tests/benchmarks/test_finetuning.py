"""The measurement of fine-tuning: its photos, galleries, scores and means."""

from __future__ import annotations

import dataclasses
import io
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from benchmarks import folder_galleries
from benchmarks.finetuning import Comparison, keep_comparisons, summarize, write_folder
from benchmarks.folder_galleries import draw_galleries, open_scorer, score, split_photos


@dataclasses.dataclass(frozen=True)
class Plain:
    """A photo of one gray value."""

    name: str
    value: int

    def prepare(self, preprocessing):
        return np.full((preprocessing.side, preprocessing.side, 3), self.value, np.uint8)

    def read(self):
        file = io.BytesIO()
        Image.fromarray(np.full((8, 8, 3), self.value, np.uint8)).save(file, "png")
        return file.getvalue()


def make_photos(count: int) -> list[Plain]:
    """Photos of species that have two each, of nearly one gray."""
    return [Plain(f"{i}.png", 12 * (i // 2) + i % 2) for i in range(count)]


def test_photos_to_name_are_not_in_the_folder_and_ten_species_stay_in_it():
    counts = [*range(9, 21), 9]
    split = split_photos(counts, 15, 5, 0)
    assert (len(split.own), len(split.others)) == (10, 3)
    assert {len(rows) for rows in (*split.own, *split.others)} == {6}, "two thirds of nine photos"
    parts = (split.own, split.others, split.own_queries, split.other_queries)
    assert sorted(np.concatenate([rows for part in parts for rows in part])) == list(range(sum(counts)))
    species = np.repeat(np.arange(13), counts)
    assert all(
        set(species[own]) == set(species[queries])
        for own, queries in zip(split.own, split.own_queries, strict=True)
    )
    assert [set(rows) for rows in split.own] != [set(rows) for rows in split_photos(counts, 15, 5, 1).own]
    assert not split_photos(counts[:10], 15, 5, 0).others


def test_the_folder_has_the_photos_by_species(tmp_path):
    write_folder(make_photos(6), [np.array([4, 1]), np.array([5])], tmp_path)
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png"))
    assert files == ["species 0/00001.png", "species 0/00004.png", "species 1/00005.png"]
    assert np.asarray(Image.open(tmp_path / "species 1" / "00005.png")).mean() == 25


def test_galleries_have_different_photos_of_the_same_species():
    rows = np.arange(12).reshape(2, 6)
    galleries = draw_galleries(rows, full=True)
    assert list(galleries) == ["1", "5", "all"]
    assert {support.shape for support in galleries["5"]} == {(2, 5)}
    assert all((np.sort(support // 6, axis=1) == [[0], [1]]).all() for support in galleries["5"])
    assert len({tuple(support.ravel()) for support in galleries["1"]}) > 5
    assert list(draw_galleries(rows[:, :5], full=False)) == ["1"]


class GrayScorer:
    """Classes are as near as the mean gray of their photos."""

    def __init__(self, network):
        self._grays = np.empty(0)

    def add_photos(self, pixels):
        self._grays = np.append(self._grays, pixels.mean(axis=(1, 2, 3)))

    def logits(self, support, query):
        return -np.abs(self._grays[query][:, None] - self._grays[support].mean(axis=1))


def test_a_photo_is_right_where_its_species_is_the_nearest(monkeypatch):
    monkeypatch.setattr(folder_galleries, "GramScorer", GrayScorer)
    monkeypatch.setattr(folder_galleries, "BLOCK", 3)
    scorer = open_scorer(SimpleNamespace(config=SimpleNamespace(side=4)), make_photos(8))
    rows = list(np.arange(8).reshape(4, 2))
    shares = score(scorer, rows, rows, full=True)
    assert {name: share.tolist() for name, share in shares.items()} == {"1": [1.0] * 8, "all": [1.0] * 8}
    assert score(scorer, rows, [*rows[1:], rows[0]], full=False)["1"].tolist() == [0.0] * 8


def comparison(seed: int, differences: list[float]) -> Comparison:
    gain = float(np.mean(differences))
    return Comparison(
        "birds", seed, "own 5", 10, len(differences), 80.0, 80.0 + gain, differences, seed == 0, 9.0
    )


def test_the_mean_is_over_the_seeds_and_the_interval_over_their_photos():
    (result,) = summarize([comparison(0, [0.0, 0.0]), comparison(1, [0.0, 100.0])])
    assert (result["before"], result["after"]) == (80.0, 105.0)
    assert result["by_seed"] == [0.0, 50.0]
    assert result["difference"] == 25.0
    assert result["difference_ci95"] == pytest.approx(1.96 * 50 / 2)
    assert (result["photos"], result["kept_start"]) == (4, 1)


def test_a_comparison_is_made_once_for_a_folder(tmp_path):
    first = keep_comparisons(tmp_path, "birds-0", lambda: [comparison(0, [1.0])])
    assert keep_comparisons(tmp_path, "birds-0", list) == first
    assert keep_comparisons(None, "birds-0", list) == []
