"""Stanford Dogs (Khosla et al., 2011): 20,580 photos of 120 breeds; the boxes are an archive apart."""

from __future__ import annotations

import re

from hmdrn.dataset_prep.crop import Cut
from hmdrn.dataset_prep.index import Catalogue, Contents, Original, Photo
from hmdrn.dataset_prep.naming import safe_label
from hmdrn.dataset_prep.splits import seeded
from hmdrn.dataset_prep.text_tables import edges

_BREED = re.compile(r"n\d{8}-.+")
_EDGES = ("xmin", "ymin", "xmax", "ymax")


def read(contents: Contents, crop: bool) -> Catalogue:
    """The catalogue, of the folders below `Images`; a class is numbered by its folder's name.

    Raises:
        DatasetError: There are no photos, or boxes are asked for and one is missing.
    """
    members = {
        tail: member
        for tail, member in contents.by_tail(3).items()
        if tail.startswith("Images/") and tail.lower().endswith(".jpg") and _BREED.match(tail.split("/")[1])
    }
    if not members:
        raise contents.lacks("photo Images/<breed>/<photo>.jpg")
    annotations = contents.by_tail(3, contents.notes)
    labels = sorted({tail.split("/")[1] for tail in members})
    photos = []
    for tail, member in members.items():
        _, breed, file_name = tail.split("/")
        stem = safe_label(file_name.rpartition(".")[0], "Images")
        cut = Cut()
        if crop:
            note = annotations.get(f"Annotation/{breed}/{stem}")
            if note is None:
                raise contents.lacks(f"Annotation/{breed}/{stem}, in which its box is (from annotation.tar),")
            cut = Cut(_largest_box(contents.notes[note], note.name))
        photos.append(Photo(member, safe_label(breed, "Images"), stem, cut))
    return Catalogue(dict(enumerate((safe_label(label, "Images") for label in labels), 1)), photos)


def _largest_box(annotation: bytes, name: str) -> tuple[float, float, float, float]:
    """The largest of the boxes in an annotation: some photos show several dogs.

    An XML parser would take an annotation's entities for what they say; these files have none.
    """
    boxes = []
    for piece in annotation.decode("utf-8", "replace").split("<bndbox>")[1:]:
        inner = piece.partition("</bndbox>")[0]
        texts = [inner.partition(f"<{edge}>")[2].partition("<")[0].strip() for edge in _EDGES]
        boxes.append(edges(texts, name))
    return max(boxes, key=_area) if boxes else edges([], name)


def _area(box: tuple[float, float, float, float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


ORIGINAL = Original(
    title="Stanford Dogs",
    archives="images.tar and, to cut photos to their boxes, annotation.tar",
    count=120,
    crop=False,
    rules={"seeded": seeded(70, 20, 30)},
    is_note=lambda name: "Annotation" in name.split("/")[-3:-2],
    read=read,
)
