"""Where in a data set's folders its classes and splits are, seen from the depth of its images."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from hmdrn_runtime.datasets.files import Listing, Parts
from hmdrn_runtime.errors import DatasetError
from hmdrn_runtime.images.formats import IMAGE_SUFFIXES
from hmdrn_runtime.images.source import describe_source

# One folder above classes may hold a single split or wrap the whole; what it is called tells.
_SPLIT_NAME = re.compile(
    r"(train(ing|val)?|val(id|idation)?|dev|test(ing)?|eval(uation)?|base|novel|support|query)([^a-z].*)?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Layout:
    """Where things are.

    Attributes:
        photos: Each photo's parts, without a wrapping folder, and its path in the folder or zip.
        splits: Names of the splits, if there are any.
        empty: The parts of class folders without a photo.
    """

    photos: tuple[tuple[Parts, str], ...]
    splits: tuple[str, ...]
    empty: tuple[Parts, ...]


def recognise(listing: Listing, source: Path) -> Layout:
    """Find classes and splits.

    Raises:
        DatasetError: there is no image, or they are not all at the depth of one layout.

    """
    wrapper, photos = _unwrapped(listing, source)
    example = _examples(photos, source)
    if max(example) > 3:
        raise DatasetError(
            f"{describe_source(source)} has images too deep in folders, such as {example[max(example)]!r}: "
            "lay it out as <class>/<image> or <split>/<class>/<image>"
        )
    if len(example) == 2:
        raise DatasetError(
            f"{describe_source(source)} mixes two layouts, <class>/<image> as in {example[2]!r} and "
            f"<split>/<class>/<image> as in {example[3]!r}: keep to one"
        )
    splits = tuple(sorted({parts[0] for parts, _ in photos})) if 3 in example else ()
    return Layout(photos, splits, _empty(listing, wrapper, photos))


def recognise_species(listing: Listing, source: Path) -> Layout:
    """Find species to enroll, each a folder with its photos directly in it.

    In a zip, a folder may wrap several. In a folder it may not, nor may it wrap a single one: a lone
    `Monarch/2024/` would enroll a species called 2024.

    Raises:
        DatasetError: there is no image, or one that lies elsewhere.

    """
    wrapper, photos = _unwrapped(listing, source)
    if source.is_dir() or len({parts[0] for parts, _ in photos}) == 1:
        wrapper, photos = (), tuple(((*wrapper, *parts), member) for parts, member in photos)
    example = _examples(photos, source)
    if max(example) > 2:
        deep = example[max(example)]
        first = deep.partition("/")[0]
        instead = f"give {source / first}" if source.is_dir() else f"pack what is in {first!r}"
        raise DatasetError(
            f"{describe_source(source)} holds {deep!r}, but photos must lie directly in the species' folder: "
            f"move them up into {first!r}, or, if {first!r} only wraps the species, {instead}"
        )
    return Layout(photos, (), _empty(listing, wrapper, photos))


_Photos: TypeAlias = tuple[tuple[Parts, str], ...]


def _unwrapped(listing: Listing, source: Path) -> tuple[Parts, _Photos]:
    """The folder that wraps the whole, () if none does, and the sorted photos without it."""
    if not listing.images:
        raise DatasetError(
            f"{describe_source(source)} holds no images ({', '.join(IMAGE_SUFFIXES)}): "
            "put photos in as <class>/<image>, or check the path"
        )
    photos = sorted((parts, member) for member, parts in listing.images.items())
    if not _is_wrapped([parts for parts, _ in photos]):
        return (), tuple(photos)
    return photos[0][0][:1], tuple((parts[1:], member) for parts, member in photos)


def _examples(photos: _Photos, source: Path) -> dict[int, str]:
    """The first photo of each depth; none may lie outside of any folder."""
    example: dict[int, str] = {}
    for parts, _ in photos:
        example.setdefault(len(parts), "/".join(parts))
    if 1 in example:
        raise DatasetError(
            f"{describe_source(source)} has images outside of any class folder, such as {example[1]!r}: "
            "put the images of each class in a folder named after it (<class>/<image>)"
        )
    return example


def _empty(listing: Listing, wrapper: Parts, photos: _Photos) -> tuple[Parts, ...]:
    """The folders at the depth of the classes in which there is no photo."""
    within = {folder[len(wrapper) :] for folder in listing.folders if folder[: len(wrapper)] == wrapper}
    depth = max(len(parts) for parts, _ in photos) - 1
    return tuple(sorted({f for f in within if len(f) == depth} - {parts[:-1] for parts, _ in photos}))


def _is_wrapped(photos: list[Parts]) -> bool:
    """Whether the first folder is none of the layout's own but lies around everything."""
    firsts, depths = {parts[0] for parts in photos}, {len(parts) for parts in photos}
    if len(firsts) > 1 or min(depths) < 3:
        return False
    return max(depths) > 3 or not _SPLIT_NAME.fullmatch(firsts.pop())


def check_split(split: str, layout: Layout, source: Path) -> None:
    """Refuse a split that the layout does not have."""
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
