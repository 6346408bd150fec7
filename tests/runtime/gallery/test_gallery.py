from __future__ import annotations

import itertools
import threading
import unicodedata
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmdrn_runtime.bundle.manifest import Fusion, Level, Network
from hmdrn_runtime.errors import EnrollmentError, GalleryError
from hmdrn_runtime.gallery.gallery import Gallery
from hmdrn_runtime.gallery.labels import MAX_LABEL, clean_label
from hmdrn_runtime.gallery.photo_statistics import PhotoStatistics, array_shapes, check_network, gram_sum
from hmdrn_runtime.gallery.species import Species, extend_species
from hmdrn_runtime.gallery.state import MergeReport

LEVELS = (Level("high", 3, 2), Level("mid", 2, 4))
NETWORK = Network("ab" * 32, "conv4", "ridge", LEVELS, Fusion({"high": 1.0, "mid": 0.25}, 10.0, 6.0), "gram")
OTHER = replace(NETWORK, fingerprint="cd" * 32, backbone="resnet12")


def photo(seed: int, variant: str = "fp32", device: int = 0) -> PhotoStatistics:
    """A photo; `device` makes its statistics those of a machine that rounds otherwise."""
    # Digests in another order than the seeds.
    digest = f"{(seed * 2654435761) % 2**32:08x}" * 8
    rng = np.random.default_rng(seed)
    arrays = {
        name: (rng.standard_normal(shape) * 10.0 ** rng.integers(-6, 7, shape)).astype(np.float32)
        for name, shape in array_shapes(NETWORK).items()
    }
    for _ in range(device):
        arrays = {name: np.nextafter(a, np.float32(np.inf)) for name, a in arrays.items()}
    return PhotoStatistics(digest, variant, arrays)


def gallery(**species: Iterable[PhotoStatistics]) -> Gallery:
    made = Gallery(NETWORK)
    for label, photos in species.items():
        made.add(label, photos)
    return made


def contents(one: Gallery) -> dict[str, dict[str, tuple[str, dict[str, bytes]]]]:
    """All that a gallery knows, to the last bit."""
    return {
        label: {
            digest: (p.variant, {name: a.tobytes() for name, a in p.arrays.items()})
            for digest, p in sorted(species.photos.items())
        }
        for label, species in one.species.items()
    }


def sums(one: Gallery) -> dict[str, bytes]:
    return {label: gram_sum(one.network, s.photos.values()).tobytes() for label, s in one.species.items()}


# Seeds of photos by label, in the order of their enrollment; some photos twice, some of two species.
PLANS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 7)), max_size=16)


def test_a_new_gallery_is_empty():
    fresh = Gallery(NETWORK)
    assert (len(fresh), list(fresh), fresh.generation, dict(fresh.species)) == (0, [], 0, {})
    assert "a" not in fresh


def test_added_photos_are_kept_under_their_species():
    one = gallery(moth=[photo(1), photo(2)], ant=[photo(3)])
    assert list(one) == ["ant", "moth"]
    assert "moth" in one
    assert one.species["moth"].shots == 2
    assert set(one.species["moth"].photos) == {photo(1).digest, photo(2).digest}
    assert one.species["moth"].photos[photo(1).digest] is not None


def test_adding_returns_the_number_of_new_photos():
    one = Gallery(NETWORK)
    assert one.add("a", [photo(1), photo(2)]) == 2
    assert one.add("a", [photo(2), photo(3), photo(3)]) == 1
    assert one.add("a", [photo(1)]) == 0
    assert one.add("b", [photo(1)]) == 1
    assert {label: s.shots for label, s in one.species.items()} == {"a": 3, "b": 1}


def test_more_photos_under_a_known_label_add_to_it():
    one = gallery(a=[photo(1)])
    one.add("a", [photo(2), photo(3)])
    assert sums(one) == sums(gallery(a=[photo(1), photo(2), photo(3)]))


@settings(deadline=None)
@given(PLANS, st.randoms(use_true_random=False))
def test_photos_added_in_any_order_give_the_same_gallery_to_the_last_bit(plan, random):
    shuffled = random.sample(plan, len(plan))
    one, other = Gallery(NETWORK), Gallery(NETWORK)
    for (label, seed), (other_label, other_seed) in zip(plan, shuffled, strict=True):
        one.add(label, [photo(seed)])
        other.add(other_label, [photo(other_seed)])
    assert contents(one) == contents(other)
    assert sums(one) == sums(other)
    assert list(one.species) == list(other.species) == sorted({label for label, _ in plan})


@settings(deadline=None)
@given(st.lists(PLANS, min_size=2, max_size=4), st.permutations(range(4)))
def test_galleries_merged_in_any_order_equal_one_gallery_of_all_photos(plans, order):
    together, parts = Gallery(NETWORK), []
    for plan in plans:
        part = Gallery(NETWORK)
        for label, seed in plan:
            part.add(label, [photo(seed)])
            together.add(label, [photo(seed)])
        parts.append(part)
    first, *rest = [parts[i] for i in order if i < len(parts)]
    for part in rest:
        first.merge(part)
    assert contents(first) == contents(together)
    assert sums(first) == sums(together)


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 7), min_size=1, max_size=8, unique=True), st.lists(st.integers(0, 7), max_size=8)
)
def test_forgetting_photos_gives_exactly_what_never_adding_them_gives(seeds, forgotten):
    one, never = Gallery(NETWORK), Gallery(NETWORK)
    one.add("kept", [photo(99)])
    one.add("a", [photo(seed) for seed in seeds])
    for seed in seeds:
        if seed in forgotten:
            one.forget("a", photo(seed).digest)
    never.add("kept", [photo(99)])
    if set(seeds) - set(forgotten):
        never.add("a", [photo(seed) for seed in seeds if seed not in forgotten])
    assert contents(one) == contents(never)
    assert sums(one) == sums(never)


def test_forgetting_the_last_photo_removes_the_species():
    one = gallery(a=[photo(1), photo(2)], b=[photo(3)])
    one.forget("a", photo(1).digest)
    assert list(one) == ["a", "b"]
    one.forget("a", photo(2).digest)
    assert list(one) == ["b"]


def test_forgetting_a_species_removes_all_its_photos():
    one = gallery(a=[photo(1), photo(2)], b=[photo(1)])
    one.forget("a")
    assert contents(one) == contents(gallery(b=[photo(1)]))


def test_a_photo_may_be_named_by_the_beginning_of_its_digest():
    one = gallery(a=[photo(1), photo(2)])
    one.forget("a", photo(1).digest[:6])
    assert set(one.species["a"].photos) == {photo(2).digest}


def with_digests(*digests: str) -> Gallery:
    return gallery(a=[replace(photo(i), digest=digest) for i, digest in enumerate(digests)])


def test_a_beginning_that_two_photos_share_is_refused_with_their_digests():
    one = with_digests("aa" + "0" * 62, "ab" + "0" * 62)
    with pytest.raises(
        GalleryError, match=r"2 photos of 'a' have the name 'a', or a digest .* it: .* one of aa0*, ab0*$"
    ):
        one.forget("a", "a")
    assert one.species["a"].shots == 2
    one.forget("a", "ab")
    assert list(one.species["a"].photos) == ["aa" + "0" * 62]


@pytest.mark.parametrize("beginning", ["", "f", "0" * 65, "AA", "00", "a0"])
def test_a_beginning_that_no_photo_has_is_refused(beginning):
    one = with_digests("aa" + "0" * 62)
    with pytest.raises(GalleryError, match=f"0 photos of 'a' have the name '{beginning}', or a digest "):
        one.forget("a", beginning)
    assert one.species["a"].shots == 1


def test_forgetting_an_unknown_species_names_those_there_are():
    with pytest.raises(GalleryError, match=r"no species 'c' in the gallery: it has a, b$"):
        gallery(a=[photo(1)], b=[photo(2)]).forget("c")
    with pytest.raises(GalleryError, match=r"no species 'c' in the gallery: it is empty$"):
        Gallery(NETWORK).forget("c")
    many = gallery(**{f"s{i:02}": [photo(i)] for i in range(11)})
    with pytest.raises(GalleryError, match=r"it has s00, .*, s07 and 3 more$"):
        many.forget("c")


def test_a_merge_says_what_was_new_and_what_grew():
    one = gallery(a=[photo(1)], b=[photo(2)])
    report = one.merge(gallery(a=[photo(1), photo(3), photo(4)], b=[photo(2)], c=[photo(5)]))
    assert report == MergeReport(("c",), {"a": 2})
    assert {label: s.shots for label, s in one.species.items()} == {"a": 3, "b": 1, "c": 1}


def test_a_photo_known_to_both_galleries_counts_once():
    one, other = gallery(a=[photo(1), photo(2)]), gallery(a=[photo(2), photo(3)])
    one.merge(other)
    assert sums(one) == sums(gallery(a=[photo(1), photo(2), photo(3)]))


def test_merging_what_is_known_changes_nothing():
    one = gallery(a=[photo(1), photo(2)])
    before = one.state
    for other in (gallery(a=[photo(2)]), Gallery(NETWORK), one):
        assert one.merge(other) == MergeReport((), {})
    assert one.state == before


def test_merging_leaves_the_other_gallery_as_it_was():
    one, other = gallery(a=[photo(1)]), gallery(a=[photo(2)], b=[photo(3)])
    before = contents(other)
    one.merge(other)
    one.forget("b")
    assert contents(other) == before
    assert other.generation == 2


def test_galleries_of_other_networks_are_refused_and_nothing_changes():
    one, other = gallery(a=[photo(1)]), Gallery(OTHER)
    other.add("b", [photo(2)])
    before = one.state
    with pytest.raises(
        GalleryError,
        match=r"the other gallery was enrolled with other weights .*resnet12 ridge, "
        r"fingerprint cdcdcdcdcdcd\).*conv4 ridge, abababababab\).*enroll the photos again",
    ):
        one.merge(other)
    assert one.state == before


def test_networks_of_equal_weights_that_keep_other_statistics_are_refused():
    tokens = replace(NETWORK, statistics="tokens")
    with pytest.raises(GalleryError, match="the gallery has other statistics than this bundle's"):
        check_network(NETWORK, tokens, "the gallery")
    check_network(
        NETWORK, replace(NETWORK, fusion=Fusion({"high": 2.0, "mid": 1.0}, 1.0, 6.0)), "the gallery"
    )


@pytest.mark.parametrize(("variants", "kept"), [(("fp32", "fp16"), "fp32"), (("int8-ort", "fp16"), "fp16")])
def test_of_one_photo_in_two_variants_the_same_is_kept_whatever_the_order(variants, kept):
    for first, second in itertools.permutations(variants):
        one, other = gallery(a=[photo(1, first)]), gallery(a=[photo(1, second)])
        one.merge(other)
        assert contents(one) == contents(gallery(a=[photo(1, kept)]))


def test_a_growing_class_keeps_the_same_rounding_in_any_order():
    found = []
    for first, second in itertools.permutations(range(2)):
        one = gallery(a=[photo(1, device=first)])
        # A photo that is new makes the merge a change.
        one.merge(gallery(a=[photo(1, device=second), photo(2)]))
        found.append(contents(one))
    assert found[0] == found[1]


def test_the_same_rounding_of_a_photo_is_kept_in_any_order():
    found = []
    for first, second in itertools.permutations(range(2)):
        one = gallery(a=[photo(1, device=first)])
        one.merge(gallery(a=[photo(1, device=second)]))
        found.append(contents(one))
    assert found[0] == found[1]


def test_of_two_variants_of_a_photo_the_fp32_one_is_kept():
    known = photo(1, "fp16")
    alone, beside = gallery(a=[known]), gallery(a=[known])
    assert alone.add("a", [photo(1)]) == 0
    assert beside.add("a", [photo(1), photo(2)]) == 1
    for one in (alone, beside):
        assert one.species["a"].photos[known.digest].variant == "fp32"
        one.add("a", [known])
        assert one.species["a"].photos[known.digest].variant == "fp32"


def test_species_of_other_statistics_have_other_keys():
    # Where the key is the same, a matcher takes the operator that it made before.
    keys = [gallery(a=[photo(1, device=device)]).species["a"].key for device in range(2)]
    assert keys[0] != keys[1]


def test_a_key_is_that_of_the_photos_whatever_their_order():
    def key(*photos: PhotoStatistics) -> bytes:
        return extend_species(None, "a", photos).key

    assert key(photo(1), photo(2)) == key(photo(2), photo(1))
    assert len({key(photo(1)), key(photo(2)), key(photo(1), photo(2))}) == 3


def test_a_snapshot_is_not_touched_by_later_changes():
    one = gallery(a=[photo(1)], b=[photo(2)])
    taken = one.state
    generation, species = taken.generation, taken.species
    before, a = dict(species), species["a"]
    one.add("a", [photo(3)])
    one.add("c", [photo(4)])
    one.forget("b")
    one.merge(gallery(d=[photo(5)]))
    assert (generation, dict(species), a.shots) == (2, before, 1)
    assert list(one.species) == ["a", "c", "d"]


def test_nobody_can_change_a_snapshot():
    one = gallery(a=[photo(1)])
    with pytest.raises(TypeError):
        one.species["b"] = one.species["a"]  # type: ignore[index]
    with pytest.raises(TypeError):
        del one.species["a"].photos[photo(1).digest]  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        one.species["a"].label = "b"  # type: ignore[misc]


def test_what_a_caller_passed_is_not_kept():
    photos = {photo(1).digest: photo(1)}
    initial = {"a": Species("a", photos)}
    one = Gallery(NETWORK, initial)
    initial["b"] = initial["a"]
    assert list(one) == ["a"]


def test_the_generation_counts_the_changes_and_nothing_else():
    one = Gallery(NETWORK)
    seen = [one.generation]
    one.add("a", [photo(1)])
    seen.append(one.generation)
    one.add("a", [photo(1)])
    one.merge(gallery(a=[photo(1)]))
    with pytest.raises(GalleryError):
        one.forget("b")
    with pytest.raises(EnrollmentError):
        one.add("", [photo(2)])
    seen.append(one.generation)
    one.merge(gallery(a=[photo(2)]))
    one.forget("a", photo(2).digest)
    seen.append(one.generation)
    assert seen == [0, 1, 1, 3]


def test_species_are_sorted_from_the_start():
    species = {label: extend_species(None, label, [photo(1)]) for label in "ba"}
    assert list(Gallery(NETWORK, species).species) == ["a", "b"]


def test_threads_that_change_a_gallery_at_once_lose_nothing():
    one = Gallery(NETWORK)
    photos = [photo(seed) for seed in range(40)]

    def work(turn: int) -> None:
        for i in range(turn, 40, 4):
            one.add(f"species {i % 3}", [photos[i]])
            one.add(f"passing {i}", [photos[i]])
            one.merge(gallery(merged=[photos[i]]))
            one.forget(f"passing {i}")

    threads = [threading.Thread(target=work, args=(turn,)) for turn in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {label: s.shots for label, s in one.species.items()} == {
        "merged": 40,
        "species 0": 14,
        "species 1": 13,
        "species 2": 13,
    }
    assert one.generation == 160


@pytest.mark.parametrize("photos", [[], iter(())])
def test_a_species_without_a_photo_is_refused(photos):
    with pytest.raises(EnrollmentError, match="no photo for 'moth': give at least one"):
        Gallery(NETWORK).add("moth", photos)


@pytest.mark.parametrize("label", ["", " ", "\t\n ", "\u3000"])
def test_a_label_of_blanks_is_refused(label):
    with pytest.raises(EnrollmentError, match="is empty: give the species a name"):
        Gallery(NETWORK).add(label, [photo(1)])


@pytest.mark.parametrize("label", [None, 7, b"moth", ["moth"], 1.5])
def test_a_label_that_is_no_string_is_refused(label):
    with pytest.raises(EnrollmentError, match=f"a label must be a string, not {type(label).__name__}"):
        clean_label(label)


@pytest.mark.parametrize("character", ["\0", "\n", "\t", "\x1b", "\x7f", "\x85"])
def test_a_label_with_control_characters_is_refused(character):
    with pytest.raises(EnrollmentError, match="has control characters: use plain text"):
        clean_label(f"a{character}b")


def test_a_label_may_have_120_characters_and_no_more():
    assert MAX_LABEL == 120
    assert clean_label("x" * 120) == "x" * 120
    assert clean_label("  " + "x" * 120 + "  ") == "x" * 120
    # 120 characters once they are composed.
    assert clean_label("u\u0308" * 120) == "ü" * 120
    with pytest.raises(EnrollmentError, match=r"'x{40}'... has 121 characters: use at most 120"):
        clean_label("x" * 121)


def test_labels_keep_their_case_their_blanks_within_and_their_alphabet():
    for label in ("Sooty Albatross", "sooty albatross", "草蜢", "Ödland-Schrecke (♀)", "a  b", "🦋"):
        assert clean_label(label) == label


def test_who_adds_what_another_thread_has_just_added_sees_it_as_well():
    one = gallery(kaka=[photo(1)])
    other = threading.Thread(target=one.add, args=("kea", [photo(2)]))
    other.start()
    other.join()
    assert one.thread_generation < one.generation
    assert one.add("kea", [photo(2)]) == 0
    assert one.thread_generation == one.generation


def test_labels_that_look_the_same_are_the_same():
    composed, decomposed = "K\u00e4fer", "Ka\u0308fer"
    assert composed != decomposed
    one = gallery(**{composed: [photo(1)]})
    assert one.add(f"  {decomposed} ", [photo(2)]) == 1
    assert list(one) == [composed]
    assert decomposed in one
    one.forget(decomposed)
    assert len(one) == 0


@given(st.text())
def test_a_label_is_cleaned_once_and_for_all_or_refused(label):
    try:
        cleaned = clean_label(label)
    except EnrollmentError:
        return
    assert clean_label(cleaned) == cleaned
    assert unicodedata.normalize("NFC", cleaned) == cleaned == cleaned.strip()
    assert 0 < len(cleaned) <= MAX_LABEL
    assert not any(unicodedata.category(c) in ("Cc", "Cs") for c in cleaned)
