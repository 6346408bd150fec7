"""Stanford Cars (Krause et al., 2013): 16,185 photos of 196 cars, in either form in which it was published.

The first form is cars_train.tgz, cars_test.tgz and car_devkit.tgz, with the labels of the test photos in
cars_test_annos_withlabels.mat, a file of its own; the later one is car_ims.tgz and cars_annos.mat.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from hmdrn.dataset_prep.crop import Cut
from hmdrn.dataset_prep.index import Catalogue, Contents, Original, Photo
from hmdrn.dataset_prep.mat_files import Variables, load_matlab
from hmdrn.dataset_prep.naming import safe_label
from hmdrn.dataset_prep.splits import seeded
from hmdrn.dataset_prep.text_tables import edges
from hmdrn_runtime.errors import DatasetError
from hmdrn_runtime.messages import one_line

_JOINT, _META, _TRAIN = "cars_annos.mat", "cars_meta.mat", "cars_train_annos.mat"
_TEST = "cars_test_annos_withlabels.mat"
_FOLDERS = {_JOINT: "", _TRAIN: "cars_train/", _TEST: "cars_test/"}
"""The folder of each list's photos; the joint list has it in front of the names."""


class _Record(NamedTuple):
    """An annotated photo: the file's folder and name, the class's number, the box counted from 1."""

    path: str
    number: int
    box: tuple[float, float, float, float]


def read(contents: Contents, crop: bool) -> Catalogue:
    """The catalogue, of whichever form there is; the test photos may be left out altogether.

    Raises:
        DatasetError: A list or a photo is missing, or a list is damaged.
    """
    files = contents.by_tail(2)
    joint = contents.find_note(_JOINT) is not None
    needed = [_JOINT] if joint else [_META, _TRAIN]
    if not joint and contents.find_note(_TEST) is not None:
        needed.append(_TEST)
    elif not joint and any(tail.startswith("cars_test/") for tail in files):
        raise contents.lacks(f"{_TEST}, without which the photos in cars_test have no class,")
    tables = load_matlab({name: contents.note(name) for name in needed})
    names = tables[needed[0]]
    records = [record for name in needed if name in _FOLDERS for record in _records(tables[name], name)]
    classes = dict(enumerate(_class_names(names), 1))
    missing = sorted(record.path for record in records if record.path not in files)
    contents.refuse_missing(missing)
    photos = []
    for path, number, (left, top, right, bottom) in records:
        if number not in classes:
            raise DatasetError(
                f"photo {path!r} is of class {number}, and there are {len(classes)}: wrong archives"
            )
        # Two photos of a class may have one number, one in cars_train and one in cars_test.
        stem = safe_label(path.removeprefix("cars_").rpartition(".")[0].replace("/", "_"), path)
        cut = Cut((left - 1, top - 1, right, bottom)) if crop else Cut()
        photos.append(Photo(files[path], classes[number], stem, cut))
    return Catalogue(classes, photos)


def _list_of(variables: Variables, name: str, where: str) -> list[Any]:
    if name not in variables:
        raise DatasetError(f"{where} has no variable {name!r}: it is damaged or another file of that name")
    values = variables[name]
    # A list of one is written as its one value.
    return values if isinstance(values, list) else [values]


def _class_names(variables: Variables) -> Iterator[str]:
    for name in _list_of(variables, "class_names", f"{_META} or {_JOINT}"):
        yield safe_label(str(name), "class_names")


def _records(variables: Variables, where: str) -> Iterator[_Record]:
    folder = _FOLDERS[where]
    for entry in _list_of(variables, "annotations", where):
        try:
            path = folder + str(entry["fname"]) if folder else str(entry["relative_im_path"])
            box = [entry[edge] for edge in ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")]
            number = int(entry["class"])
        except (KeyError, TypeError, IndexError, ValueError, OverflowError) as error:
            raise DatasetError(
                f"{where} has a photo without its entries ({one_line(error)}): it is damaged or another file"
            ) from error
        yield _Record(path, number, edges(box, where))


ORIGINAL = Original(
    title="Stanford Cars",
    archives="cars_train.tgz, cars_test.tgz, car_devkit.tgz and cars_test_annos_withlabels.mat, "
    "or car_ims.tgz and cars_annos.mat",
    count=196,
    crop=False,
    rules={"seeded": seeded(130, 17, 49)},
    is_note=lambda name: name.rpartition("/")[2] in (_JOINT, _META, _TRAIN, _TEST),
    read=read,
)
