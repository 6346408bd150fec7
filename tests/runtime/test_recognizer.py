from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import PIL.Image
import pytest
from preprocessings import CROP
from safetensors.numpy import load_file

from hmdrn_runtime.backends.base import Backend
from hmdrn_runtime.backends.selection import open_backend
from hmdrn_runtime.bundle.bundle import open_bundle
from hmdrn_runtime.classification import classify as classification
from hmdrn_runtime.classification.prediction import Prediction
from hmdrn_runtime.errors import EnrollmentError, GalleryError, HmdrnError, ImageError
from hmdrn_runtime.gallery.file import load_gallery
from hmdrn_runtime.gallery.gallery import Gallery
from hmdrn_runtime.gallery.photo_statistics import gram_sum, packed_gram
from hmdrn_runtime.gallery.species import extend_species
from hmdrn_runtime.gallery.state import MergeReport
from hmdrn_runtime.images.preprocessing import hash_pixels, prepare
from hmdrn_runtime.recognizer import Recognizer
from hmdrn_runtime.specimens.drawing import draw_specimens

HEADS = ["ridge", "attention"]
SPECIES = ("ant", "bee", "moth")


class Spy(Backend):
    """Notes the graphs that are run and the arrays that are placed; `change` alters what graphs give."""

    def __init__(
        self, backend: Backend, change: Callable[[str, dict[str, Any]], dict[str, Any]] = lambda _, out: out
    ) -> None:
        self.name, self.backend, self.change = backend.name, backend, change
        self.runs: list[str] = []
        self.solved: list[int] = []
        self.placed: list[tuple[int, ...]] = []

    def place(self, array: np.ndarray) -> Any:
        self.placed.append(array.shape)
        return self.backend.place(array)

    def run(self, graph: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        self.runs.append(graph)
        if graph == "solve":
            self.solved.append(len(inputs["gram"]))
        return self.change(graph, self.backend.run(graph, inputs))


@pytest.fixture(scope="module")
def opened(exported):
    made: dict[str, Any] = {}

    def make(head: str) -> Any:
        if head not in made:
            bundle = open_bundle(exported("conv4", head))
            made[head] = (bundle, open_backend(bundle, threads=1))
        return made[head]

    return make


@pytest.fixture(scope="module")
def recognizer(opened):
    """A fresh recognizer of a backend that is opened once."""

    def make(head: str = "ridge", gallery: Gallery | None = None, **options: Any) -> Recognizer:
        bundle, backend = opened(head)
        return Recognizer(bundle, Spy(backend, **options), gallery)

    return make


@pytest.fixture(scope="module")
def images():
    """Photos (3 species, 4 each), of a size that has to be scaled."""
    return draw_specimens(range(3), 4, size=100)


@pytest.fixture(scope="module")
def taught(recognizer, images):
    """A fresh recognizer that knows three species, of 1, 2 and 3 photos."""

    def make(head: str = "ridge", **options: Any) -> Recognizer:
        one = recognizer(head, **options)
        for i, label in enumerate(SPECIES):
            one.enroll(label, list(images[i][: i + 1]))
        return one

    return make


def logits(prediction: Prediction) -> dict[str, float]:
    return {m.label: m.logit for m in prediction.ranking}


def state(one: Recognizer) -> dict[str, dict[str, dict[str, bytes]]]:
    """All that the gallery knows, to the last bit."""
    return {
        label: {key: {n: a.tobytes() for n, a in p.arrays.items()} for key, p in sorted(s.photos.items())}
        for label, s in one.gallery.species.items()
    }


def seen_as(image: np.ndarray) -> str:
    return hash_pixels(prepare(image, CROP))


def agree(found: Prediction, expected: Prediction, rel: float = 1e-5) -> None:
    assert logits(found) == pytest.approx(logits(expected), rel=rel)
    for one, other in zip(found.ranking, expected.ranking, strict=True):
        assert one.probability == pytest.approx(other.probability, rel=1e-3)


# --- End to end -------------------------------------------------------------------------------------------


def expected_logits(
    one: Recognizer, weights: Mapping[str, np.ndarray], photo: np.ndarray
) -> dict[str, float]:
    """Logits of a photo by species in float64, from the gallery's statistics and the checkpoint."""
    network = one.bundle.manifest.network
    pixels = prepare(photo, CROP)
    found = dict.fromkeys(one.gallery.species, 0.0)
    start = 0
    for level in network.levels:
        d, cut = level.channels, slice(start, start + level.packed)
        start = cut.stop
        triangle = np.triu_indices(d)
        for label, species in one.gallery.species.items():
            if network.head == "ridge":
                alpha, beta = (float(weights[f"heads.{level.name}.{name}"]) for name in ("alpha", "beta"))
                gram = np.zeros((d, d))
                gram[triangle] = gram_sum(network, species.photos.values())[cut]
                gram += np.triu(gram, 1).T
                lam = species.shots * level.tokens / d * np.exp(alpha) + 1e-6
                W = np.eye(d) - np.exp(beta) * np.linalg.solve(gram + lam * np.eye(d), gram)
                (query,) = one.matcher.compute_statistics(pixels[None])
                packed = packed_gram(network, query.arrays["query"])[cut]
                distance = packed @ ((W @ W)[triangle] * np.where(np.equal(*triangle), 1, 2))
            else:
                tokens = one.backend.run("explain", {"images": pixels[None]})[f"query_tokens_{level.name}"][0]
                projection = weights[f"heads.{level.name}.qkv.weight"].astype(np.float64)
                q, _, v = np.split(tokens.astype(np.float64) @ projection.T, 3, axis=1)
                k_support, v_support = (
                    np.concatenate([p.arrays[f"{kind}_{level.name}"] for p in species.photos.values()])
                    for kind in "kv"
                )
                shares = np.exp(q @ k_support.T.astype(np.float64) / np.sqrt(d))
                distance = np.sum((v - shares / shares.sum(axis=1, keepdims=True) @ v_support) ** 2)
            found[label] -= float(weights[f"fusion.weight.{level.name}"]) * distance
    scale = float(weights["fusion.scale"]) / (25 * network.levels[0].channels)
    return {label: total * scale for label, total in found.items()}


@pytest.mark.parametrize("head", HEADS)
def test_photos_are_ranked_as_their_distances_in_float64_say(taught, images, seeded_checkpoint, head):
    one = taught(head)
    weights = load_file(seeded_checkpoint("conv4", head))
    # Photos that were enrolled, and ones that were not.
    for photo in (images[0][0], images[1][1], images[2][2], images[0][3], images[2][3]):
        expected = expected_logits(one, weights, photo)
        prediction = one.classify(photo, top=3)
        assert logits(prediction) == pytest.approx(expected, rel=1e-4)
        ordered = [expected[m.label] for m in prediction.ranking]
        assert all(a >= b - 2e-4 * abs(a) for a, b in itertools.pairwise(ordered))
        shares = {label: np.exp(value - max(expected.values())) for label, value in expected.items()}
        assert prediction.probability == pytest.approx(
            shares[prediction.label] / sum(shares.values()), rel=1e-2
        )


@pytest.mark.parametrize("head", HEADS)
def test_a_prediction_is_whole_and_ready_for_json(taught, images, head):
    prediction = taught(head).classify(images[1][3])
    assert prediction.label == prediction.ranking[0].label
    assert {m.label for m in prediction.ranking} == set(SPECIES)
    assert sum(m.probability for m in prediction.ranking) == pytest.approx(1)
    assert prediction.margin == prediction.ranking[0].probability - prediction.ranking[1].probability
    assert prediction.known is None
    assert all(d >= 0 for m in prediction.ranking for d in m.distances.values())
    values = json.loads(json.dumps(prediction.to_dict(), allow_nan=False))
    assert values["label"] == prediction.label
    assert [(m["label"], m["logit"], set(m["distances"])) for m in values["ranking"]] == [
        (m.label, m.logit, {"high", "mid"}) for m in prediction.ranking
    ]


@pytest.mark.parametrize("head", HEADS)
def test_a_photo_is_classified_alone_as_in_a_batch(taught, images, monkeypatch, head):
    one = taught(head)
    batch = images.reshape(-1, *images.shape[2:])[:7]
    together = one.classify_batch(batch)
    monkeypatch.setattr(classification, "BATCH", 3)
    one.backend.runs.clear()
    in_parts = one.classify_batch(iter(batch))
    assert one.backend.runs == ["classify"] * 3
    assert len(together) == len(in_parts) == 7
    for photo, prediction, other in zip(batch, together, in_parts, strict=True):
        agree(prediction, one.classify(photo))
        agree(prediction, other)
    assert len({tuple(logits(p).values()) for p in together}) == 7


@pytest.mark.parametrize(("top", "shown"), [(1, 1), (2, 2), (3, 3), (50, 3)])
def test_top_limits_the_ranking_and_changes_nothing_else(taught, images, top, shown):
    one = taught()
    whole = one.classify(images[0][3])
    for prediction in (one.classify(images[0][3], top=top), one.classify_batch([images[0][3]], top=top)[0]):
        assert prediction.ranking == whole.ranking[:shown]
        assert (prediction.label, prediction.margin) == (whole.label, whole.margin)


def test_of_many_species_five_are_shown(recognizer, images):
    one = recognizer()
    for i, photo in enumerate(images.reshape(-1, *images.shape[2:])[:7]):
        one.enroll(f"species {i}", photo)
    assert len(one.classify(images[0][0]).ranking) == 5
    assert len(one.classify(images[0][0], boxes=[(0, 0, 90, 90)])[0].ranking) == 5
    assert len(one.classify_batch([images[0][0]])[0].ranking) == 5


@pytest.mark.parametrize("head", HEADS)
def test_every_box_is_classified_as_the_photo_that_it_cuts_out(taught, images, head):
    one = taught(head)
    scene = np.concatenate([images[0][3], images[1][3]], axis=1)
    boxes = [(0, 0, 100, 100), (100, 0, 200, 100), (30, 10, 130, 90)]
    predictions = one.classify(scene, boxes=boxes)
    assert len(predictions) == 3
    for (x0, y0, x1, y1), prediction in zip(boxes, predictions, strict=True):
        agree(prediction, one.classify(np.ascontiguousarray(scene[y0:y1, x0:x1])))
    agree(predictions[0], one.classify(images[0][3]))
    assert one.classify(scene, boxes=[]) == []


def test_a_box_that_cannot_be_used_is_refused(taught, images):
    one = taught()
    for box in ((50, 0, 50, 100), (500, 500, 600, 600), (0, 0, float("nan"), 100)):
        with pytest.raises(ImageError):
            one.classify(images[0][0], boxes=[(0, 0, 100, 100), box])


@pytest.mark.parametrize("box", [(0, 0, 100, 100), np.array([0, 0, 100, 100])])
def test_a_single_box_instead_of_a_list_is_refused(taught, images, box):
    with pytest.raises(ImageError, match=r"single box.*pass a list, \[\(x0, y0, x1, y1\)\]"):
        taught().classify(images[0][0], boxes=box)
    assert len(taught().classify(images[0][0], boxes=np.tile([0, 0, 100, 100], (4, 1)))) == 4


def test_photos_of_all_kinds_are_taken(recognizer, images, tmp_path):
    photo = images[0][0]
    stream = BytesIO()
    PIL.Image.fromarray(photo).save(stream, "PNG")
    path = tmp_path / "a.png"
    path.write_bytes(stream.getvalue())
    kinds = [photo, PIL.Image.fromarray(photo), stream.getvalue(), path, str(path)]
    expected = (seen_as(photo),)
    for kind in kinds:
        assert recognizer().enroll("moth", kind).added == expected
        assert recognizer().enroll("moth", [kind]).added == expected
    one = recognizer()
    report = one.enroll("moth", (kind for kind in kinds))
    assert (report.added, report.duplicates, report.shots) == (expected, expected * 4, 1)
    answers = [one.classify(kind) for kind in kinds] + one.classify_batch(kinds)
    logits = [p.ranking[0].logit for p in answers]
    assert logits == pytest.approx([logits[0]] * len(logits), rel=1e-5)  # a batch rounds otherwise


def test_an_array_of_several_photos_is_several_photos(recognizer, images):
    report = recognizer().enroll("moth", images[0])
    assert report.added == tuple(seen_as(photo) for photo in images[0])


def test_photos_are_prepared_as_the_bundle_says(opened, images):
    bundle, backend = opened("ridge")
    manifest = bundle.manifest
    squashing = replace(manifest, input=replace(manifest.input, preprocessing="squash"))
    one = Recognizer(replace(bundle, manifest=squashing), backend)
    wide = np.concatenate([images[0][0], images[0][1]], axis=1)
    assert one.enroll("moth", wide).added == (hash_pixels(prepare(wide, replace(CROP, mode="squash"))),)
    assert hash_pixels(prepare(wide, replace(CROP, mode="squash"))) != hash_pixels(prepare(wide, CROP))


def test_a_recognizer_says_what_it_is(recognizer, images):
    one = recognizer()
    one.enroll("moth", images[0][:2])
    assert repr(one).startswith("<Recognizer of bundle ")
    assert repr(one).endswith(" on onnxruntime, <Gallery of 1 species, 2 photos, generation 1>>")


# --- Enrollment -------------------------------------------------------------------------------------------


def test_a_photo_that_another_species_holds_is_reported(recognizer, images):
    one = recognizer()
    assert one.enroll("moth", images[0][:2]).also_in == ()
    assert one.enroll("bee", [images[1][0], images[0][1]]).also_in == ("moth",)
    assert one.enroll("moth", images[0][2]).also_in == ()


def test_labels_that_differ_in_case_or_blanks_alone_are_reported(recognizer, images):
    one = recognizer()
    assert one.enroll("Blue Tit", images[0][0]).similar == ()
    assert one.enroll("blue  tit", images[0][1]).similar == ("Blue Tit",)
    assert one.enroll("BlueTit", images[0][2]).similar == ("Blue Tit", "blue  tit")
    assert one.enroll("Great Tit", images[1][0]).similar == ()


@pytest.mark.parametrize("head", HEADS)
def test_an_enrollment_reports_what_was_new(recognizer, images, head):
    one = recognizer(head)
    names = [seen_as(photo) for photo in images[0]]
    report = one.enroll("  moth ", [images[0][0], images[0][1], images[0][0]])
    assert (report.label, report.added, report.duplicates, report.shots) == (
        "moth",
        (names[0], names[1]),
        (names[0],),
        2,
    )
    generation = one.gallery.generation
    again = one.enroll("moth", images[0][1])
    assert (again.added, again.duplicates, again.shots) == ((), (names[1],), 2)
    assert one.gallery.generation == generation
    more = one.enroll("moth", [images[0][1], images[0][2]])
    assert (more.added, more.duplicates, more.shots) == ((names[2],), (names[1],), 3)
    elsewhere = one.enroll("ant", images[0][0])
    assert (elsewhere.added, elsewhere.duplicates, elsewhere.shots) == ((names[0],), (), 1)
    assert one.gallery.species["moth"].photos[names[0]].variant == "fp32"


@pytest.mark.parametrize("head", HEADS)
def test_photos_enrolled_one_by_one_give_what_they_give_in_one_batch(recognizer, images, head):
    at_once, in_turn = recognizer(head), recognizer(head)
    at_once.enroll("moth", list(images[0]))
    at_once.enroll("ant", list(images[1]))
    for photo in reversed(images[0]):
        in_turn.enroll("moth", photo)
    for photo in images[1]:
        in_turn.enroll("ant", photo)
    for label, species in at_once.gallery.species.items():
        other = in_turn.gallery.species[label]
        assert set(species.photos) == set(other.photos)
        for name, photo in species.photos.items():
            for key, array in photo.arrays.items():
                np.testing.assert_allclose(
                    other.photos[name].arrays[key], array, rtol=0, atol=1e-5 * np.abs(array).max()
                )
    agree(in_turn.classify(images[2][0]), at_once.classify(images[2][0]))


def test_many_photos_go_through_the_network_in_parts(recognizer, images, monkeypatch):
    monkeypatch.setattr("hmdrn_runtime.matching.base.BATCH", 3)
    one = recognizer()
    report = one.enroll("moth", list(images.reshape(-1, *images.shape[2:])[:7]))
    assert report.shots == 7
    assert one.backend.runs.count("enroll") == 3


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("label", ["moth", "wasp"])
def test_one_bad_photo_leaves_everything_as_it_was(taught, images, head, label):
    one = taught(head)
    before, generation, answer = state(one), one.gallery.generation, one.classify(images[0][3])
    with pytest.raises(ImageError, match="<bytes, 7>"):
        one.enroll(label, [images[2][3], b"no photo"[:7], images[1][3]])
    with pytest.raises(ImageError, match=r"missing\.jpg"):
        one.enroll(label, [images[2][3], "missing.jpg"])
    assert (state(one), one.gallery.generation) == (before, generation)
    assert one.classify(images[0][3]) == answer


@pytest.mark.parametrize("label", ["", "  ", "a\nb", "x" * 121, None, 7])
def test_a_bad_label_is_refused_before_a_photo_is_looked_at(taught, images, label):
    one = taught()
    before = state(one)
    one.backend.runs.clear()
    with pytest.raises(EnrollmentError, match="label"):
        one.enroll(label, images[0][3])
    assert one.backend.runs == []
    assert state(one) == before


def test_an_enrollment_without_a_photo_is_refused(taught):
    one = taught()
    for photos in ([], iter(()), np.zeros((0, 84, 84, 3), np.uint8)):
        with pytest.raises(EnrollmentError, match="no photo for 'moth': give at least one"):
            one.enroll("moth", photos)


# Zeros beside good photos could be solved.
@pytest.mark.parametrize(("label", "factor"), [("wasp", 0.0), ("wasp", 1e25), ("moth", 1e25)])
def test_statistics_that_cannot_be_solved_leave_everything_as_it_was(taught, images, label, factor):
    spoilt = False

    def spoil(graph: str, outputs: dict[str, Any]) -> dict[str, Any]:
        if graph == "enroll" and spoilt:
            return {name: array * np.float32(factor) for name, array in outputs.items()}
        return outputs

    one = taught(change=spoil)
    before, generation, answer = state(one), one.gallery.generation, one.classify(images[0][3])
    spoilt = True
    with pytest.raises(EnrollmentError, match=f"'{label}' cannot be enrolled"):
        one.enroll(label, images[2][3])
    spoilt = False
    assert (state(one), one.gallery.generation) == (before, generation)
    assert one.classify(images[0][3]) == answer
    assert one.enroll("wasp", images[2][3]).shots == 1


def test_labels_that_look_the_same_are_one_species(recognizer, images):
    one = recognizer()
    one.enroll("K\u00e4fer", images[0][0])
    assert one.enroll("Ka\u0308fer", images[0][1]).shots == 2
    assert one.classify(images[0][0]).label == "K\u00e4fer"
    one.forget("Ka\u0308fer")
    assert len(one.gallery) == 0


# --- Species that come and go -----------------------------------------------------------------------------


@pytest.mark.parametrize("head", HEADS)
def test_nothing_can_be_named_before_something_was_enrolled(recognizer, images, head):
    one = recognizer(head)
    for call in (
        lambda: one.classify(images[0][0]),
        lambda: one.classify_batch([images[0][0]]),
        lambda: one.classify(images[0][0], boxes=[(0, 0, 50, 50)]),
    ):
        with pytest.raises(GalleryError, match="nothing has been enrolled: enroll photos of at least one"):
            call()


@pytest.mark.parametrize("head", HEADS)
def test_nothing_can_be_named_after_the_last_species_was_forgotten(recognizer, images, head):
    one = recognizer(head)
    one.enroll("moth", [images[0][0], images[0][1]])
    assert one.classify(images[0][0]).label == "moth"
    one.forget("moth", seen_as(images[0][0]))
    assert one.classify(images[0][0]).label == "moth"
    one.forget("moth", seen_as(images[0][1])[:10])
    with pytest.raises(GalleryError, match="nothing has been enrolled"):
        one.classify(images[0][0])
    one.enroll("ant", images[1][0])
    assert one.classify(images[0][0]).label == "ant"


@pytest.mark.parametrize("head", HEADS)
def test_forgetting_a_photo_gives_the_answers_of_never_having_seen_it(taught, recognizer, images, head):
    one, never = taught(head), recognizer(head)
    one.forget("moth", seen_as(images[2][1]))
    one.forget("bee")
    never.enroll("ant", images[0][0])
    never.enroll("moth", [images[2][0], images[2][2]])
    agree(one.classify(images[1][3]), never.classify(images[1][3]))
    assert set(logits(one.classify(images[1][3]))) == {"ant", "moth"}


def test_forgetting_what_is_not_there_is_refused(taught):
    with pytest.raises(GalleryError, match=r"no species 'wasp' in the gallery: it has ant, bee, moth$"):
        taught().forget("wasp")


@pytest.mark.parametrize("head", HEADS)
def test_a_merged_gallery_is_seen_by_the_next_classification(taught, recognizer, images, head):
    one, other = taught(head), recognizer(head)
    other.enroll("wasp", list(images[1][2:]))
    other.enroll("ant", [images[0][0], images[0][1]])
    before = one.classify(images[1][3])
    assert one.gallery.merge(other.gallery) == MergeReport(("wasp",), {"ant": 1})
    after = one.classify(images[1][3])
    assert set(logits(after)) == {*SPECIES, "wasp"}
    for label in ("bee", "moth"):
        assert logits(after)[label] == pytest.approx(logits(before)[label], rel=1e-5)
    assert logits(after)["ant"] != logits(before)["ant"]
    expected = recognizer(head)
    expected.enroll("ant", [images[0][0], images[0][1]])
    expected.enroll("wasp", list(images[1][2:]))
    for label, value in logits(expected.classify(images[1][3])).items():
        assert logits(after)[label] == pytest.approx(value, rel=1e-5)


def test_an_unsolvable_merged_species_is_named_until_it_is_forgotten(taught, recognizer, images):
    one, other = taught(), recognizer()
    answer = one.classify(images[0][3])
    other.enroll("wasp", images[1][3])
    (photo,) = other.gallery.species["wasp"].photos.values()
    empty = replace(photo, arrays={name: array * 0 for name, array in photo.arrays.items()})
    one.gallery.merge(Gallery(one.gallery.network, {"wasp": extend_species(None, "wasp", [empty])}))
    with pytest.raises(EnrollmentError, match="'wasp' cannot be enrolled"):
        one.classify(images[0][3])
    one.forget("wasp")
    agree(one.classify(images[0][3]), answer)


@pytest.mark.parametrize("head", HEADS)
def test_a_gallery_moves_to_another_recognizer_through_a_file(taught, recognizer, images, tmp_path, head):
    one = taught(head)
    one.save_gallery(tmp_path / "site.gallery")
    other = recognizer(head, gallery=load_gallery(tmp_path / "site.gallery"))
    assert state(other) == state(one)
    assert other.classify(images[1][3]) == one.classify(images[1][3])
    assert other.enroll("moth", images[2][0]).added == ()


def test_a_gallery_of_other_weights_is_refused_by_name(recognizer, opened):
    network = opened("ridge")[0].manifest.network
    strange = replace(network, fingerprint="cd" * 32, backbone="resnet12")
    with pytest.raises(
        GalleryError,
        match=r"the gallery was enrolled with other weights .*resnet12 ridge, fingerprint cdcdcdcdcdcd",
    ):
        recognizer(gallery=Gallery(strange))
    with pytest.raises(GalleryError, match="the other gallery was enrolled with other weights"):
        recognizer().gallery.merge(Gallery(strange))
    with pytest.raises(GalleryError, match="conv4 attention"):
        recognizer(gallery=Gallery(opened("attention")[0].manifest.network))


def test_the_order_of_a_gallery_does_not_exchange_names(taught, recognizer, images):
    one = taught()
    species = one.gallery.species
    turned = Gallery(one.gallery.network, {label: species[label] for label in reversed(species)})
    agree(recognizer(gallery=turned).classify(images[2][3]), one.classify(images[2][3]))


def test_two_devices_that_merge_each_others_galleries_answer_alike(taught, recognizer, images):
    def rounded_otherwise(graph: str, outputs: dict[str, Any]) -> dict[str, Any]:
        # Far more than rounding, so that it shows in the answers.
        return {n: a * np.float32(1.01) for n, a in outputs.items()} if graph == "enroll" else outputs

    ours, theirs = taught(), taught(change=rounded_otherwise)
    to_them, to_us = (Gallery(r.gallery.network, r.gallery.species) for r in (ours, theirs))
    ours.classify(images[0][3])
    theirs.classify(images[0][3])
    ours.gallery.merge(to_us)
    theirs.gallery.merge(to_them)
    assert state(ours) == state(theirs)
    agree(ours.classify(images[0][3]), theirs.classify(images[0][3]))


# --- What stays where the graphs run ----------------------------------------------------------------------


def test_classifying_neither_solves_nor_moves_operators(taught, images):
    one = taught()
    spy = one.backend
    spy.runs.clear()
    spy.placed.clear()
    for _ in range(3):
        one.classify(images[0][3])
    one.classify_batch(images[0])
    one.classify(images[0][3], boxes=[(0, 0, 50, 50)])
    assert spy.runs == ["classify"] * 5
    assert spy.placed == []


def test_attention_places_its_classes_once(taught, images):
    one = taught("attention")
    one.backend.placed.clear()
    one.backend.runs.clear()
    for _ in range(3):
        one.classify(images[0][3])
    assert one.backend.placed == []
    assert one.backend.runs == ["classify"] * 3


def test_adding_one_species_solves_that_one_alone(taught, images):
    one = taught()
    solved = one.backend.solved

    def solves(change: Callable[[], object]) -> list[int]:
        solved.clear()
        change()
        return list(solved)

    assert solves(lambda: one.enroll("wasp", images[1][3])) == [1]
    # A species of several photos is solved without each of them too, for the report; no other operator is.
    assert solves(lambda: one.enroll("ant", images[0][2]))[:2] == [1, 2]
    assert 1 not in solves(lambda: one.enroll("ant", images[0][2])), "a photo that it had"
    assert solves(lambda: one.forget("bee")) == []
    assert solves(lambda: one.classify(images[0][3])) == []
    one.forget("moth", seen_as(images[2][0]))
    assert solves(lambda: one.classify(images[0][3])) == [], "the report had solved it without this photo"


def test_a_recognizer_with_a_gallery_solves_all_species_at_once_and_once(taught, recognizer, images):
    one = recognizer(gallery=taught().gallery)
    assert one.backend.runs == []
    for _ in range(2):
        one.classify(images[0][3])
    assert one.backend.runs == ["solve", "classify", "classify"]
    assert one.backend.solved == [3]
    assert one.backend.placed == [(3, 4160)]


@pytest.mark.parametrize("head", HEADS)
def test_threads_that_classify_during_enrollment_see_whole_galleries(recognizer, images, head):
    # Of very different contrast, so that no two species are equally far from the query.
    rng = np.random.default_rng(0)
    photos = [rng.normal(30 * i, 4 * i * i, (84, 84, 3)).clip(0, 255).astype(np.uint8) for i in range(8)]
    query, names = images[2][3], [f"species {(5 * i) % 8}" for i in range(8)]
    alone: dict[str, float] = {}
    for name, photo in zip(names, photos, strict=True):
        single = recognizer(head)
        single.enroll(name, photo)
        alone[name] = single.classify(query).ranking[0].logit
    # A mix-up of two species must show.
    apart = np.diff(sorted(alone.values()))
    assert apart.min() > 1e-4 * max(map(abs, alone.values()))

    one = recognizer(head)
    one.enroll(names[0], photos[0])
    states = [set(names[: i + 1]) for i in range(8)] + [set(names) - {names[0]}]
    answers: list[Prediction] = []
    errors: list[BaseException] = []
    done = threading.Event()

    def classify() -> None:
        try:
            while not done.is_set():
                answers.append(one.classify(query, top=99))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=classify) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for name, photo in zip(names[1:], photos[1:], strict=True):
            one.enroll(name, photo)
        one.forget(names[0])
        last = one.classify(query, top=99)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert errors == []
    assert answers
    for answer in [*answers, last]:
        found = logits(answer)
        assert set(found) in states
        assert found == pytest.approx({name: alone[name] for name in found}, rel=2e-5)
    assert set(logits(last)) | set(logits(one.classify(query, top=99))) == states[-1]


def test_threads_that_enroll_at_once_lose_nothing(recognizer, images):
    one = recognizer()
    photos = images.reshape(-1, *images.shape[2:])
    errors: list[BaseException] = []

    def enroll(turn: int) -> None:
        try:
            for i in range(turn, 12, 3):
                one.enroll(f"species {i % 4}", photos[i])
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=enroll, args=(turn,)) for turn in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert {label: s.shots for label, s in one.gallery.species.items()} == {
        f"species {i}": 3 for i in range(4)
    }
    expected = recognizer()
    for i in range(4):
        expected.enroll(f"species {i}", [photos[j] for j in range(12) if j % 4 == i])
    agree(one.classify(images[0][0]), expected.classify(images[0][0]))


def test_errors_are_ours_in_one_line(taught):
    one = taught()
    for call in (
        lambda: one.classify("missing.jpg"),
        lambda: one.classify(None),
        lambda: one.classify_batch([b""]),
        lambda: one.enroll("moth", [3.5]),
        lambda: one.forget("wasp", "00"),
        lambda: one.save_gallery("/nowhere/site.gallery"),
    ):
        with pytest.raises(HmdrnError) as caught:
            call()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("photos", [None, 3.5])
def test_what_is_no_photo_is_refused_as_an_error_of_ours(taught, photos):
    with pytest.raises(HmdrnError):
        taught().enroll("moth", photos)
