"""The register answers as a pass over all species does, whatever came in, in whatever order."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hmdrn_runtime.register import Register
from hmdrn_runtime.species import Species
from hmdrn_runtime.statistics import ClassSum, PhotoStatistics

LABELS = ("Kea", "kea", "KEA ", "Kaka", "ka ka", "Tui")
PHOTOS = "abcdef"


def species(label: str, photos: str, summed: str = "") -> Species:
    ones = np.ones(3, np.float32)
    kept = {digest: PhotoStatistics(digest, "fp32", {"support": ones}) for digest in photos}
    sums = (ClassSum(tuple(sorted(summed)), "fp32", ones),) if summed else ()
    return Species(label, MappingProxyType(kept), sums)


digests = st.text(PHOTOS, max_size=4)
galleries = st.dictionaries(st.sampled_from(LABELS), st.tuples(digests, digests))


@given(galleries, st.lists(st.tuples(st.sampled_from(LABELS), digests)), st.sampled_from(LABELS), digests)
def test_it_answers_as_a_pass_over_all_species_does(kept, changes, label, photos):
    gallery = {name: species(name, *parts) for name, parts in kept.items()}
    register = Register(gallery)
    for name, further in changes:
        before, summed = kept.get(name, ("", ""))
        kept[name] = before + further, summed
        gallery[name] = species(name, *kept[name])
        register.put(name, gallery[name])
    holders = sorted(n for n, s in gallery.items() if n != label and s.digests & set(photos))
    assert register.holders(label, photos) == tuple(holders)
    plain = "".join(label.split()).casefold()
    alike = sorted(n for n in gallery if n != label and "".join(n.split()).casefold() == plain)
    assert register.lookalikes(label) == tuple(alike)
