"""Write the photos of a prepared data set into its zip."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from hmdrn.dataset_prep.archives import read_members
from hmdrn.dataset_prep.crop import encode_photo
from hmdrn.dataset_prep.index import Member, Photo
from hmdrn.dataset_prep.splits import Split
from hmdrn_runtime.errors import DatasetError
from hmdrn_runtime.images.source import describe_source
from hmdrn_runtime.progress import ProgressCallback


def write_photos(
    output: zipfile.ZipFile,
    archives: Sequence[Path],
    photos: Mapping[Member, Photo],
    split: Split,
    side: int,
    report: ProgressCallback,
) -> None:
    """Read through the archives a second time, in their own order, and write photos to the zip.

    Args:
        output: The zip, open for writing.
        archives: The archives.
        photos: The photos to write, by their file in the archives.
        split: The split of each class.
        side: Most pixels of a photo's shorter side; 0 for no limit.
        report: Called with the progress.

    Raises:
        DatasetError: A photo is damaged or gone.
    """
    pending = dict(photos)
    for index, path in enumerate(archives):
        # Only the first of several members of the same name.
        for name, data in read_members(path, lambda name, index=index: (index, name) in pending):  # type: ignore[misc]
            if data is None:
                continue
            photo = pending.pop(Member(index, name))
            report(f"cropping photos of {path.name}", len(photos) - len(pending), len(photos))
            content = encode_photo(data, f"{name!r} in {describe_source(path)}", photo.crop, side)
            # A fixed date, so that the same archives give the same zip.
            entry = zipfile.ZipInfo(f"{split[photo.label]}/{photo.label}/{photo.stem}.jpg")
            entry.external_attr = 0o644 << 16
            output.writestr(entry, content)
    if pending:
        raise DatasetError(
            f"{next(iter(pending)).name!r} is gone from its archive: leave the archives as they are"
        )
