import json

import numpy as np
import pytest

from benchmarks.nearest_mean import NearestMeanScorer
from benchmarks.pareto.picture import draw_pareto, find_frontier, spread_labels
from hmdrn_runtime.images.preprocessing import Preprocessing


def test_nearest_mean_gives_the_cosine_with_each_class_mean():
    features = np.array([[3.0, 1], [1, 3], [2, 0.9], [0.8, 2]], np.float32)
    center = np.array([1.0, 1], np.float32)
    scorer = NearestMeanScorer(
        lambda pixels: features[pixels[:, 0, 0, 0]], Preprocessing("crop", 84), "test", center
    )
    scorer.add_photos(np.arange(4, dtype=np.uint8).reshape(4, 1, 1, 1) * np.ones((1, 84, 84, 3), np.uint8))

    cosines = scorer.logits(np.array([[0], [1]]), np.array([2, 3]))

    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    expected = [[cosine(q - center, s - center) for s in features[:2]] for q in features[2:]]
    np.testing.assert_allclose(cosines, expected, atol=1e-6)


def test_the_frontier_leaves_out_what_another_model_beats():
    assert find_frontier([3.0, 1.0, 2.0, 2.0], [80.0, 60.0, 55.0, 70.0]) == [1, 3, 0]


@pytest.mark.parametrize("timed", [True, False])
def test_the_picture_is_drawn_with_and_without_times(tmp_path, timed):
    models = [
        {
            "name": f"model {i}",
            "ours": i == 0,
            "bytes": 10**6 * (i + 1),
            "ms": 1.5 * (i + 1) if timed else None,
            "accuracies": [
                {"data": "birds", "shot": shot, "accuracy": 70.0 + i, "ci95": 0.5} for shot in (1, 5)
            ],
        }
        for i in range(2)
    ]

    draw_pareto(json.loads(json.dumps(models)), tmp_path / "pareto.png")

    assert (tmp_path / "pareto.png").stat().st_size > 10_000


def test_names_of_equal_models_are_written_above_each_other():
    assert spread_labels([5.0, 1.0, 5.0, 5.1], 0.5) == [5.0, 1.0, 5.5, 6.0]
