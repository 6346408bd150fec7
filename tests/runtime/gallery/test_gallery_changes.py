"""Renaming, compacting, thumbnails, history and calibration: in memory and through a file."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import replace
from datetime import datetime, timezone

import numpy as np
import pytest
from gallery_files import NETWORKS, RIDGE, contents, header, photo, refused, rewritten, sample
from safetensors.numpy import load_file

from hmdrn_runtime.errors import EnrollmentError, GalleryError
from hmdrn_runtime.gallery.diff import difference
from hmdrn_runtime.gallery.file import load_gallery, save_gallery
from hmdrn_runtime.gallery.gallery import Gallery, MergeReport
from hmdrn_runtime.gallery.history import KEPT
from hmdrn_runtime.gallery.photo_statistics import PhotoStatistics, array_shapes, gram_sum


@pytest.fixture
def path(tmp_path):
    return tmp_path / "site.gallery"


def with_thumbnail(seed: int) -> PhotoStatistics:
    pixels = np.random.default_rng(seed).integers(0, 256, (84, 84, 3), dtype=np.uint8).tobytes()
    return replace(photo(RIDGE, seed), digest=hashlib.sha256(pixels).hexdigest(), thumbnail=pixels)


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
    before = one.snapshot()
    one.rename("ant", "ant")
    assert one.snapshot() is before


def test_a_taken_name_is_refused_unless_the_two_are_to_be_one():
    one = gallery(moth=[1, 2], ant=[2, 3])
    with pytest.raises(GalleryError, match="there is a species 'ant' already: choose another label, or join"):
        one.rename("moth", "ant")
    one.rename("moth", "ant", join=True)
    assert contents(one)["species"] == contents(gallery(ant=[1, 2, 3]))["species"]


def test_what_is_not_there_or_no_label_cannot_be_renamed_or_made_the_new_name():
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
    found = difference(
        gallery(a=[1, 2], b=[3], old=[5], same=[7]), gallery(a=[2, 4], c=[6], new=[5], same=[7])
    )
    digest = {seed: photo(RIDGE, seed).digest for seed in (1, 4)}
    assert (found.only_first, found.only_second) == (("b", "old"), ("c", "new"))
    assert dict(found.differing) == {"a": ((digest[1],), (digest[4],))}
    assert dict(found.renamed) == {"old": "new"}
    assert found
    assert not difference(gallery(a=[1]), gallery(a=[1]))


# --- Compacting -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ridge", "ridge of tokens"])
def test_a_compacted_gallery_gives_the_same_sums_to_the_last_bit_and_lives_in_a_file(path, name):
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
    assert load_gallery(path).snapshot() == one.snapshot()
    assert load_file(path)["support"].shape[0] == 0


def test_compacting_what_is_compact_changes_nothing():
    one = gallery(a=[1, 2])
    one.compact()
    before = one.snapshot()
    assert one.compact() == 0
    assert one.snapshot() is before


def test_a_compacted_photo_counts_once_and_cannot_be_taken_out():
    one = gallery(a=[1, 2], b=[5])
    one.compact(["a"])
    assert one.add("a", [photo(RIDGE, 2)]) == 0
    assert one.add("a", [photo(RIDGE, 3)]) == 1
    with pytest.raises(
        GalleryError, match="is part of a sum since it was compacted, and cannot be taken out"
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


def test_sums_that_share_some_photos_are_refused_and_those_within_another_count_once():
    one, other, larger = gallery(a=[1, 2]), gallery(a=[2, 3]), gallery(a=[1, 2, 3])
    for each in (one, other, larger):
        each.compact()
    before = one.snapshot()
    with pytest.raises(GalleryError, match="'a' was compacted on both sides with some of the same photos"):
        one.merge(other)
    assert one.snapshot() is before
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
    assert found.snapshot() == one.snapshot()
    assert load_file(path)["thumbnails"].shape == (3, 84, 84, 3)
    assert found.species["b"].photos[with_thumbnail(4).digest].thumbnail == with_thumbnail(4).thumbnail
    found.forget("a", with_thumbnail(1).digest)
    save_gallery(found, path)
    assert load_file(path)["thumbnails"].shape == (2, 84, 84, 3)


def test_a_thumbnail_comes_in_with_a_merge_whichever_side_has_it():
    bare = replace(with_thumbnail(1), thumbnail=None)
    for first, second in itertools.permutations((bare, with_thumbnail(1))):
        one, other = Gallery(RIDGE), Gallery(RIDGE)
        one.add("a", [first])
        other.add("a", [second])
        one.merge(other)
        assert one.species["a"].photos[bare.digest].thumbnail == with_thumbnail(1).thumbnail


def test_a_thumbnail_of_another_photo_is_refused(path):
    one = Gallery(RIDGE)
    one.add("a", [with_thumbnail(1)])
    save_gallery(one, path)
    rewritten(path, lambda metadata: None, thumbnails=np.zeros((1, 84, 84, 3), np.uint8))
    refused(path, "is damaged: its thumbnail is of another photo")
    rewritten(path, lambda metadata: None, thumbnails=np.zeros((2, 84, 84, 3), np.uint8))
    refused(path, r"no uint8 array 'thumbnails' of shape \(1, 84, 84, 3\)")


# --- History, calibration, format -------------------------------------------------------------------------


def test_the_history_tells_what_was_done_and_when(path):
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
    for i in range(KEPT + 7):
        one.add(f"species {i % 2}", [photo(RIDGE, i % 256)])
    assert len(one.history) == KEPT
    assert one.history[-1].generation == one.generation == KEPT + 7


def test_a_calibration_is_kept_with_the_gallery_and_dropped_by_a_merge_that_changes_it(path):
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
    with pytest.raises(GalleryError, match="the calibration is no JSON object"):
        one.calibrate({"threshold": np.float32(1)})
    one.calibrate(None)
    assert one.calibration is None


def test_a_gallery_of_the_first_format_is_read_and_written_as_the_present_one(path):
    save_gallery(sample(), path)

    def first_format(metadata: dict) -> None:
        metadata["format_version"] = 1
        del metadata["history"], metadata["calibration"]

    rewritten(path, first_format)
    assert "history" not in header(path)
    found = load_gallery(path)
    assert contents(found) == contents(sample())
    assert (found.history, found.calibration) == ((), None)
    save_gallery(found, path)
    assert header(path)["format_version"] == 2
    assert contents(load_gallery(path)) == contents(sample())


def test_more_photos_than_a_file_can_hold_are_refused_before_anything_is_written(path, monkeypatch):
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
