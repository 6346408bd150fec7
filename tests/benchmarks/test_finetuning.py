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
from benchmarks.folder_galleries import draw_galleries, score, split_photos


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


def make_classes(species: int, photos: int) -> dict[str, list[Plain]]:
    return {f"s{c}": [Plain(f"s{c}/{i}.png", 12 * c + i) for i in range(photos)] for c in range(species)}


def test_photos_to_name_are_not_in_the_folder_and_ten_species_stay_in_it():
    classes = make_classes(13, 9)
    split = split_photos(classes, 15, 5, 0)
    assert (len(split.own), len(split.others)) == (10, 3)
    assert {len(members) for members in (*split.own, *split.others)} == {6}, "two thirds of nine photos"
    parts = (split.own, split.others, split.own_queries, split.other_queries)
    values = [photo.value for part in parts for members in part for photo in members]
    assert sorted(values) == sorted(photo.value for members in classes.values() for photo in members)
    assert split_photos(classes, 15, 5, 0) == split != split_photos(classes, 15, 5, 1)
    assert not split_photos(make_classes(10, 9), 15, 5, 0).others


def test_the_folder_has_the_photos_by_species(tmp_path):
    write_folder(list(make_classes(2, 3).values()), tmp_path)
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png"))
    assert files == [f"species {c}/00{i}.png" for c in range(2) for i in range(3)]


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
    network = SimpleNamespace(config=SimpleNamespace(side=4))
    photos = list(make_classes(4, 2).values())
    shares = score(network, photos, photos, full=True)
    assert {name: share.tolist() for name, share in shares.items()} == {"1": [1.0] * 8, "all": [1.0] * 8}
    assert score(network, photos, [*photos[1:], photos[0]], full=False)["1"].tolist() == [0.0] * 8


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
