from __future__ import annotations

import numpy as np
from PIL import Image

from hmdrn_network.training.distillation.cache import decode_photos
from hmdrn_runtime.datasets.dataset import open_dataset
from hmdrn_runtime.progress import ignore_progress


def test_unreadable_photos_are_left_out_and_named_by_a_later_call_too(tmp_path):
    for label, broken in (("a", (1,)), ("b", (0, 1, 2)), ("c", ())):
        for i in range(3):
            path = tmp_path / "birds" / label / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40, 40), (50 * i, 9, 9)).save(path)
            if i in broken:
                path.write_bytes(b"not an image")
    dataset = open_dataset(tmp_path / "birds")
    for training in (True, False):
        first, again = (
            decode_photos(dataset, "birds", tmp_path / "cache", 32, training, ignore_progress)
            for _ in range(2)
        )
        assert first.labels == ("a", "c")
        np.testing.assert_array_equal(first.targets, [0, 0, 1, 1, 1])
        assert [int(p[0, 0, 0]) for p in first.pixels] == [0, 100, 0, 50, 100]
        assert [
            name in reason
            for name, reason in zip(("a/1", "b/0", "b/1", "b/2"), first.unreadable, strict=True)
        ]
        assert first.unreadable == again.unreadable
