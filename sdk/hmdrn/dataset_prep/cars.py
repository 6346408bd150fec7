"""Stanford Cars (Krause et al., 2013): 16,185 photos of 196 cars, in either form in which it was published.

The first form is cars_train.tgz, cars_test.tgz and car_devkit.tgz, with the labels of the test photos in a
separate file, cars_test_annos_withlabels.mat; the later form is car_ims.tgz and cars_annos.mat.
"""

from __future__ import annotations

import signal
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from io import BytesIO
from multiprocessing import get_context
from typing import Any, NamedTuple

import numpy as np

from hmdrn.dataset_prep.crop import Crop
from hmdrn.dataset_prep.index import ArchiveIndex, ArchiveLayout, Catalog, Photo
from hmdrn.dataset_prep.splits import make_seeded_rule
from hmdrn.dataset_prep.text_tables import parse_box, safe_label
from hmdrn_runtime.errors import DatasetError
from hmdrn_runtime.messages import format_error

_JOINT, _META, _TRAIN = "cars_annos.mat", "cars_meta.mat", "cars_train_annos.mat"
_TEST = "cars_test_annos_withlabels.mat"
_FOLDERS = {_JOINT: "", _TRAIN: "cars_train/", _TEST: "cars_test/"}
"""The folder of each list's photos; the names in the joint list include it."""


class _Annotation(NamedTuple):
    """An annotated photo: the file's folder and name, the class's number, the box counted from 1."""

    path: str
    number: int
    box: tuple[float, float, float, float]


def read(index: ArchiveIndex, crop: bool) -> Catalog:
    """Make the catalog of whichever form there is; the test photos may be left out altogether."""
    files = index.by_tail(2)
    joint = index.find_list(_JOINT) is not None
    lists = [_JOINT] if joint else [_META, _TRAIN]
    if not joint and index.find_list(_TEST) is not None:
        lists.append(_TEST)
    elif not joint and any(tail.startswith("cars_test/") for tail in files):
        raise index.missing(f"{_TEST}, without which the photos in cars_test have no class,")
    tables = {name: _load_mat(index.read_list(name), name) for name in lists}
    names = _values(tables[lists[0]], "class_names", lists[0])
    classes = {number: safe_label(str(name), "class_names") for number, name in enumerate(names, 1)}
    annotations = [
        annotation
        for name, table in tables.items()
        if name in _FOLDERS
        for annotation in _parse_annotations(table, name)
    ]
    index.reject_missing(sorted(path for path, _, _ in annotations if path not in files))
    photos = []
    for path, number, (left, top, right, bottom) in annotations:
        if number not in classes:
            raise DatasetError(
                f"photo {path!r} is of class {number}, and there are {len(classes)}: wrong archives"
            )
        # Two photos of a class may have the same number, one in cars_train and one in cars_test.
        stem = safe_label(path.removeprefix("cars_").rpartition(".")[0].replace("/", "_"), path)
        box = (left - 1, top - 1, right, bottom) if crop else None
        photos.append(Photo(files[path], classes[number], stem, Crop(box)))
    return Catalog(classes, photos)


def _load_mat(data: bytes, name: str) -> Mapping[str, Any]:
    """Return the variables of a MATLAB file, read in a new process: damaged files crash scipy's decoder."""
    try:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            return pool.submit(_decode_mat, data).result()
    except Exception as error:  # scipy raises nearly anything on damage
        raise DatasetError(
            f"{name} cannot be read ({format_error(error)}): it is damaged; download the archive again"
        ) from error


def _decode_mat(data: bytes) -> Mapping[str, Any]:
    from scipy.io import loadmat  # of the extra `train`

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the waiting process handles interrupts
    warnings.simplefilter("ignore")
    variables: Mapping[str, Any] = loadmat(BytesIO(data), simplify_cells=True)
    return variables


def _values(variables: Mapping[str, Any], name: str, where: str) -> list[Any]:
    if name not in variables:
        raise DatasetError(f"{where} has no variable {name!r}: it is damaged or another file of that name")
    values = variables[name]
    # A list of one is written as its single value.
    return list(values) if isinstance(values, list | np.ndarray) else [values]


def _parse_annotations(variables: Mapping[str, Any], where: str) -> Iterator[_Annotation]:
    folder = _FOLDERS[where]
    for entry in _values(variables, "annotations", where):
        try:
            path = folder + str(entry["fname"]) if folder else str(entry["relative_im_path"])
            box = [entry[edge] for edge in ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")]
            number = int(entry["class"])
        except (KeyError, TypeError, IndexError, ValueError, OverflowError) as error:
            raise DatasetError(
                f"{where} has a photo without its entries ({format_error(error)}): "
                "it is damaged or another file"
            ) from error
        yield _Annotation(path, number, parse_box(box, where))


LAYOUT = ArchiveLayout(
    title="Stanford Cars",
    archives="cars_train.tgz, cars_test.tgz, car_devkit.tgz and cars_test_annos_withlabels.mat, "
    "or car_ims.tgz and cars_annos.mat",
    count=196,
    crop=False,
    rules={"seeded": make_seeded_rule(130, 17, 49)},
    is_metadata=lambda name: name.rpartition("/")[2] in (_JOINT, _META, _TRAIN, _TEST),
    read=read,
)
