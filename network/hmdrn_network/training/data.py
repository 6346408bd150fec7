"""Data of a training run: photos to train on, photos to validate on, and a record of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hmdrn_network.training.photos import PhotoGroup, load_photo_group
from hmdrn_network.training.splits import split_classes
from hmdrn_runtime.datasets.dataset import Photo, find_splits, open_dataset
from hmdrn_runtime.errors import TrainingError
from hmdrn_runtime.progress import ProgressCallback


@dataclass(frozen=True)
class TrainingData:
    """Data of a training run.

    Attributes:
        groups: Photos to train on.
        validation: Photos to validate on by class, by the group's name.
        record: Digest and classes of each data set, for the model card.

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

    @property
    def description(self) -> str:
        """Number of photos and classes of each group, in a line for the model card."""
        return ", ".join(
            f"{g.name} ({len(g.images)} photos of {len(g.classes)} classes)" for g in self.groups
        )

    def describe_problems(self, way: int) -> list[str]:
        """Describe photos and classes that are left out, and groups of fewer classes than `way`, in lines."""
        lines = [f"{g.name}: {line}" for g in self.groups for line in g.problems.describe()]
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
    for path, name in zip(paths, stems, strict=True):
        splits = find_splits(path)
        dataset = open_dataset(path, train_split if splits else "all")
        if not splits:
            train, val = split_classes(dataset.classes, val_share)
            validation[name] = {label: dataset.classes[label] for label in val}
        else:
            train = list(dataset.classes)
            if val_split in splits:
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
    return TrainingData(groups, {name: v for name, v in validation.items() if v}, record)
