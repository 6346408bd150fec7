"""What `enroll` says of photos."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
from PIL import Image
from preprocessings import DEFAULT

import hmdrn
from hmdrn_runtime.enrollment.evidence import PROBABLY_WRONG, _find_confusion
from hmdrn_runtime.enrollment.leave_one_out import leave_one_out
from hmdrn_runtime.enrollment.photo_groups import group_photos
from hmdrn_runtime.enrollment.report import Confusion
from hmdrn_runtime.errors import EnrollmentError
from hmdrn_runtime.gallery.species import extend_species
from hmdrn_runtime.specimens.drawing import draw_specimens


@pytest.fixture(scope="module")
def drawn():
    return draw_specimens(range(3), 6, size=96)


@pytest.fixture
def recognizer():
    return hmdrn.load("default", threads=1)


def test_leave_one_out_is_what_the_gallery_without_the_photo_says(recognizer, drawn):
    recognizer.enroll("ant", list(drawn[0][:4]))
    species = recognizer.gallery.species["ant"]
    found = leave_one_out(recognizer.matcher, species, {})
    assert set(found) == set(species.photos)
    for out, image in enumerate(drawn[0][:4]):
        other = hmdrn.load("default", threads=1)
        other.enroll("ant", [drawn[0][i] for i in range(4) if i != out])
        digest = recognizer.matcher.compute_statistics(recognizer_input(image))[0].digest
        assert found[digest] == pytest.approx(other.classify(image).ranking[0].logit, rel=1e-4)


def recognizer_input(image):
    from hmdrn_runtime.images.preprocessing import prepare

    return prepare(image, DEFAULT)[None]


def test_a_species_of_one_photo_has_no_leave_one_out(recognizer, drawn):
    report = recognizer.enroll("ant", drawn[0][0])
    (photo,) = report.photos
    assert (photo.fit, photo.recognized_as, photo.most_useful, report.nearest) == (None, None, False, None)
    assert photo.verdict == "good"


def test_one_solve_serves_all_photos_of_a_species(recognizer, drawn, monkeypatch):
    recognizer.enroll("ant", list(drawn[0][:5]))
    sizes = []
    solve = recognizer.matcher.solve
    monkeypatch.setattr(
        recognizer.matcher, "solve", lambda gram, *rest: sizes.append(len(gram)) or solve(gram, *rest)
    )
    leave_one_out(recognizer.matcher, recognizer.gallery.species["ant"], {})
    assert sizes == [5]


def test_duplicates_and_bad_photos_are_named_and_the_rest_is_good(recognizer, drawn):
    dark = (drawn[0][2] // 12).astype(np.uint8)
    report = recognizer.enroll("ant", [drawn[0][0], drawn[0][1], drawn[0][0], dark])
    assert report.photos[2].issues == ("like photo 1, counts as one with it",)
    assert "too dark" in report.photos[3].verdict
    assert [p.digest for p in report.flagged] == [report.photos[2].digest, report.photos[3].digest]
    again = recognizer.enroll("ant", drawn[0][1])
    assert again.photos[0].issues == ("enrolled before",)


def test_a_picture_of_something_else_is_named(recognizer, drawn):
    recognizer.enroll(
        "chessboard",
        [
            np.kron(np.indices((k, k)).sum(0) % 2, np.ones((12, 12)))[..., None].repeat(3, 2).astype(np.uint8)
            * 200
            + 20
            for k in (8, 9, 10, 11)
        ],
    )
    board = np.kron(np.indices((7, 7)).sum(0) % 2, np.ones((12, 12)))[..., None].repeat(3, 2) * 200 + 20
    report = recognizer.enroll("ant", [*drawn[0][:4], board.astype(np.uint8)])
    assert report.photos[4].verdict.endswith("looks like chessboard")
    assert report.photos[4].fit < 0
    assert all(photo.fit > 0 for photo in report.photos[:4])
    assert sum(photo.most_useful for photo in report.photos) == 1
    assert not report.photos[4].most_useful


def test_a_folder_of_another_species_is_reported_as_a_species(recognizer):
    # Enough photos of the true species that none of the five is a near tie, in FP32 and in INT8.
    ants, bees = draw_specimens((2, 3), 17, size=84)
    recognizer.enroll("bee", list(bees[:5]))
    assert recognizer.enroll("ant", list(ants[:12])).issue is None
    report = recognizer.enroll("wasp", list(ants[12:]))
    assert report.confusion == Confusion("ant", 5, 5)
    assert report.issue.startswith("please check: 5 of 5 photos of 'wasp' look like 'ant'")
    assert {photo.verdict for photo in report.photos} == {"please check: looks like ant"}
    assert [photo.to_dict()["nearer_to"] for photo in report.photos] == ["ant"] * 5
    assert report.flagged == (), "no single photo differs from the others"


def frames(image, count=5):
    """Frames of one scene: shifted by a pixel each, a little brighter, compressed."""
    for k in range(count):
        frame = np.clip(np.roll(image, k, axis=1) * (1 + 0.01 * k), 0, 255)
        file = io.BytesIO()
        Image.fromarray(frame.astype(np.uint8)).save(file, "JPEG", quality=80)
        yield Image.open(file)


def test_frames_of_one_scene_count_as_one_photo_and_give_no_evidence(recognizer, drawn):
    recognizer.enroll("bee", list(drawn[1]))
    report = recognizer.enroll("ant", list(frames(drawn[0][0])))
    assert [photo.duplicate_of for photo in report.photos] == [None, 1, 1, 1, 1]
    assert {photo.verdict for photo in report.photos[1:]} == {"like photo 1, counts as one with it"}
    assert {photo.fit for photo in report.photos} == {None}, "nothing is left when the group is left out"
    again = recognizer.enroll("ant", [*list(frames(drawn[0][0]))[1:2], drawn[0][1]])
    assert again.photos[0].verdict == "enrolled before"
    assert (
        recognizer.enroll("ant", drawn[0][0][2:-2, 2:-2])
        .photos[0]
        .verdict.startswith("like a photo enrolled before")
    )


def test_a_group_is_left_out_as_a_whole(recognizer, drawn):
    recognizer.enroll("ant", [*frames(drawn[0][0], 3), *drawn[0][1:3]])
    species = recognizer.gallery.species["ant"]
    logits = leave_one_out(recognizer.matcher, species, {})
    groups = group_photos(recognizer.matcher.network, list(species.photos.values()))
    assert len(set(groups)) == 3
    for digest, group in zip(species.photos, groups, strict=True):
        rest = [p for p, other in zip(species.photos.values(), groups, strict=True) if other != group]
        expected = recognizer.matcher.compare(
            [species.photos[digest]], {}, [extend_species(None, "ant", rest)]
        )
        assert logits[digest] == pytest.approx(float(expected[0, 0]), rel=1e-4)


def test_groups_of_photos_are_the_same_after_saving(recognizer, drawn, tmp_path):
    recognizer.enroll("ant", [*frames(drawn[0][0], 3), *drawn[0][1:3]])
    recognizer.save_gallery(tmp_path / "g.gallery")
    before = recognizer.gallery.species["ant"].photos
    after = hmdrn.load_gallery(tmp_path / "g.gallery").species["ant"].photos
    network = recognizer.matcher.network
    order = sorted(before)
    groups = [group_photos(network, [photos[digest] for digest in order]) for photos in (before, after)]
    assert groups[0] == groups[1]
    assert len(set(groups[0])) == 3


@pytest.mark.parametrize("seed", range(2))
def test_verdict_answer_and_fit_never_contradict_each_other(recognizer, seed):
    rng = np.random.default_rng(seed)
    pictures = [image for images in draw_specimens(range(3), 5, size=84) for image in images]
    mixed = [pictures[i] for i in rng.permutation(len(pictures))]
    photos = {label: mixed[5 * i : 5 * i + 5] for i, label in enumerate(("ant", "bee", "fly"))}
    reports = {label: recognizer.enroll(label, members) for label, members in photos.items()}
    for label, members in photos.items():
        report = recognizer.review(reports[label], members)
        judged = [photo for photo in report.photos if photo.fit is not None]
        for photo in judged:
            assert (photo.recognized_as == label) == (photo.fit >= 0)
            assert ("looks like" in photo.verdict) == (photo.fit < 0)
            assert photo.outlier == (photo.fit < PROBABLY_WRONG)
            assert not (photo.most_useful and photo.fit < 0)
        assert report.nearest.separability == np.mean([photo.fit >= 0 for photo in judged])


def test_confusion_needs_more_than_half_of_the_photos_nearer_to_one_other():
    def found(*named: str) -> Confusion | None:
        return _find_confusion({str(i): name for i, name in enumerate(named)}, "own")

    assert found("ant", "ant", "own") == Confusion("ant", 2, 3)
    assert found("ant", "ant", "own", "own") is None, "half is not most"
    assert found("ant", "bee", "wasp") is None, "no single one"
    assert found("ant", "ant") is None, "each compared with a single other photo"
    assert found("own", "own", "ant") is None
    assert found() is None


def test_the_nearest_species_is_reported_with_its_separability(recognizer, drawn):
    recognizer.enroll("ant", list(drawn[0]))
    recognizer.enroll("bee", list(drawn[1]))
    report = recognizer.enroll("moth", list(drawn[2]))
    assert report.nearest.label in ("ant", "bee")
    assert 0 <= report.nearest.separability <= 1
    named = [photo.recognized_as for photo in report.photos]
    assert report.nearest.separability >= named.count("moth") / len(named)


@pytest.mark.slow
def test_photos_of_an_attention_bundle_are_examined_by_their_pixels(exported, drawn):
    one = hmdrn.load(exported("conv4", "attention"), threads=1)
    one.enroll("ant", list(drawn[0][:3]))
    report = one.enroll("bee", list(drawn[1][:3]))
    assert all(photo.fit is not None for photo in report.photos)
    assert report.nearest.label == "ant"


def test_a_compacted_class_has_no_photos_to_leave_out(recognizer, drawn):
    recognizer.enroll("ant", list(drawn[0][:3]))
    recognizer.gallery.compact()
    assert leave_one_out(recognizer.matcher, recognizer.gallery.species["ant"], {}) == {}


def test_a_stream_keeps_few_frames_none_of_them_blurred_or_repeated(recognizer, drawn):
    plain = np.full((96, 96, 3), 120, np.uint8)
    read = []

    def frames():
        for frame in [plain, drawn[0][0], drawn[0][0], *drawn[0][1:], *drawn[0]]:
            read.append(frame)
            yield frame

    report = recognizer.enroll_stream("ant", frames(), shots=2)
    assert report.shots == 2
    assert report.flagged == ()
    assert report.photos[0].name == "frame 2", "the first frame is unfit"
    assert len(read) < 13, "no more frames are read than are needed"


def test_a_stream_without_a_usable_frame_is_refused(recognizer):
    with pytest.raises(EnrollmentError, match="no frame"):
        recognizer.enroll_stream("ant", [np.full((96, 96, 3), 120, np.uint8)] * 3)
    assert len(recognizer.gallery) == 0


def watched(frame):
    """A camera that shows the same for ever; a failure after far more frames than it may take."""
    for number in itertools.count():
        assert number < 500, "still reading"
        yield frame


def test_a_stream_of_a_still_scene_ends_after_the_frames_that_add_nothing(recognizer, drawn):
    assert recognizer.enroll_stream("ant", watched(drawn[0][0]), patience=4).shots == 1
    assert recognizer.enroll_stream("bee", watched(drawn[1][0])).shots == 1


def test_a_stream_that_turns_dark_ends_with_what_was_kept(recognizer, drawn):
    dark = np.zeros((96, 96, 3), np.uint8)
    with pytest.raises(EnrollmentError, match="no frame for 'ant' was sharp and well lit"):
        recognizer.enroll_stream("ant", watched(dark))
    frames = itertools.chain([dark, drawn[0][0]], watched(dark))
    assert recognizer.enroll_stream("ant", frames, unfit=3).shots == 1


def test_dark_frames_between_repetitions_do_not_keep_a_stream_alive(recognizer, drawn):
    dark = np.zeros((96, 96, 3), np.uint8)
    frames = (frame for pair in zip(watched(dark), watched(drawn[0][0]), strict=True) for frame in pair)
    assert recognizer.enroll_stream("ant", frames, patience=5, unfit=2).shots == 1


@pytest.mark.parametrize("name", ["shots", "patience", "unfit"])
@pytest.mark.parametrize("value", [0, -1])
def test_a_stream_of_no_frames_is_a_mistake(recognizer, drawn, name, value):
    with pytest.raises(EnrollmentError, match=f"{name} is {value}: it must be at least 1"):
        recognizer.enroll_stream("ant", list(drawn[0]), **{name: value})
    assert len(recognizer.gallery) == 0


def test_a_second_stream_adds_to_what_the_species_has(recognizer, drawn):
    first = recognizer.enroll_stream("ant", list(drawn[0]), shots=6)
    again = recognizer.enroll_stream("ant", list(drawn[0])[:1] * 3)
    assert (again.added, again.duplicates, again.photos) == ((), (), ())
    assert again.shots == first.shots
    other = recognizer.enroll_stream("ant", [*drawn[0], *drawn[1]])
    assert other.added
    assert other.duplicates == ()
    assert other.shots == first.shots + len(other.added)


def test_a_second_stream_knows_repetitions_by_thumbnails(drawn):
    one = hmdrn.load("default", threads=1, keep_thumbnails=True)
    one.enroll("ant", drawn[0][0])
    nearly = (drawn[0][0].astype(int) + 1).clip(0, 255).astype(np.uint8)
    assert one.enroll_stream("ant", [nearly]).added == ()
