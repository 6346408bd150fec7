"""The photographs of a training run: which classes train, which validate, and a record of both."""

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
    """Groups to train on, classes to validate on by group, and what to record of them."""

    groups: list[PhotoGroup]
    validation: Mapping[str, Mapping[str, Sequence[Photo]]]
    record: Mapping[str, Any]

    @property
    def description(self) -> str:
        """One line for the model card."""
        return ", ".join(
            f"{g.name} ({len(g.images)} photos of {len(g.classes)} classes)" for g in self.groups
        )

    def remarks(self, way: int) -> list[str]:
        """What a user should know before hours of training, one line each."""
        lines = [f"{g.name}: {line}" for g in self.groups for line in g.problems.lines()]
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

    A data set with splits gives its classes as they say; of one without, `val_share` of the classes are set
    apart by a hash of their names.

    Args:
        paths: Folders or zips.
        train_split: Name of the split to train on.
        val_split: Name of the split to validate on, where there is one.
        val_share: Share of the classes to validate on, 0-1, where there are no splits.
        side: Side of the network's input in pixels.
        cache: Folder for decoded photos.
        report: Told of the progress.

    Raises:
        DatasetError: Data that cannot be read.
        TrainingError: Data of the same name, or too few usable classes.
    """
    stems = [path.expanduser().resolve().stem for path in paths]
    twice = sorted({stem for stem in stems if stems.count(stem) > 1})
    if twice:
        raise TrainingError(
            f"two data sets are called {twice[0]!r}: rename one, so that reports can tell them apart"
        )
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
