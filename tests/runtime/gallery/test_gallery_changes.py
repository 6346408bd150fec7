"""Renaming, compacting, thumbnails, history and calibration: in memory and through a file."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import datetime, timezone

import numpy as np
import pytest
from gallery_files import NETWORKS, RIDGE, contents, photo, refused, rewritten, sample
from safetensors.numpy import load_file

from hmdrn_runtime.errors import EnrollmentError, GalleryError
from hmdrn_runtime.gallery.diff import diff_galleries
from hmdrn_runtime.gallery.file import load_gallery, save_gallery
from hmdrn_runtime.gallery.gallery import Gallery
from hmdrn_runtime.gallery.history import MAX_CHANGES
from hmdrn_runtime.gallery.photo_record import PhotoRecord, make_record
from hmdrn_runtime.gallery.photo_statistics import PhotoStatistics, array_shapes, gram_sum
from hmdrn_runtime.gallery.state import MergeReport, annotate_photos
from hmdrn_runtime.images.thumbnail import encode_thumbnail


@pytest.fixture
def path(tmp_path):
    return tmp_path / "site.gallery"


def with_thumbnail(seed: int) -> PhotoStatistics:
    pixels = np.random.default_rng(seed).integers(0, 256, (84, 84, 3), dtype=np.uint8)
    return replace(photo(RIDGE, seed), thumbnail=encode_thumbnail(pixels))


def gallery(**seeds: list[int]) -> Gallery:
    made = Gallery(RIDGE)
    for label, those in seeds.items():
        made.add(label, [photo(RIDGE, seed) for seed in those])
    return made


def sums(one: Gallery) -> dict[str, bytes]:
    """What goes into the solve, by label."""
    return {
        label: gram_sum(RIDGE, s.photos.values(), s.sums).astype(np.float32).tobytes()
        for label, s in one.species.items()
    }


# --- Renaming ---------------------------------------------------------------------------------------------


def test_a_renamed_species_keeps_its_photos():
    one = gallery(moth=[1, 2], ant=[3])
    one.rename("moth", "  hawk-moth ")
    assert contents(one)["species"] == contents(Gallery(RIDGE, one.species))["species"]
    assert {label: s.shots for label, s in one.species.items()} == {"ant": 1, "hawk-moth": 2}
    assert one.species["hawk-moth"].label == "hawk-moth"
    before = one.state
    one.rename("ant", "ant")
    assert one.state is before


def test_a_taken_name_is_refused_unless_the_two_are_to_be_one():
    one = gallery(moth=[1, 2], ant=[2, 3])
    with pytest.raises(GalleryError, match="there is a species 'ant' already: choose another label, or join"):
        one.rename("moth", "ant")
    one.rename("moth", "ant", join=True)
    assert contents(one)["species"] == contents(gallery(ant=[1, 2, 3]))["species"]


def test_a_missing_species_or_a_bad_label_cannot_be_renamed():
    one = gallery(moth=[1])
    with pytest.raises(GalleryError, match="no species 'bee' in the gallery: it has moth"):
        one.rename("bee", "ant")
    with pytest.raises(EnrollmentError, match="has control characters"):
        one.rename("moth", "a\nb")
    assert one.generation == 1


# --- Merging ----------------------------------------------------------------------------------------------


def test_some_species_of_another_gallery_can_be_taken_alone():
    one, other = gallery(ant=[1]), gallery(ant=[2], bee=[3], moth=[4])
    assert one.merge(other, ["ant", "moth"]) == MergeReport(("moth",), {"ant": 1})
    assert set(one) == {"ant", "moth"}
    with pytest.raises(GalleryError, match="no species 'wasp' in the gallery: it has ant, bee, moth"):
        one.merge(other, ["bee", "wasp"])
    assert set(one) == {"ant", "moth"}


def test_galleries_are_compared_species_by_species_and_photo_by_photo():
    found = diff_galleries(
        gallery(a=[1, 2], b=[3], old=[5], same=[7]), gallery(a=[2, 4], c=[6], new=[5], same=[7])
    )
    digest = {seed: photo(RIDGE, seed).digest for seed in (1, 4)}
    assert (found.only_first, found.only_second) == (("b", "old"), ("c", "new"))
    assert dict(found.differing) == {"a": ((digest[1],), (digest[4],))}
    assert dict(found.renamed) == {"old": "new"}
    assert found
    assert not diff_galleries(gallery(a=[1]), gallery(a=[1]))


# --- Compacting -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ridge", "ridge of tokens"])
def test_a_compacted_gallery_has_the_same_sums_bit_for_bit_after_saving(path, name):
    network = NETWORKS[name]
    one = sample(network)
    before = {s.label: gram_sum(network, s.photos.values()).astype(np.float32) for s in one.species.values()}
    assert one.compact() == 5
    save_gallery(one, path)
    for found in (one, load_gallery(path)):
        for label, species in found.species.items():
            assert dict(species.photos) == {}
            assert np.array_equal(gram_sum(network, (), species.sums).astype(np.float32), before[label])
            assert species.shots == {"ant": 2, "Zimtkäfer": 3}[label]
    assert load_gallery(path).state == one.state
    assert load_file(path)["support"].shape[0] == 0


def test_compacting_what_is_compact_changes_nothing():
    one = gallery(a=[1, 2])
    one.compact()
    before = one.state
    assert one.compact() == 0
    assert one.state is before


def test_a_compacted_photo_counts_once_and_cannot_be_taken_out():
    one = gallery(a=[1, 2], b=[5])
    one.compact(["a"])
    assert one.add("a", [photo(RIDGE, 2)]) == 0
    assert one.add("a", [photo(RIDGE, 3)]) == 1
    with pytest.raises(
        GalleryError, match="is part of a sum since the species was compacted, and cannot be removed"
    ):
        one.forget("a", photo(RIDGE, 1).digest)
    one.forget("a", photo(RIDGE, 3).digest)
    assert sums(one)["a"] == sums(gallery(a=[1, 2]))["a"]
    one.forget("a")
    assert set(one) == {"b"}


def test_compacted_galleries_merge_in_any_order_to_the_same():
    def parts() -> list[Gallery]:
        made = [gallery(a=[1, 2]), gallery(a=[3, 4]), gallery(a=[2, 5]), gallery(a=[1, 2])]
        for one in made[:2]:
            one.compact()
        return made

    found = set()
    for order in itertools.permutations(range(4)):
        first, *rest = (parts()[i] for i in order)
        for part in rest:
            first.merge(part)
        (species,) = first.species.values()
        assert species.shots == 5
        found.add((species.key, sums(first)["a"]))
    assert len(found) == 1


def test_overlapping_sums_are_refused_and_nested_ones_count_once():
    one, other, larger = gallery(a=[1, 2]), gallery(a=[2, 3]), gallery(a=[1, 2, 3])
    for each in (one, other, larger):
        each.compact()
    before = one.state
    with pytest.raises(GalleryError, match="'a' was compacted on both sides with some of the same photos"):
        one.merge(other)
    assert one.state is before
    one.merge(larger)
    assert sums(one) == sums(larger)


def test_attention_cannot_be_compacted():
    with pytest.raises(GalleryError, match="'attention' classifies with every photo's own statistics"):
        sample(NETWORKS["attention"]).compact()


# --- Thumbnails -------------------------------------------------------------------------------------------


def test_thumbnails_live_in_the_file_with_the_photos_that_have_one(path):
    one = Gallery(RIDGE)
    one.add("a", [with_thumbnail(1), photo(RIDGE, 2), with_thumbnail(3)])
    one.add("b", [with_thumbnail(4)])
    save_gallery(one, path)
    found = load_gallery(path)
    assert found.state == one.state
    sizes = [len(with_thumbnail(seed).thumbnail) for seed in (1, 3, 4)]
    assert load_file(path)["thumbnails"].shape == (sum(sizes),)
    assert found.species["b"].photos[with_thumbnail(4).digest].thumbnail == with_thumbnail(4).thumbnail
    found.forget("a", with_thumbnail(1).digest)
    save_gallery(found, path)
    assert load_file(path)["thumbnails"].shape == (sum(sizes[1:]),)
    assert load_gallery(path).species["b"].photos[with_thumbnail(4).digest].pixels.shape == (84, 84, 3)


def test_a_thumbnail_comes_in_with_a_merge_whichever_side_has_it():
    bare = replace(with_thumbnail(1), thumbnail=None)
    for first, second in itertools.permutations((bare, with_thumbnail(1))):
        one, other = Gallery(RIDGE), Gallery(RIDGE)
        one.add("a", [first])
        other.add("a", [second])
        one.merge(other)
        assert one.species["a"].photos[bare.digest].thumbnail == with_thumbnail(1).thumbnail


def test_thumbnails_that_do_not_fit_their_lengths_are_refused(path):
    one = Gallery(RIDGE)
    one.add("a", [with_thumbnail(1)])
    save_gallery(one, path)
    size = len(with_thumbnail(1).thumbnail)
    rewritten(path, lambda metadata: None, thumbnails=np.zeros(size + 1, np.uint8))
    refused(path, rf"no uint8 array 'thumbnails' of shape \({size},\)")

    def lengthen(metadata):
        metadata["species"][0]["photos"][0]["thumbnail"] = 10**9

    rewritten(path, lengthen)
    refused(path, "is damaged: a thumbnail of 1000000000 bytes")


# --- Names, times and verdicts ----------------------------------------------------------------------------


def named(seed: int, name: str, enrolled: str = "2026-05-01T08:30:00Z") -> PhotoStatistics:
    return replace(photo(RIDGE, seed), record=PhotoRecord(name, "2026-04-30T08:00:00Z", enrolled, "good"))


def test_names_times_and_verdicts_live_in_the_file_and_survive_changes(path):
    one = Gallery(RIDGE)
    one.add("moth", [named(1, "a.jpg"), photo(RIDGE, 2)])
    save_gallery(one, path)
    found = load_gallery(path)
    assert found.state == one.state
    found.rename("moth", "hawk-moth")
    other = Gallery(RIDGE)
    other.merge(found)
    assert other.species["hawk-moth"].photos[named(1, "").digest].record == named(1, "a.jpg").record
    assert other.species["hawk-moth"].photos[photo(RIDGE, 2).digest].record == PhotoRecord()


def test_of_two_records_that_with_a_name_is_kept_in_any_order_else_the_earlier():
    early, late = named(1, "b.jpg", "2026-05-01T00:00:00Z"), named(1, "a.jpg", "2026-05-02T00:00:00Z")
    nameless = named(1, "", "2026-04-01T00:00:00Z")
    for order in itertools.permutations((early, late, nameless)):
        one = Gallery(RIDGE)
        for member in order:
            one.add("a", [member])
        assert one.species["a"].photos[early.digest].record == early.record


def test_a_photo_enrolled_again_changes_nothing_unless_it_gains_a_name():
    one, bare = Gallery(RIDGE), named(1, "")
    one.add("a", [bare])
    before = one.state
    for enrolled in ("2026-05-01T08:30:00Z", "1970-01-01T00:00:00Z", "2027-01-01T00:00:00Z"):
        again = replace(bare, record=PhotoRecord("", "", enrolled))
        one.add("a", [again])
        assert one.state is before
    one.add("a", [replace(bare, record=PhotoRecord("a.jpg", "", "2027-01-01T00:00:00Z"))])
    assert one.species["a"].photos[bare.digest].record == PhotoRecord(
        "a.jpg", bare.record.taken, "2027-01-01T00:00:00Z", "good"
    )


def test_a_photo_is_forgotten_by_its_name_and_an_ambiguous_name_is_refused():
    one = Gallery(RIDGE)
    one.add("a", [named(1, "a.jpg"), named(2, "b.jpg"), named(3, "b.jpg")])
    with pytest.raises(GalleryError, match=r"^2 photos of 'a' have the name 'b.jpg', .*b.jpg \([0-9a-f]"):
        one.forget("a", "b.jpg")
    one.forget("a", "a.jpg")
    assert set(one.species["a"].photos) == {named(2, "").digest, named(3, "").digest}
    assert one.history[-1].what == f"forgot photo a.jpg ({named(1, '').digest[:12]})"


def test_a_name_is_a_base_name_of_bounded_length_and_escaped_where_it_is_shown(path):
    assert make_record("/home/x/birds/a.jpg", None).name == "a.jpg"
    assert make_record("b\udcff.jpg", None).name == r"b\udcff.jpg"
    assert len(make_record("x" * 1000, None).name) == 255
    one = Gallery(RIDGE)
    one.add("a", [named(1, "\x1b[2Jno\u202egpj.exe")])
    assert one.species["a"].photos[named(1, "").digest].title.startswith(r"'\x1b[2Jno\u202egpj.exe' (")
    save_gallery(one, path)

    def lengthen(metadata):
        metadata["species"][0]["photos"][0]["name"] = "x" * 256

    rewritten(path, lengthen)
    refused(path, "'name' has over 255 characters")


def test_details_change_nothing_that_answers_depend_on():
    before = photo(RIDGE, 1)
    after = before.with_details(PhotoRecord("a.jpg"), with_thumbnail(1).thumbnail)
    assert (after.content, after.digest, after.record.name) == (before.content, before.digest, "a.jpg")
    assert (before.record, before.thumbnail) == (PhotoRecord(), None)
    assert after != before


def test_a_verdict_is_stored_without_a_change_of_the_generation():
    one = Gallery(RIDGE)
    one.add("a", [named(1, "a.jpg")])
    one.update(lambda state: annotate_photos(state, "a", {named(1, "").digest: "blurred", "0" * 64: "good"}))
    assert one.species["a"].photos[named(1, "").digest].record.verdict == "blurred"
    assert one.generation == 1
    before = one.state
    one.update(lambda state: annotate_photos(state, "a", {named(1, "").digest: "blurred"}))
    one.update(lambda state: annotate_photos(state, "gone", {named(1, "").digest: "good"}))
    assert one.state is before


# --- History, calibration, format -------------------------------------------------------------------------


def test_the_history_says_what_was_done_and_when(path):
    start = datetime.now(timezone.utc).replace(microsecond=0)
    one = gallery(moth=[1, 2])
    one.rename("moth", "hawk-moth")
    one.forget("hawk-moth", photo(RIDGE, 1).digest)
    one.merge(gallery(ant=[5]))
    one.forget("ant")
    save_gallery(one, path)
    found = load_gallery(path).history
    assert found == one.history
    assert [(c.generation, c.what, c.label) for c in found] == [
        (1, "added 2 photos", "moth"),
        (2, "renamed from 'moth'", "hawk-moth"),
        (3, f"forgot photo {photo(RIDGE, 1).digest[:12]}", "hawk-moth"),
        (4, "merged 1 species", None),
        (5, "forgot", "ant"),
    ]
    for change in found:
        assert (
            start <= datetime.fromisoformat(change.when.replace("Z", "+00:00")) <= datetime.now(timezone.utc)
        )


def test_the_history_is_bounded():
    one = Gallery(RIDGE)
    for i in range(MAX_CHANGES + 7):
        one.add(f"species {i % 2}", [photo(RIDGE, i % 256)])
    assert len(one.history) == MAX_CHANGES
    assert one.history[-1].generation == one.generation == MAX_CHANGES + 7


def test_a_calibration_is_stored_and_dropped_by_a_merge_that_changes_it(path):
    one = gallery(moth=[1])
    species = one.species
    one.calibrate({"threshold": 0.25, "of": ["moth"]})
    assert one.species is species
    save_gallery(one, path)
    found = load_gallery(path)
    assert found.calibration == {"threshold": 0.25, "of": ["moth"]}
    found.merge(gallery(moth=[1]))
    assert found.calibration == one.calibration
    found.add("bee", [photo(RIDGE, 4)])
    assert found.calibration == one.calibration
    found.merge(gallery(ant=[2]))
    assert found.calibration is None
    with pytest.raises(GalleryError, match="the calibration is not a JSON object"):
        one.calibrate({"threshold": np.float32(1)})
    one.calibrate(None)
    assert one.calibration is None


def test_too_many_photos_for_a_file_are_refused_before_writing(path, monkeypatch):
    from hmdrn_runtime.gallery import file_format as gallery_format

    monkeypatch.setattr(gallery_format, "_MAX_HEADER", 1000)
    with pytest.raises(GalleryError, match="a gallery of 5 photos is more than a file can hold: compact it"):
        save_gallery(sample(), path)
    assert not path.exists()


def test_every_photo_of_a_wide_network_keeps_its_place_in_the_file(path):
    for network in NETWORKS.values():
        one = sample(network)
        save_gallery(one, path)
        for label, species in load_gallery(path).species.items():
            for digest, found in species.photos.items():
                for name in array_shapes(network):
                    assert np.array_equal(found.arrays[name], one.species[label].photos[digest].arrays[name])
