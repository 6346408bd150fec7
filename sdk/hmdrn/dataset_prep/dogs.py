"""Stanford Dogs (Khosla et al., 2011): 20,580 photos of 120 breeds; the boxes are in a separate archive."""

from __future__ import annotations

import re

from hmdrn.dataset_prep.crop import Crop
from hmdrn.dataset_prep.index import ArchiveIndex, ArchiveLayout, Catalog, Photo
from hmdrn.dataset_prep.splits import make_seeded_rule
from hmdrn.dataset_prep.text_tables import parse_box, safe_label

_BREED = re.compile(r"n\d{8}-.+")
_EDGES = ("xmin", "ymin", "xmax", "ymax")


def read(index: ArchiveIndex, crop: bool) -> Catalog:
    """Make the catalog from the folders below `Images`; a class is numbered by its folder's name."""
    members = {
        tail: member
        for tail, member in index.by_tail(3).items()
        if tail.startswith("Images/") and tail.lower().endswith(".jpg") and _BREED.match(tail.split("/")[1])
    }
    if not members:
        raise index.missing("photo Images/<breed>/<photo>.jpg")
    annotations = index.by_tail(3, index.metadata)
    photos = []
    for tail, member in members.items():
        _, breed, file_name = tail.split("/")
        stem = safe_label(file_name.rpartition(".")[0], "Images")
        box = None
        if crop:
            path = f"Annotation/{breed}/{stem}"
            annotation = index.require(
                annotations.get(path), f"{path}, which has its box (from annotation.tar),"
            )
            box = _largest_box(index.metadata[annotation], annotation.name)
        photos.append(Photo(member, safe_label(breed, "Images"), stem, Crop(box)))
    breeds = sorted({tail.split("/")[1] for tail in members})
    return Catalog({number: safe_label(breed, "Images") for number, breed in enumerate(breeds, 1)}, photos)


def _largest_box(annotation: bytes, name: str) -> tuple[float, float, float, float]:
    """Return the largest of the boxes in an annotation: some photos show several dogs.

    An XML parser would expand an annotation's entities; these files have none.
    """
    boxes = []
    for piece in annotation.decode("utf-8", "replace").split("<bndbox>")[1:]:
        inner = piece.partition("</bndbox>")[0]
        texts = [inner.partition(f"<{edge}>")[2].partition("<")[0].strip() for edge in _EDGES]
        boxes.append(parse_box(texts, name))
    if not boxes:
        return parse_box([], name)  # raises
    return max(boxes, key=lambda box: (box[2] - box[0]) * (box[3] - box[1]))


LAYOUT = ArchiveLayout(
    title="Stanford Dogs",
    archives="images.tar and, to crop photos to their boxes, annotation.tar",
    count=120,
    crop=False,
    rules={"seeded": make_seeded_rule(70, 20, 30)},
    is_metadata=lambda name: "Annotation" in name.split("/")[-3:-2],
    read=read,
)
