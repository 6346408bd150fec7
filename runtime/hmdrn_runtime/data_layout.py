"""Where in a data set's folders its classes and splits are, seen from the depth of its images."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from hmdrn_runtime.data_files import IMAGE_SUFFIXES, LAYOUT, Listing, Parts
from hmdrn_runtime.errors import DatasetError
from hmdrn_runtime.messages import describe_source

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
    if not listing.images:
        raise DatasetError(
            f"{describe_source(source)} holds no images ({', '.join(IMAGE_SUFFIXES)}): "
            f"put photos in as {LAYOUT}, or check the path"
        )
    photos = sorted((parts, member) for member, parts in listing.images.items())
    wrapper: Parts = ()
    if _is_wrapped([parts for parts, _ in photos]):
        wrapper = photos[0][0][:1]
        photos = [(parts[1:], member) for parts, member in photos]
    example: dict[int, str] = {}
    for parts, _ in photos:
        example.setdefault(len(parts), "/".join(parts))
    if 1 in example:
        raise DatasetError(
            f"{describe_source(source)} has images outside of any class folder, such as {example[1]!r}: "
            "put the images of each class in a folder named after it (<class>/<image>)"
        )
    if max(example) > 3:
        raise DatasetError(
            f"{describe_source(source)} has images too deep in folders, such as {example[max(example)]!r}: "
            f"lay it out as {LAYOUT}"
        )
    if len(example) == 2:
        raise DatasetError(
            f"{describe_source(source)} mixes two layouts, <class>/<image> as in {example[2]!r} and "
            f"<split>/<class>/<image> as in {example[3]!r}: keep to one"
        )
    splits = tuple(sorted({parts[0] for parts, _ in photos})) if 3 in example else ()
    within = {folder[len(wrapper) :] for folder in listing.folders if folder[: len(wrapper)] == wrapper}
    classes = {folder for folder in within if len(folder) == max(example) - 1}
    return Layout(tuple(photos), splits, tuple(sorted(classes - {parts[:-1] for parts, _ in photos})))


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
