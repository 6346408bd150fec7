"""The register answers as a pass over all species does, whatever came in, in whatever order."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hmdrn_runtime.gallery.photo_statistics import ClassSum, PhotoStatistics
from hmdrn_runtime.gallery.reverse_index import Register
from hmdrn_runtime.gallery.species import Species

LABELS = ("Kea", "kea", "KEA ", "Kaka", "ka ka", "Tui")
PHOTOS = "abcdef"


def species(label: str, photos: str, summed: str = "") -> Species:
    ones = np.ones(3, np.float32)
    kept = {digest: PhotoStatistics(digest, "fp32", {"support": ones}) for digest in photos}
    sums = (ClassSum(tuple(sorted(summed)), "fp32", ones),) if summed else ()
    return Species(label, MappingProxyType(kept), sums)


digests = st.text(PHOTOS, max_size=4)
galleries = st.dictionaries(st.sampled_from(LABELS), st.tuples(digests, digests))


def asked(register: Register, gallery: dict[str, Species], label: str, photos: str) -> None:
    """The register's answers are those of a pass over all species."""
    holders = sorted(n for n, s in gallery.items() if n != label and s.digests & set(photos))
    assert register.holders(label, photos) == tuple(holders)
    plain = "".join(label.split()).casefold()
    alike = sorted(n for n in gallery if n != label and "".join(n.split()).casefold() == plain)
    assert register.lookalikes(label) == tuple(alike)


@given(st.lists(galleries), st.sampled_from(LABELS), digests)
def test_it_follows_a_gallery_through_any_changes(states, label, photos):
    register = Register()
    before: dict[str, Species] = {}
    for state in states:
        # What is not changed stays the same object, as in a gallery.
        gallery = {name: species(name, *parts) for name, parts in state.items()}
        gallery = {n: before[n] if n in before and before[n] == s else s for n, s in gallery.items()}
        register.follow(gallery)
        asked(register, gallery, label, photos)
        before = gallery


@given(galleries, st.lists(st.tuples(st.sampled_from(LABELS), digests)), st.sampled_from(LABELS), digests)
def test_one_species_after_another_is_as_all_at_once(kept, changes, label, photos):
    gallery = {name: species(name, *parts) for name, parts in kept.items()}
    register = Register()
    register.follow(gallery)
    for name, further in changes:
        before, summed = kept.get(name, ("", ""))
        kept[name] = before + further, summed
        gallery = {**gallery, name: species(name, *kept[name])}
        register.follow_one(gallery, name)
    asked(register, gallery, label, photos)
