"""The figures of the documentation can be drawn again, and show what the network computes."""

from __future__ import annotations

import re

import numpy as np
import pytest
from fences import ROOT
from PIL import Image
from scripts import load_script

import hmdrn
from hmdrn_runtime.gallery.photo_statistics import packed_gram
from hmdrn_runtime.specimens.drawing import draw_specimens

FIGURES = ROOT / "docs" / "figures"


@pytest.fixture(scope="module")
def gram_matrix():
    return load_script(FIGURES / "gram_matrix.py")


def test_the_gram_matrix_figure_is_drawn_in_its_present_size(gram_matrix, tmp_path):
    gram_matrix.main(tmp_path / "figure.png")
    with Image.open(tmp_path / "figure.png") as drawn, Image.open(gram_matrix.PICTURE) as present:
        assert drawn.size == present.size


def test_its_inner_product_is_the_distance_of_the_graphs(gram_matrix):
    birds = hmdrn.load("default", threads=1, variant="fp32")
    network, side = birds.gallery.network, birds.bundle.manifest.input.size
    photos = draw_specimens([0], 3, size=side)[0]
    birds.enroll("species", photos[:2])
    (operator,) = birds.matcher.class_operands(list(birds.gallery.species.values()))["operator"]
    (query,) = birds.matcher.compute_statistics(photos[2][None])
    unpack, channels = gram_matrix.unpack_gram, network.levels[0].channels
    gram = unpack(packed_gram(network, query.arrays["query"]), channels)
    product = gram * unpack(operator, channels, doubled=True)
    answer = birds.classify(photos[2])
    assert isinstance(answer, hmdrn.Prediction)
    assert np.isclose(product.sum(), answer.ranking[0].distances["high"], rtol=1e-4)


def test_the_diagrams_are_drawn_in_their_present_size(tmp_path):
    load_script(FIGURES / "diagrams.py").main(tmp_path)
    for name in ("architecture.svg", "photo-path.svg"):
        drawn, present = (_find_size(folder / name) for folder in (tmp_path, FIGURES))
        assert drawn == present


def _find_size(path) -> str:
    size = re.search(r'viewBox="([^"]+)"', path.read_text(encoding="utf-8"))
    assert size is not None
    return size[1]
