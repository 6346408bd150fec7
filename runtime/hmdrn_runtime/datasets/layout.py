"""Detection of a data set's classes and splits by the depth of its images."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from hmdrn_runtime.datasets.files import Listing, PathParts
from hmdrn_runtime.errors import DatasetError
from hmdrn_runtime.images.formats import IMAGE_SUFFIXES
from hmdrn_runtime.images.source import describe_source

# A lone folder above the classes is either a split or a wrapper: its name decides.
_SPLIT_NAME = re.compile(
    r"(train(ing|val)?|val(id|idation)?|dev|test(ing)?|eval(uation)?|base|novel|support|query)([^a-z].*)?",
    re.IGNORECASE,
)

_Photos: TypeAlias = tuple[tuple[PathParts, str], ...]


@dataclass(frozen=True)
class Layout:
    """The photos and splits of a data set.

    Attributes:
        photos: Each photo's parts, without a wrapping folder, and its path in the folder or zip.
        splits: Names of the splits, if there are any.
        empty_folders: The parts of class folders without a photo.
    """

    photos: _Photos
    splits: tuple[str, ...]
    empty_folders: tuple[PathParts, ...]


def detect_layout(listing: Listing, source: Path) -> Layout:
    """Find classes and splits.

    Raises:
        DatasetError: No image, or the images are not all at the depth of one layout.
    """
    wrapper, photos = _unwrap(listing, source)
    examples = _examples_by_depth(photos, source)
    deepest = max(examples)
    if deepest > 3:
        raise DatasetError(
            f"{describe_source(source)} has images too deep in folders, such as {examples[deepest]!r}: "
            "lay it out as <class>/<image> or <split>/<class>/<image>"
        )
    if len(examples) == 2:
        raise DatasetError(
            f"{describe_source(source)} mixes two layouts, <class>/<image> as in {examples[2]!r} and "
            f"<split>/<class>/<image> as in {examples[3]!r}: keep to one"
        )
    splits = tuple(sorted({parts[0] for parts, _ in photos})) if deepest == 3 else ()
    return Layout(photos, splits, _empty_folders(listing, wrapper, photos))


def detect_species_layout(listing: Listing, source: Path) -> Layout:
    """Find species to enroll, each a folder with its photos directly in it.

    In a zip, a folder may wrap several species. In a folder it may not, nor may it wrap a single species: a
    lone `Monarch/2024/` would enroll a species called 2024.

    Raises:
        DatasetError: No image, or one at another depth.
    """
    wrapper, photos = _unwrap(listing, source)
    if source.is_dir() or len({parts[0] for parts, _ in photos}) == 1:
        wrapper, photos = (), tuple(((*wrapper, *parts), member) for parts, member in photos)
    examples = _examples_by_depth(photos, source)
    if max(examples) > 2:
        example = examples[max(examples)]
        first = example.partition("/")[0]
        instead = f"give {source / first}" if source.is_dir() else f"pack the content of {first!r}"
        raise DatasetError(
            f"{describe_source(source)} holds {example!r}, but photos must lie directly in the species' "
            f"folder: move them up into {first!r}, or, if {first!r} only wraps the species, {instead}"
        )
    return Layout(photos, (), _empty_folders(listing, wrapper, photos))


def check_split(split: str, layout: Layout, source: Path) -> None:
    """Check that a layout has a split."""
    shown = describe_source(source)
    if not layout.splits:
        raise DatasetError(
            f"{shown} has no splits, so none called {split!r}: ask for all, "
            "or lay it out as <split>/<class>/<image>"
        )
    if split not in layout.splits:
        raise DatasetError(
            f"{shown} has no split {split!r}: choose one of {', '.join(layout.splits)}, or all"
        )


def _unwrap(listing: Listing, source: Path) -> tuple[PathParts, _Photos]:
    """Return the folder that wraps everything, () if none does, and the sorted photos without it."""
    if not listing.images:
        raise DatasetError(
            f"{describe_source(source)} holds no images ({', '.join(IMAGE_SUFFIXES)}): "
            "put photos in as <class>/<image>, or check the path"
        )
    photos = tuple(sorted((parts, member) for member, parts in listing.images.items()))
    first_folders, depths = {parts[0] for parts, _ in photos}, {len(parts) for parts, _ in photos}
    if len(first_folders) > 1 or min(depths) < 3:
        return (), photos
    first = first_folders.pop()
    if max(depths) == 3 and _SPLIT_NAME.fullmatch(first):
        return (), photos
    return (first,), tuple((parts[1:], member) for parts, member in photos)


def _examples_by_depth(photos: _Photos, source: Path) -> dict[int, str]:
    """Return the first photo of each depth; none may lie outside of any folder."""
    examples: dict[int, str] = {}
    for parts, _ in photos:
        examples.setdefault(len(parts), "/".join(parts))
    if 1 in examples:
        raise DatasetError(
            f"{describe_source(source)} has images outside of any class folder, such as {examples[1]!r}: "
            "put the images of each class in a folder named after it (<class>/<image>)"
        )
    return examples


def _empty_folders(listing: Listing, wrapper: PathParts, photos: _Photos) -> tuple[PathParts, ...]:
    """Return the folders at the depth of the classes that hold no photo."""
    inside = {folder[len(wrapper) :] for folder in listing.folders if folder[: len(wrapper)] == wrapper}
    depth = max(len(parts) for parts, _ in photos) - 1
    used = {parts[:-1] for parts, _ in photos}
    return tuple(sorted({folder for folder in inside if len(folder) == depth} - used))
