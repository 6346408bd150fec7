"""All caches of a distillation, in a folder that a later call continues in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hmdrn_network.training.data import hold_out_photos
from hmdrn_network.training.distillation.cache import (
    CachedGroup,
    PhotoSet,
    PrefixMaps,
    decode_photos,
    rows_by_class,
    teacher_features,
)
from hmdrn_network.training.distillation.guide import Guide, GuideRunner
from hmdrn_network.training.distillation.recipe import Recipe
from hmdrn_network.training.distillation.teachers import Teacher, open_teacher
from hmdrn_network.training.validation import WAY, pool_small_groups
from hmdrn_runtime.datasets.dataset import find_splits, open_dataset
from hmdrn_runtime.datasets.reading import describe_unreadable
from hmdrn_runtime.errors import TrainingError
from hmdrn_runtime.progress import ProgressCallback


@dataclass(frozen=True)
class PreparedData:
    """Cached groups to train on, and maps to validate on.

    Attributes:
        groups: The groups.
        validation: Maps (h, w, channels) by class, by the group's name; groups with too few classes for
            episodes are pooled, and left out if they are still too few.
        record: Identity of the data, for the model card.
        warnings: Lines about photos and files that are left out, and classes that look alike.
        guide: The guide whose summaries the groups hold; None for none.
    """

    groups: list[CachedGroup]
    validation: Mapping[str, Mapping[str, Sequence[npt.NDArray[np.float16]]]]
    record: Mapping[str, Any]
    warnings: tuple[str, ...] = ()
    guide: Guide | None = None


def prepare_data(
    paths: Sequence[Path],
    recipe: Recipe,
    folder: Path,
    teachers: Path | None,
    report: ProgressCallback,
    threads: int,
    guide: Guide | None = None,
) -> PreparedData:
    """Decode photos, and compute maps of the frozen stages, features of teachers and summaries of a guide.

    Cached results are read from `folder`.

    Args:
        paths: Data sets with the splits train and, if they are to be validated on, val; of one without splits
            the recipe's share of each class's photos is validated on.
        recipe: The recipe.
        folder: Folder of the caches; it may serve several runs.
        teachers: Folder of the `.tflite` files that the recipe names.
        report: Called with the name of the work, how much is done, and how much there is.
        threads: Threads to compute with.
        guide: Network that guides the student; None for none.

    Raises:
        DatasetError: Data that cannot be read.
        TrainingError: A teacher that is missing, a guide that half precision cannot hold, or a folder that
            cannot be written.
    """
    names = [path.stem for path in paths]
    if unknown := sorted({*recipe.teachers, *recipe.group_views, *recipe.merged} - set(names)):
        raise TrainingError(
            f"the recipe names groups that are not among the data: {', '.join(unknown)}; give their files too"
        )
    network, config = recipe.network, recipe.training
    maps = PrefixMaps(network.backbone, network.side, config.frozen_stages, threads)
    runner = None if guide is None else GuideRunner(guide, threads)
    open_teachers: dict[str, Teacher] = {}
    groups, record = [], {}
    warnings: list[str] = []
    validation: dict[str, dict[str, Sequence[npt.NDArray[np.float16]]]] = {}
    for path, name in zip(paths, names, strict=True):
        splits = find_splits(path)
        dataset = open_dataset(path, "train" if splits else "all")
        dataset, held_out = hold_out_photos(dataset, 0 if splits else recipe.val_photos)
        if "val" in splits:
            held_out = open_dataset(path, "val")
        photos = decode_photos(dataset, name, folder, network.side, True, report)
        warnings += [f"{name}: {line}" for line in (*dataset.warnings, *_describe(photos))]
        views = [maps.of_view(photos, folder, view, report) for view in range(recipe.views_of(name))]
        features: list[npt.NDArray[np.float16]] = []
        model = ""
        if choice := recipe.teachers.get(name):
            model = choice.model.removesuffix(".tflite")
            if choice.model not in open_teachers:
                open_teachers[choice.model] = _open_teacher(choice.model, teachers, threads)
            features = [
                teacher_features(open_teachers[choice.model], photos, folder, view, network.side, report)
                for view in range(min(choice.views, len(views)))
            ]
        guidance = runner.summarize_views(photos, folder, len(views), report) if runner else None
        rows = rows_by_class(photos.targets, len(photos.labels))
        groups.append(CachedGroup(name, photos.labels, rows, views, features, model, guidance))
        record[name] = {"photos": photos.key, "classes": len(photos.labels), "teacher": model}
        if held_out.classes:
            photos = decode_photos(held_out, name, folder, network.side, False, report)
            warnings += [f"{name}: {line}" for line in _describe(photos)]
            validation[name] = _maps_by_class(photos, maps.of_photos(photos, folder, report))
    pooled = {name: maps for name, maps in pool_small_groups(validation).items() if len(maps) >= WAY}
    return PreparedData(groups, pooled, record, tuple(warnings), guide)


def _describe(photos: PhotoSet) -> list[str]:
    return [describe_unreadable(photos.unreadable)] if photos.unreadable else []


def _open_teacher(model: str, folder: Path | None, threads: int) -> Teacher:
    if not model.endswith(".tflite"):
        return open_teacher(model, threads)
    if folder is None:
        raise TrainingError(f"the recipe needs the teacher {model}: give the folder that holds it")
    return open_teacher(str(folder / model), threads)


def _maps_by_class(
    photos: PhotoSet, maps: npt.NDArray[np.float16]
) -> dict[str, Sequence[npt.NDArray[np.float16]]]:
    rows = rows_by_class(photos.targets, len(photos.labels))
    return {label: [maps[row] for row in members] for label, members in zip(photos.labels, rows, strict=True)}
