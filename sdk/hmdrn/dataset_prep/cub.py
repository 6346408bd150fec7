"""CUB-200-2011 (Wah et al., 2011): 11,788 photos of 200 birds, each with a box around the bird."""

from __future__ import annotations

from hmdrn.dataset_prep.crop import Cut
from hmdrn.dataset_prep.index import Catalogue, Contents, Original, Photo
from hmdrn.dataset_prep.naming import safe_label
from hmdrn.dataset_prep.splits import alternating, by_number, hmdrn, seeded
from hmdrn.dataset_prep.text_tables import edges, rows, whole

_LISTS = ("images.txt", "image_class_labels.txt", "bounding_boxes.txt", "classes.txt")


def read(contents: Contents, crop: bool) -> Catalogue:
    """The catalogue, of `images.txt` and the lists beside it, which share the photos' numbers.

    Raises:
        DatasetError: A list or a photo is missing, or a list is damaged.
    """
    tables = {name: contents.note(name) for name in _LISTS if crop or name != "bounding_boxes.txt"}
    classes = {
        whole(number, "classes.txt"): safe_label(name, "classes.txt")
        for number, name in rows(tables["classes.txt"], 2, "classes.txt")
    }
    shown = dict(rows(tables["image_class_labels.txt"], 2, "image_class_labels.txt"))
    boxes = {
        number: edges(box, "bounding_boxes.txt")
        for number, *box in rows(tables.get("bounding_boxes.txt", b""), 5, "bounding_boxes.txt")
    }
    files = contents.by_tail(3)
    photos, missing = [], []
    for number, path in rows(tables["images.txt"], 2, "images.txt"):
        member = files.get(f"images/{path}")
        label = classes.get(whole(shown.get(number, "0"), "image_class_labels.txt"))
        if label is None:
            raise contents.lacks(f"class of photo {path!r} in image_class_labels.txt and classes.txt")
        if crop and number not in boxes:
            raise contents.lacks(f"box of photo {path!r} in bounding_boxes.txt")
        if member is None:
            missing.append(path)
            continue
        cut = Cut()
        if crop:
            left, top, width, height = boxes[number]
            cut = Cut((left, top, left + width, top + height))
        stem = safe_label(path.rpartition("/")[2].rpartition(".")[0], "images.txt")
        photos.append(Photo(member, label, stem, cut))
    contents.refuse_missing(missing)
    return Catalogue(classes, photos)


ORIGINAL = Original(
    title="CUB-200-2011",
    archives="CUB_200_2011.tgz",
    count=200,
    crop=True,
    rules={
        "hmdrn": by_number(hmdrn, "by class number, as Bi-FRN's split.txt, which HMDRN uses: 130/20/50"),
        "frn": by_number(alternating, "by class number from 1, as FRN's code: 100/50/50"),
        "chen": by_number(lambda n: alternating(n - 1), "by class number from 0, as Chen et al.: 100/50/50"),
        "seeded": seeded(130, 20, 50),
    },
    is_note=lambda name: name.rpartition("/")[2] in _LISTS,
    read=read,
)
