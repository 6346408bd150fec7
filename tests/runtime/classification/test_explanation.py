"""Explanations against ridge regression and attention from the tokens themselves, in float64."""

from __future__ import annotations

import json

import numpy as np
import pytest
from preprocessings import CROP

from hmdrn_runtime.backends.selection import open_backend
from hmdrn_runtime.bundle.bundle import open_bundle
from hmdrn_runtime.classification.explanation import attention_errors, ridge_errors
from hmdrn_runtime.errors import GalleryError, ImageError
from hmdrn_runtime.images.preprocessing import prepare
from hmdrn_runtime.open_set.threshold import Calibration
from hmdrn_runtime.recognizer import Recognizer
from hmdrn_runtime.specimens.drawing import draw_specimens

torch = pytest.importorskip("torch")

HEADS = ["ridge", "attention"]
SHOTS = {"ant": 1, "bee": 3, "moth": 2}
SIDES = {"high": 5, "mid": 10}


@pytest.fixture(scope="module")
def images():
    """Photos by species, those after the enrolled ones are new."""
    return dict(zip(SHOTS, draw_specimens(range(3), 5, size=96), strict=True))


@pytest.fixture(scope="module")
def taught(exported, images):
    """A recognizer that was shown different numbers of photos, by head."""
    made = {}

    def make(head):
        if head not in made:
            bundle = open_bundle(exported("conv4", head))
            made[head] = Recognizer(bundle, open_backend(bundle))
            for label, shots in SHOTS.items():
                made[head].enroll(label, images[label][:shots])
        return made[head]

    return make


@pytest.fixture(scope="module")
def network(seeded_checkpoint):
    """The torch network that a bundle is of, by head."""
    from hmdrn_network.checkpoints import load_checkpoint

    return lambda head: load_checkpoint(seeded_checkpoint("conv4", head)).network.eval()


def support_tokens(network, photos):
    """A class's support tokens by level, float64 (n, d), from the network itself."""
    pixels = torch.from_numpy(np.stack([prepare(photo, CROP) for photo in photos]))
    with torch.inference_mode():
        tokens = network.transform(network.features(pixels), masked=False)
    return {name: t.flatten(0, 1).double().numpy() for name, t in tokens.items()}


def query_tokens(recognizer, photo):
    seen = recognizer.backend.run("explain", {"images": prepare(photo, CROP)[None]})
    return {name: seen[f"query_tokens_{name}"][0].astype(np.float64) for name in SIDES}


def ridge_regression(head, S, Q):
    """Errors of rho Q (S'S + lambda I)^-1 S'S by location, as the paper of FRN has it."""
    n, d = S.shape
    lam = n / d * np.exp(head.alpha.item()) + 1e-6
    reconstructed = np.exp(head.beta.item()) * Q @ np.linalg.solve(S.T @ S + lam * np.eye(d), S.T @ S)
    return ((Q - reconstructed) ** 2).sum(axis=1)


def attention(head, S, Q):
    """Errors of softmax(q K' / sqrt(d)) V by location."""
    weight = head.qkv.weight.detach().double().numpy()
    (_, keys, values), (q, _, v) = (np.split(tokens @ weight.T, 3, axis=1) for tokens in (S, Q))
    shares = np.exp(q @ keys.T / np.sqrt(Q.shape[1]))
    return ((v - shares / shares.sum(axis=1, keepdims=True) @ values) ** 2).sum(axis=1)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("label", SHOTS)
def test_error_maps_are_those_of_a_direct_reconstruction_in_float64(head, label, taught, images, network):
    photo = images[label][-1]
    explanation = taught(head).explain(photo)
    Q = query_tokens(taught(head), photo)
    for row, match in enumerate(explanation.matches):
        S = support_tokens(network(head), images[match.label][: SHOTS[match.label]])
        for level in explanation.levels:
            reconstruct = ridge_regression if head == "ridge" else attention
            expected = reconstruct(network(head).heads[level.name], S[level.name], Q[level.name])
            assert level.errors[row].shape == (SIDES[level.name],) * 2
            np.testing.assert_allclose(level.errors[row].ravel(), expected, rtol=1e-4)


@pytest.mark.parametrize("head", HEADS)
def test_the_maps_of_each_level_sum_to_the_distances_that_decided(head, taught, images):
    for photo in (images["ant"][-1], images["moth"][0]):
        explanation = taught(head).explain(photo)
        prediction = taught(head).classify(photo)
        assert explanation.prediction == prediction
        assert explanation.matches == prediction.ranking[:2]
        for level in explanation.levels:
            for errors, match in zip(level.errors, prediction.ranking, strict=False):
                assert errors.min() >= 0
                assert errors.sum() == pytest.approx(match.distances[level.name], rel=1e-4)


@pytest.mark.parametrize("head", HEADS)
def test_the_advantage_sums_to_the_difference_of_the_logits(head, taught, images):
    explanation = taught(head).explain(images["bee"][-1])
    first, second = explanation.matches
    total = sum(level.advantage.sum() for level in explanation.levels)
    # The logits of an untrained network nearly agree: their difference has the logits' rounding.
    assert total == pytest.approx(first.logit - second.logit, rel=1e-4, abs=1e-5 * abs(first.logit))


@pytest.mark.parametrize("head", HEADS)
def test_mask_share_is_the_share_of_masks_that_keep_a_location(head, taught, images, network):
    photo = images["moth"][-1]
    explanation = taught(head).explain(photo)
    pixels = torch.from_numpy(prepare(photo, CROP)[None])
    with torch.inference_mode():
        for level in explanation.levels:
            feature_map = network(head).features(pixels)[level.name]
            _, bits, margins = network(head).transformers[level.name].explain(feature_map, masked=True)
            clear = (torch.stack(margins, dim=1)[0].abs() > 1e-4).numpy().reshape(level.mask.shape)
            expected = torch.stack(bits, dim=1)[0].numpy().reshape(level.mask.shape)
            assert np.array_equal(level.mask[clear], expected[clear])
            assert np.allclose(level.mask_share, level.mask.reshape(-1, *level.mask.shape[2:]).mean(axis=0))
            assert 0 < level.mask_share.mean() < 1


def test_a_location_is_a_square_of_pixels(taught, images):
    levels = taught("ridge").explain(images["ant"][0]).levels
    assert [(level.name, level.side, level.cell) for level in levels] == [("high", 5, 16), ("mid", 10, 8)]


@pytest.mark.parametrize("head", HEADS)
def test_with_one_species_there_is_nothing_to_compare_it_with(head, taught, images):
    bundle = taught(head).bundle
    one = Recognizer(bundle, open_backend(bundle))
    one.enroll("ant", images["ant"][:2])
    explanation = one.explain(images["bee"][-1])
    assert [match.label for match in explanation.matches] == ["ant"]
    assert all(level.errors.shape[0] == 1 and level.advantage is None for level in explanation.levels)
    assert not any(name.startswith("advantage") for name in explanation.arrays())


def test_the_best_species_is_compared_with_the_one_that_is_asked_for(taught, images):
    birds, photo = taught("ridge"), images["bee"][-1]
    ranking = [match.label for match in birds.classify(photo).ranking]
    for other in ranking[1:]:
        assert [m.label for m in birds.explain(photo, against=other).matches] == [ranking[0], other]
    assert [m.label for m in birds.explain(photo, against=ranking[0]).matches] == ranking[:2]
    with pytest.raises(GalleryError, match=r"no species 'wasp'.*ant, bee, moth"):
        birds.explain(photo, against="wasp")


def test_a_box_is_explained_as_it_is_classified(taught, images):
    birds, photo = taught("ridge"), images["bee"][-1]
    box = (10.0, 5.0, 80.0, 90.0)
    explanation = birds.explain(photo, box=box)
    (prediction,) = birds.classify(photo, boxes=[box])
    assert explanation.prediction == prediction
    assert explanation.prediction.ranking != birds.classify(photo).ranking
    for level in explanation.levels:
        assert level.errors[0].sum() == pytest.approx(prediction.ranking[0].distances[level.name], rel=1e-4)
    with pytest.raises(ImageError, match="box"):
        birds.explain(photo, box=(500, 500, 600, 600))


def test_an_unknown_is_explained_beside_the_species_that_it_is_nearest_to(images):
    import hmdrn

    birds = hmdrn.load("default")
    for label, shots in SHOTS.items():
        birds.enroll(label, images[label][:shots])
    before = birds.explain(images["bee"][-1])
    calibration = Calibration(1e9, 2.0, 0.05, birds.background.digest)
    birds.gallery.calibrate(calibration.to_dict())
    explanation = birds.explain(images["bee"][-1])
    assert (before.prediction.known, explanation.prediction.known) == (None, False)
    assert explanation.prediction == birds.classify(images["bee"][-1])
    assert {match.label for match in explanation.matches} <= set(SHOTS)
    for level in explanation.levels:
        distance = explanation.matches[0].distances[level.name]
        assert level.errors[0].sum() == pytest.approx(distance, rel=1e-4)


def test_explaining_with_nothing_enrolled_is_refused(taught):
    bundle = taught("ridge").bundle
    with pytest.raises(GalleryError, match="nothing has been enrolled"):
        Recognizer(bundle, open_backend(bundle)).explain(np.zeros((84, 84, 3), np.uint8))


def test_the_arrays_are_named_by_level_and_can_be_saved(taught, images, tmp_path):
    explanation = taught("ridge").explain(images["ant"][-1])
    np.savez(tmp_path / "why.npz", **explanation.arrays())
    with np.load(tmp_path / "why.npz", allow_pickle=False) as saved:
        assert list(saved["labels"]) == [match.label for match in explanation.matches]
        assert saved["pixels"].shape == (84, 84, 3)
        for level in explanation.levels:
            assert np.array_equal(saved[f"errors_{level.name}"], level.errors)
            assert saved[f"mask_{level.name}"].shape == (3, 2, level.side, level.side)
            assert saved[f"advantage_{level.name}"].shape == (level.side, level.side)


def test_errors_of_small_matrices_are_those_worked_out_by_hand():
    operator = np.array([2.0, 2.0, 3.0], np.float32)  # [[2, 1], [1, 3]]
    tokens = np.array([[1, 0], [0, 1], [1, 2], [1, -1]], np.float32)
    assert ridge_errors(tokens, operator).tolist() == [2, 3, 18, 3]
    keys = np.array([[0, 0], [0, 0]], np.float32)
    values = np.array([[1, 0], [3, 2]], np.float32)
    errors = attention_errors(tokens, np.zeros((4, 2), np.float32), keys, values)
    assert errors.tolist() == pytest.approx([5.0] * 4)


def test_an_explanation_does_not_disturb_what_classifying_remembers(taught, images):
    birds = taught("ridge")
    before = birds.classify(images["moth"][-1])
    birds.explain(images["ant"][-1])
    assert json.dumps(birds.classify(images["moth"][-1]).to_dict()) == json.dumps(before.to_dict())
