"""Two writers of one file, and what becomes of what each has done."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmdrn_runtime.bundle.manifest import Fusion, Level, Network
from hmdrn_runtime.errors import GalleryError
from hmdrn_runtime.gallery.file import load_gallery, previous_path, save_gallery, sync_gallery
from hmdrn_runtime.gallery.gallery import Gallery
from hmdrn_runtime.gallery.history import MERGED_FILE, Change, merge_histories
from hmdrn_runtime.gallery.photo_statistics import PhotoStatistics
from hmdrn_runtime.gallery.three_way_merge import merge_states
from hmdrn_runtime.io.locking import lock_path

NETWORK = Network(
    "ab" * 32, "conv4", "ridge", (Level("high", 3, 2),), Fusion({"high": 1.0}, 1.0, 6.0), "gram"
)
OTHER = Network("cd" * 32, "conv4", "ridge", NETWORK.levels, NETWORK.fusion, "gram")


def photo(seed: int) -> PhotoStatistics:
    array = np.random.default_rng(seed).standard_normal(6).astype(np.float32)
    return PhotoStatistics(f"{seed:08x}" * 8, "fp32", {"support": array, "query": array})


def photos(gallery: Gallery) -> dict[str, set[str]]:
    return {label: set(s.digests) for label, s in gallery.species.items()}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "site.gallery"


@pytest.fixture
def two(path):
    """Two devices' galleries of one file, which has a moth of two photos and an ant of one."""
    first = Gallery(NETWORK)
    first.add("moth", [photo(1), photo(2)])
    first.add("ant", [photo(3)])
    sync_gallery(first, path)
    return first, load_gallery(path)


def test_what_both_have_added_is_there_in_the_file_and_in_memory(two, path):
    first, second = two
    first.add("bee", [photo(4)])
    second.add("wasp", [photo(5)])
    second.add("moth", [photo(6)])
    sync_gallery(first, path)
    sync_gallery(second, path)
    assert set(load_gallery(path)) == {"ant", "bee", "moth", "wasp"} == set(second)
    assert load_gallery(path).generation == second.generation > max(first.generation, 4)
    sync_gallery(first, path)
    assert photos(first) == photos(second) == photos(load_gallery(path))
    assert first.state == second.state


def test_what_one_has_forgotten_does_not_come_back_with_the_other(two, path):
    first, second = two
    first.forget("ant")
    first.forget("moth", photo(1).digest)
    sync_gallery(first, path)
    second.add("bee", [photo(4)])
    sync_gallery(second, path)
    assert photos(load_gallery(path)) == {"bee": {photo(4).digest}, "moth": {photo(2).digest}}


def test_a_species_forgotten_here_and_extended_there_keeps_the_new_photo(two, path):
    first, second = two
    first.forget("ant")
    second.add("ant", [photo(7)])
    sync_gallery(first, path)
    sync_gallery(second, path)
    assert photos(load_gallery(path))["ant"] == {photo(7).digest}


def test_a_rename_and_an_addition_elsewhere_go_together(two, path):
    first, second = two
    first.rename("ant", "wood ant")
    second.add("bee", [photo(4)])
    sync_gallery(first, path)
    sync_gallery(second, path)
    assert set(load_gallery(path)) == {"bee", "moth", "wood ant"}


def test_a_gallery_that_never_met_a_file_takes_all_of_it_in(two, path):
    fresh = Gallery(NETWORK)
    fresh.add("bee", [photo(4)])
    sync_gallery(fresh, path)
    assert set(load_gallery(path)) == {"ant", "bee", "moth"} == set(fresh)


def test_a_file_of_another_network_is_refused_and_stays(two, path):
    before = path.read_bytes()
    other = Gallery(OTHER)
    other.add("bee", [photo(4)])
    with pytest.raises(GalleryError, match=r"site\.gallery, which is there already, was enrolled with other"):
        sync_gallery(other, path)
    assert path.read_bytes() == before


def test_a_damaged_file_is_set_aside_and_what_is_known_is_written(two, path):
    first, _ = two
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    first.add("bee", [photo(4)])
    sync_gallery(first, path)
    assert set(load_gallery(path)) == {"ant", "bee", "moth"}
    assert path.with_name("site.gallery.damaged").read_bytes() == data


def test_a_restored_old_file_counts_as_a_change(two, path):
    first, _ = two
    first.add("bee", [photo(4)])
    sync_gallery(first, path)
    path.write_bytes(previous_path(path).read_bytes())  # what "bee" undoes
    sync_gallery(first, path)
    assert set(load_gallery(path)) == {"ant", "moth"} == set(first)


def test_saving_what_nobody_changed_writes_nothing(two, path):
    first, second = two
    before = path.stat()
    sync_gallery(first, path)
    sync_gallery(second, path)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert not previous_path(path).exists()


def test_a_calibration_stays_with_the_one_who_made_it(two, path):
    first, second = two
    first.calibrate({"threshold": 0.5})
    sync_gallery(first, path)
    second.add("bee", [photo(4)])
    sync_gallery(second, path)
    assert load_gallery(path).calibration == {"threshold": 0.5} == second.calibration


def test_a_calibration_dropped_by_a_merge_does_not_come_back(two, path):
    first, second = two
    first.calibrate({"threshold": 0.5})
    sync_gallery(first, path)
    sync_gallery(second, path)
    more = Gallery(NETWORK)
    more.add("wasp", [photo(5)])
    first.merge(more)
    second.add("bee", [photo(4)])
    sync_gallery(second, path)
    sync_gallery(first, path)
    assert set(load_gallery(path)) == {"ant", "bee", "moth", "wasp"}
    assert load_gallery(path).calibration is None


def test_settle_sees_the_species_of_both_and_holds_the_lock(two, path):
    first, second = two
    first.add("bee", [photo(4)])
    sync_gallery(first, path)
    second.add("wasp", [photo(5)])
    seen: list[tuple[list[str], bool]] = []

    def settle() -> None:
        seen.append((list(second), lock_path(path).exists()))
        second.calibrate({"of": list(second)})

    sync_gallery(second, path, settle)
    assert seen == [(["ant", "bee", "moth", "wasp"], True)]
    assert load_gallery(path).calibration == {"of": ["ant", "bee", "moth", "wasp"]}


def test_where_settling_fails_the_file_stays(two, path):
    first, _ = two
    before = path.read_bytes()
    first.add("bee", [photo(4)])

    def settle() -> None:
        raise GalleryError("cannot be calibrated")

    with pytest.raises(GalleryError, match="cannot be calibrated"):
        sync_gallery(first, path, settle)
    assert path.read_bytes() == before
    sync_gallery(first, path)
    assert "bee" in load_gallery(path)


def test_merges_of_equal_states_appear_once_in_the_history(two, path):
    first, second = two
    for seed in (4, 5):
        for one in (first, second):
            one.add("bee", [photo(seed)])
        for one in (first, second, first):
            sync_gallery(one, path)
    assert [change.what for change in load_gallery(path).history] == [
        "added 2 photos",
        *["added 1 photo"] * 3,
    ]
    before = path.stat()
    for one in (first, second, load_gallery(path)):
        sync_gallery(one, path)
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    # The same photos once more by a process that never saw the file.
    again = Gallery(NETWORK)
    for label, species in first.species.items():
        again.add(label, species.photos.values())
    sync_gallery(again, path)
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert again.history == load_gallery(path).history


def test_several_takings_in_a_row_are_one_entry():
    def change(second: int, what: str) -> Change:
        return Change(second, what, None, f"2026-05-01T08:30:{second:02}Z")

    one = (change(0, "forgot"), change(1, MERGED_FILE))
    other = (change(2, MERGED_FILE), change(3, "forgot"))
    assert merge_histories(one, other) == (one[0], *other)


@settings(deadline=None)
@given(st.permutations(range(6)), st.integers(0, 6), st.booleans())
def test_histories_merge_by_generation_whatever_the_clocks_say(years, cut, swapped):
    """A device without a clock starts in 1970 after each power cut."""
    changes = [
        Change(g, f"change {g}", None, f"{1970 + year}-01-01T00:00:00Z") for g, year in enumerate(years)
    ]
    sides = (tuple(changes[:cut]), tuple(changes[cut:]))
    assert merge_histories(*(sides[::-1] if swapped else sides)) == tuple(changes)


def test_changes_of_one_generation_are_ordered_alike_on_both_sides():
    late, early, twin = (
        Change(3, what, "moth", f"{y}-01-01T00:00:00Z") for what, y in (("a", 2026), ("z", 1970), ("b", 2026))
    )
    assert (
        merge_histories((late,), (early, twin))
        == merge_histories((twin, early), (late,))
        == (early, late, twin)
    )


def test_a_newer_format_in_the_file_is_neither_read_nor_overwritten(two, path, tmp_path):
    data = path.read_bytes().replace(b'\\"format_version\\": 2', b'\\"format_version\\": 3')
    assert data != path.read_bytes()
    path.write_bytes(data)
    for write in (sync_gallery, save_gallery):
        with pytest.raises(GalleryError, match=r"a newer hmdrn has written it \(format version 3"):
            write(two[0], path)
    assert path.read_bytes() == data
    assert [p.name for p in tmp_path.iterdir()] == ["site.gallery"]


# Steps of two writers: (who, what, label, photo).
STEPS = st.lists(
    st.tuples(st.booleans(), st.sampled_from(["add", "forget"]), st.sampled_from("ab"), st.integers(0, 5)),
    max_size=12,
)


def apply(gallery: Gallery, what: str, label: str, seed: int) -> None:
    if what == "add":
        gallery.add(label, [photo(seed)])
    elif label in gallery and photo(seed).digest in gallery.species[label].photos:
        gallery.forget(label, photo(seed).digest)


@settings(deadline=None)
@given(STEPS, STEPS)
def test_for_every_photo_the_side_that_changed_it_wins(before, steps):
    start = Gallery(NETWORK)
    for _, what, label, seed in before:
        apply(start, what, label, seed)
    base = start.state
    ours, theirs = (Gallery(NETWORK, base.species, base.generation) for _ in range(2))
    for who, what, label, seed in steps:
        apply(ours if who else theirs, what, label, seed)
    had, one, two = (
        {(label, d) for label, s in g.species.items() for d in s.digests} for g in (start, ours, theirs)
    )
    expected = (one & two) | (one - had) | (two - had)
    for mine, other in ((ours, theirs), (theirs, ours)):
        found = merge_states(base, mine.state, other.state)
        assert {(label, d) for label, s in found.species.items() for d in s.digests} == expected
        assert all(s.shots for s in found.species.values())
        assert found.generation >= max(mine.generation, other.generation)
