"""Data of a training run: photos to train on, photos to validate on, and a record of both."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hmdrn_network.training.photos import PhotoGroup, load_photo_group
from hmdrn_runtime.datasets.dataset import Dataset, Photo, find_splits, open_dataset
from hmdrn_runtime.datasets.reading import apply_to_all
from hmdrn_runtime.errors import TrainingError
from hmdrn_runtime.gallery.labels import normalize_label
from hmdrn_runtime.progress import ProgressCallback


@dataclass(frozen=True)
class TrainingData:
    """Data of a training run.

    Attributes:
        groups: Photos to train on.
        validation: Photos to validate on by class, by the group's name.
        record: Digest and classes of each data set, for the model card.
        warnings: Lines about files that are left out, uncertain names, and classes that look alike.

    Examples:
        >>> from pathlib import Path
        >>> data = hmdrn.open_training_data(
        ...     [Path("photos")], "train", "val", 0.2, 84, Path("cache"), lambda name, done, total: None
        ... )
        >>> sum(len(group.classes) for group in data.groups)
        8
    """

    groups: list[PhotoGroup]
    validation: Mapping[str, Mapping[str, Sequence[Photo]]]
    record: Mapping[str, Any]
    warnings: tuple[str, ...] = ()

    @property
    def description(self) -> str:
        """Number of photos and classes of each group, in a line for the model card."""
        return ", ".join(
            f"{g.name} ({len(g.images)} photos of {len(g.classes)} classes)" for g in self.groups
        )

    def describe_problems(self, way: int) -> list[str]:
        """Describe what is left out or doubtful, and groups of fewer classes than `way`, in lines."""
        lines = [
            *self.warnings,
            *(f"{g.name}: {line}" for g in self.groups for line in g.problems.describe()),
        ]
        for group in self.groups:
            if len(group.classes) < way:
                lines.append(
                    f"{group.name}: {len(group.classes)} classes, so its episodes are "
                    f"{len(group.classes)}-way instead of {way}-way"
                )
        return lines


def open_training_data(
    paths: Sequence[Path],
    train_split: str,
    val_split: str,
    val_share: float,
    side: int,
    cache: Path,
    report: ProgressCallback,
) -> TrainingData:
    """Open data sets for training.

    A data set with splits is divided by them; of a data set without, `val_share` of the classes are for
    validation, chosen by a hash of their names.

    Args:
        paths: Folders or zips.
        train_split: Name of the split to train on.
        val_split: Name of the split to validate on; it may be missing.
        val_share: Share of the classes to validate on, 0-1, for data without splits.
        side: Side of the network's input in pixels.
        cache: Folder for decoded photos.
        report: Receives the progress.

    Raises:
        DatasetError: Data that cannot be read.
        TrainingError: Data sets of the same name, or too few usable classes.
    """
    stems = [path.expanduser().resolve().stem for path in paths]
    if twice := sorted({stem for stem in stems if stems.count(stem) > 1}):
        raise TrainingError(f"two data sets are called {twice[0]!r}: rename one, so that reports differ")
    groups, validation, record = [], {}, {}
    warnings: list[str] = []
    for path, name, splits in zip(paths, stems, apply_to_all(find_splits, paths), strict=True):
        dataset = open_dataset(path, train_split if splits else "all")
        warnings += [f"{name}: {line}" for line in dataset.warnings]
        if not splits:
            train, val = split_classes(dataset.classes, val_share)
            validation[name] = {label: dataset.classes[label] for label in val}
        else:
            train = list(dataset.classes)
            if normalize_label(val_split) in splits:
                others = open_dataset(path, val_split).classes
                validation[name] = {
                    label: photos for label, photos in others.items() if label not in set(train)
                }
        report(f"reading {name}", 0, len(dataset))
        digest = dataset.digest()
        classes = {label: dataset.classes[label] for label in train}
        groups.append(
            load_photo_group(name, classes, side, report, cache / f"{name}-{digest[:12]}-{len(train)}-{side}")
        )
        record[name] = {
            "sha256": digest,
            "train": list(groups[-1].names),
            "val": sorted(validation.get(name, {})),
        }
    used = {name: classes for name, classes in validation.items() if classes}
    return TrainingData(groups, used, record, tuple(warnings))


def split_classes(names: Iterable[str], share: float) -> tuple[list[str], list[str]]:
    """Choose classes for validation by a hash of their names.

    A class stays on its side when others are added. Either side has at least two classes, or validation has
    none.

    Args:
        names: Classes.
        share: Share of the classes for validation, 0-1.

    Returns:
        Classes to train on and classes to validate on, each sorted.
    """
    ranked = sorted(names, key=lambda name: hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest())
    count = round(share * len(ranked))
    if count < 2 and share > 0:
        count = 2
    if count < 2 or len(ranked) - count < 2:
        count = 0
    return sorted(ranked[count:]), sorted(ranked[:count])


def hold_out_photos(dataset: Dataset, share: float) -> tuple[Dataset, Dataset]:
    """Divide the photos of each class into those to train on and those to validate on.

    The last ones by name are held out, two or more of a class: frames of a burst seldom are on both sides.
    All photos of a class of fewer than four are trained on.

    Args:
        dataset: Photos by class.
        share: Share of each class's photos to validate on, 0-0.5.

    Returns:
        The two data sets; the second has the classes that have photos to spare.
    """
    held_out: dict[str, tuple[Photo, ...]] = {}
    for label, photos in dataset.classes.items():
        count = max(2, round(share * len(photos)))
        if share > 0 and len(photos) - count >= 2:
            held_out[label] = photos[-count:]
    train = {
        label: photos[: len(photos) - len(held_out.get(label, ()))]
        for label, photos in dataset.classes.items()
    }
    return replace(dataset, classes=train), replace(dataset, classes=held_out)
