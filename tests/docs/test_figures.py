"""The figures of the documentation can be drawn again, and show what the network does."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from fences import ROOT
from PIL import Image

import hmdrn
from hmdrn_runtime.specimens.drawing import draw_specimens

SCRIPT = ROOT / "docs" / "figures" / "gram_matrix.py"


@pytest.fixture(scope="module")
def script():
    source = importlib.util.spec_from_file_location("gram_matrix", SCRIPT)
    assert source is not None
    assert source.loader is not None
    module = importlib.util.module_from_spec(source)
    source.loader.exec_module(module)
    return module


def test_the_figure_is_drawn_and_is_the_size_of_the_one_that_is_kept(script, tmp_path):
    script.main(tmp_path / "figure.png")
    with Image.open(tmp_path / "figure.png") as drawn, Image.open(script.PICTURE) as kept:
        assert drawn.size == kept.size


def test_the_inner_product_of_its_matrices_is_the_distance_that_the_graphs_give(script):
    birds = hmdrn.load("default", threads=1)
    photos = draw_specimens([0], 3, size=84)[0]
    birds.enroll("one", photos[:2])
    (operator,) = birds.matcher.class_operands(list(birds.gallery.species.values()))["operator"]
    (query,) = birds.photo_statistics(photos[2][None])
    product = script.unpacked(query.arrays["query"], 64) * script.unpacked(operator, 64, doubled=True)
    answer = birds.classify(photos[2])
    assert isinstance(answer, hmdrn.Prediction)
    assert np.isclose(product.sum(), answer.ranking[0].distances["high"], rtol=1e-4)
