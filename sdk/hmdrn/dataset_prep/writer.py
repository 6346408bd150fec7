"""The photos of a result, into its zip."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping, Sequence

from hmdrn.dataset_prep.crop import picture
from hmdrn.dataset_prep.index import Member, Photo
from hmdrn.dataset_prep.sources import Source
from hmdrn.dataset_prep.splits import Split
from hmdrn_runtime.errors import DatasetError, ImageError
from hmdrn_runtime.images.source import describe_source


def write_photos(
    archive: zipfile.ZipFile,
    sources: Sequence[Source],
    kept: Mapping[Member, Photo],
    split: Split,
    side: int,
    report: Callable[[str, int, int], None],
) -> None:
    """Read through the archives a second time, in their own order: a .tgz knows no other.

    Args:
        archive: The zip, open for writing.
        sources: The archives.
        kept: The photos to write by where they are.
        split: The split of each class.
        side: Most pixels of a photo's shorter side; 0 for no limit.
        report: Called with (what, done, of).

    Raises:
        DatasetError: A photo is damaged or gone.
    """
    left = dict(kept)
    for index, source in enumerate(sources):
        # Only the first of several members of one name.
        for name, data in source.members(lambda name, index=index: (index, name) in left):  # type: ignore[misc]
            if data is None:
                continue
            photo = left.pop(Member(index, name))
            report(f"cutting photos of {source.path.name}", len(kept) - len(left), len(kept))
            shown = f"{name!r} in {describe_source(source.path)}"
            try:
                content = picture(data, shown, photo.cut, side)
            except ImageError as error:
                raise DatasetError(str(error)) from error
            # A fixed date, so that the same archives give the same zip.
            entry = zipfile.ZipInfo(f"{split[photo.label]}/{photo.label}/{photo.stem}.jpg")
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
    if left:
        raise DatasetError(
            f"{next(iter(left)).name!r} is gone from its archive: leave the archives as they are"
        )
