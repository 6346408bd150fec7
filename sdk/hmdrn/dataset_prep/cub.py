"""CUB-200-2011 (Wah et al., 2011): 11,788 photos of 200 birds, each with a box around the bird."""

from __future__ import annotations

from hmdrn.dataset_prep.crop import Crop
from hmdrn.dataset_prep.index import ArchiveIndex, ArchiveLayout, Catalog, Photo
from hmdrn.dataset_prep.splits import (
    make_numbered_rule,
    make_seeded_rule,
    split_alternating,
    split_hmdrn_paper,
)
from hmdrn.dataset_prep.text_tables import parse_box, parse_int, parse_rows, safe_label

_IMAGES, _LABELS, _BOXES, _NAMES = (
    "images.txt",
    "image_class_labels.txt",
    "bounding_boxes.txt",
    "classes.txt",
)


def read(index: ArchiveIndex, crop: bool) -> Catalog:
    """Make the catalog from `images.txt` and the lists beside it, which share the photos' numbers."""
    images = index.read_list(_IMAGES)
    class_numbers = dict(parse_rows(index.read_list(_LABELS), 2, _LABELS))
    boxes = {
        number: parse_box(box, _BOXES)
        for number, *box in (parse_rows(index.read_list(_BOXES), 5, _BOXES) if crop else ())
    }
    classes = {
        parse_int(number, _NAMES): safe_label(name, _NAMES)
        for number, name in parse_rows(index.read_list(_NAMES), 2, _NAMES)
    }
    files = index.by_tail(3)
    photos, missing = [], []
    for number, path in parse_rows(images, 2, _IMAGES):
        label = index.require(
            classes.get(parse_int(class_numbers.get(number, "0"), _LABELS)),
            f"class of photo {path!r} in {_LABELS} and {_NAMES}",
        )
        box = None
        if crop:
            left, top, width, height = index.require(boxes.get(number), f"box of photo {path!r} in {_BOXES}")
            box = (left, top, left + width, top + height)
        if member := files.get(f"images/{path}"):
            stem = safe_label(path.rpartition("/")[2].rpartition(".")[0], _IMAGES)
            photos.append(Photo(member, label, stem, Crop(box)))
        else:
            missing.append(path)
    index.reject_missing(missing)
    return Catalog(classes, photos)


LAYOUT = ArchiveLayout(
    title="CUB-200-2011",
    archives="CUB_200_2011.tgz",
    count=200,
    crop=True,
    rules={
        "hmdrn": make_numbered_rule(
            split_hmdrn_paper, "by class number, as Bi-FRN's split.txt, which HMDRN uses: 130/20/50"
        ),
        "frn": make_numbered_rule(split_alternating, "by class number from 1, as FRN's code: 100/50/50"),
        "chen": make_numbered_rule(
            lambda n: split_alternating(n - 1), "by class number from 0, as Chen et al.: 100/50/50"
        ),
        "seeded": make_seeded_rule(130, 20, 50),
    },
    is_metadata=lambda name: name.rpartition("/")[2] in (_IMAGES, _LABELS, _BOXES, _NAMES),
    read=read,
)
