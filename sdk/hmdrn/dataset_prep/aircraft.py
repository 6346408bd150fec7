"""FGVC-Aircraft (Maji et al., 2013): 10,000 photos of 100 variants, each with a copyright banner."""

from __future__ import annotations

from hmdrn.dataset_prep.crop import Crop
from hmdrn.dataset_prep.index import ArchiveIndex, ArchiveLayout, Catalog, Photo
from hmdrn.dataset_prep.splits import make_numbered_rule, make_seeded_rule, split_alternating
from hmdrn.dataset_prep.text_tables import parse_box, parse_rows, safe_label

BANNER = 20
"""Rows at the bottom of every photo that name its owner and site, as the data set's description says."""

_NAMES, _BOXES = "variants.txt", "images_box.txt"
_PARTS = ("images_variant_train.txt", "images_variant_val.txt", "images_variant_test.txt")


def read(index: ArchiveIndex, crop: bool) -> Catalog:
    """Make the catalog. The original split is of photos, not of classes, and is dropped."""
    names = [row[0] for row in parse_rows(index.read_list(_NAMES), 1, _NAMES)]
    labels = {name: safe_label(name, _NAMES) for name in names}
    boxes = {
        number: parse_box(box, _BOXES)
        for number, *box in (parse_rows(index.read_list(_BOXES), 5, _BOXES) if crop else ())
    }
    files = index.by_tail(2)
    photos, missing = [], []
    for part in _PARTS:
        for number, name in parse_rows(index.read_list(part), 2, part):
            label = index.require(labels.get(name), f"{name!r}, which {part} names, in {_NAMES}")
            box = None
            if crop:
                # Counted from 1; the last pixel is included.
                left, top, right, bottom = index.require(
                    boxes.get(number), f"box of photo {number!r} in {_BOXES}"
                )
                box = (left - 1, top - 1, right, bottom)
            if member := files.get(f"images/{number}.jpg"):
                photos.append(Photo(member, label, safe_label(number, part), Crop(box, BANNER)))
            else:
                missing.append(f"{number}.jpg")
    index.reject_missing(missing)
    return Catalog(dict(enumerate(labels.values(), 1)), photos)


LAYOUT = ArchiveLayout(
    title="FGVC-Aircraft",
    archives="fgvc-aircraft-2013b.tar.gz",
    count=100,
    crop=False,
    rules={
        "frn": make_numbered_rule(
            lambda n: split_alternating(n - 1), "by place in variants.txt, as FRN's code: 50/25/25"
        ),
        "seeded": make_seeded_rule(50, 25, 25),
    },
    is_metadata=lambda name: name.rpartition("/")[2] in (_NAMES, _BOXES, *_PARTS),
    read=read,
)
