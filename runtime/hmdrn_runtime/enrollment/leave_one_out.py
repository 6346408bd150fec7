"""Leave-one-out logits: each photo of a species against the species without it.

A photo is compared as a query (the masked branch) with the operator of the species' other photos, exactly as
the device would classify it had it not been enrolled. Copies of it, and neighboring frames, are left out with
it: they would vouch for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.enrollment.photo_groups import group_photos
from hmdrn_runtime.gallery.species import Species
from hmdrn_runtime.matching.base import Matcher


def leave_one_out(
    matcher: Matcher, species: Species, pixels: Mapping[str, npt.NDArray[np.uint8]]
) -> dict[str, float]:
    """Return the logit of every photo of a species for the species without the photo's group, by digest.

    One solve call serves all groups. Empty if all photos are of one group; photos that cannot be compared are
    omitted. See `Matcher.compare` for `pixels`.
    """
    photos = list(species.photos.values())
    groups = group_photos(matcher.network, photos)
    members = sorted(set(groups))
    rest = [leave_out_group(species, groups, group) for group in members]
    if any(part.shots == 0 for part in rest):
        return {}
    table = matcher.compare(photos, pixels, rest)
    logits = table[np.arange(len(photos)), np.searchsorted(members, groups)]
    return {p.digest: float(v) for p, v in zip(photos, logits, strict=True) if np.isfinite(v)}


def leave_out_group(species: Species, groups: list[int], group: int) -> Species:
    """Return a species without the photos of one group; `groups` has the group of each of its photos."""
    photos = {
        digest: photo
        for (digest, photo), other in zip(species.photos.items(), groups, strict=True)
        if other != group
    }
    return Species(species.label, MappingProxyType(photos), species.sums)
