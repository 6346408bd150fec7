"""FGVC-Aircraft (Maji et al., 2013): 10,000 photos of 100 variants, each with a banner of the copyright."""

from __future__ import annotations

from hmdrn.dataset_prep.crop import Cut
from hmdrn.dataset_prep.index import Catalogue, Contents, Original, Photo
from hmdrn.dataset_prep.naming import safe_label
from hmdrn.dataset_prep.splits import alternating, by_number, seeded
from hmdrn.dataset_prep.text_tables import edges, rows

BANNER = 20
"""Rows at the bottom of every photo that name its owner and site, as the data set's description says."""

_NAMES, _BOXES = "variants.txt", "images_box.txt"
_PARTS = ("images_variant_train.txt", "images_variant_val.txt", "images_variant_test.txt")


def read(contents: Contents, crop: bool) -> Catalogue:
    """The catalogue: its own split is of photos, not of classes, and is not kept.

    Raises:
        DatasetError: A list or a photo is missing, or a list is damaged.
    """
    names = [row[0] for row in rows(contents.note(_NAMES), 1, _NAMES)]
    labels = {name: safe_label(name, _NAMES) for name in names}
    boxes = {
        number: edges(box, _BOXES)
        for number, *box in (rows(contents.note(_BOXES), 5, _BOXES) if crop else ())
    }
    files = contents.by_tail(2)
    photos, missing = [], []
    for part in _PARTS:
        for number, name in rows(contents.note(part), 2, part):
            member = files.get(f"images/{number}.jpg")
            if name not in labels:
                raise contents.lacks(f"{name!r}, which {part} names, in {_NAMES}")
            if crop and number not in boxes:
                raise contents.lacks(f"box of photo {number!r} in {_BOXES}")
            if member is None:
                missing.append(f"{number}.jpg")
                continue
            cut = Cut(banner=BANNER)
            if crop:
                # Counted from 1, the last pixel being within.
                left, top, right, bottom = boxes[number]
                cut = Cut((left - 1, top - 1, right, bottom), BANNER)
            photos.append(Photo(member, labels[name], safe_label(number, part), cut))
    contents.refuse_missing(missing)
    return Catalogue(dict(enumerate(labels.values(), 1)), photos)


ORIGINAL = Original(
    title="FGVC-Aircraft",
    archives="fgvc-aircraft-2013b.tar.gz",
    count=100,
    crop=False,
    rules={
        "frn": by_number(lambda n: alternating(n - 1), "by place in variants.txt, as FRN's code: 50/25/25"),
        "seeded": seeded(50, 25, 25),
    },
    is_note=lambda name: name.rpartition("/")[2] in (_NAMES, _BOXES, *_PARTS),
    read=read,
)
