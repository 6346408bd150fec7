"""Turn the original archives of a data set into a zip of `<split>/<class>/<photo>.jpg` and a record of it."""

from __future__ import annotations

import contextlib
import os
import secrets
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hmdrn.dataset_prep import aircraft, cars, cub, dogs
from hmdrn.dataset_prep.archives import check_archive, read_members
from hmdrn.dataset_prep.crop import JPEG_QUALITY, encode_photo
from hmdrn.dataset_prep.index import ArchiveLayout, Catalog, Member, Photo, index_archives
from hmdrn.dataset_prep.splits import SPLITS, Split, read_split
from hmdrn_runtime.bundle.bundle import compute_sha256
from hmdrn_runtime.datasets.reading import PhotoReader
from hmdrn_runtime.errors import DatasetError, ImageError
from hmdrn_runtime.images.decoding import MIN_SIDE
from hmdrn_runtime.images.source import describe_source
from hmdrn_runtime.io.files import (
    check_not_input,
    check_parent_folder,
    describe_os_error,
    expand_path,
    write_atomically,
)
from hmdrn_runtime.io.json_document import canonical_json
from hmdrn_runtime.io.permissions import copy_permissions
from hmdrn_runtime.progress import ProgressCallback, ignore_progress

LAYOUTS: dict[str, ArchiveLayout] = {
    "cub": cub.LAYOUT,
    "dogs": dogs.LAYOUT,
    "cars": cars.LAYOUT,
    "aircraft": aircraft.LAYOUT,
}
"""The known data sets, by their name on the command line."""
SCHEMA = "hmdrn.prepare/1"


@dataclass(frozen=True)
class PrepareOptions:
    """Options of `prepare`.

    Attributes:
        crop: True to crop photos to their boxes; None for the data set's default.
        side: Most pixels of a photo's shorter side, at least `MIN_SIDE`; 0 for no limit.
        rule: Name of the split's rule; None for the data set's default.
        seed: Seed of random rules.
        split_file: A file with the split, instead of a rule.
        strict_data: True to refuse archives with photos that cannot be decoded.
    """

    crop: bool | None = None
    side: int = 100
    rule: str | None = None
    seed: int = 0
    split_file: Path | None = None
    strict_data: bool = False


def prepare(
    layout: ArchiveLayout,
    archives: Sequence[Path],
    output: Path,
    options: PrepareOptions,
    report: ProgressCallback = ignore_progress,
) -> dict[str, Any]:
    """Write the zip `output` and, beside it with the suffix .json, the record of it.

    Photos that cannot be decoded are left out, and named in the record.

    Args:
        layout: The data set.
        archives: All of its archives, or folders of their content.
        output: The zip; an existing one is replaced.
        options: See `PrepareOptions`.
        report: Called with the progress.

    Returns:
        The record.

    Raises:
        DatasetError: The archives are not those of the data set, damaged or not to be trusted; a photo is
            damaged and the data strict; the options do not fit; the output cannot be written. Nothing is
            written then.
    """
    if 0 < options.side < MIN_SIDE:
        raise DatasetError(
            f"a side of {options.side} pixels is too short: give at least {MIN_SIDE}, or 0 for no limit"
        )
    paths = [check_archive(path) for path in archives]
    output = _check_output(output, paths)
    crop = layout.crop if options.crop is None else options.crop
    index = index_archives(layout, paths, report)
    catalog = layout.read(index, crop)
    split, origin = _choose_split(layout, catalog, options)
    photos = {photo.member: photo for photo in catalog.photos if photo.label in split}
    if not photos:
        raise DatasetError(f"no photo in {index.given}: pass {layout.archives}")
    temporary = output.with_name(f".{output.name}.{secrets.token_hex(4)}.part")
    try:
        with temporary.open("xb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                reader = PhotoReader()
                unreadable = _write_photos(archive, paths, photos, split, options.side, reader, report)
            if options.strict_data:
                reader.refuse()
            file.flush()
            os.fsync(file.fileno())
        digests: list[dict[str, str | None]] = []
        for path in paths:
            report(f"digest of {path.name}", len(digests), len(paths))
            digests.append(
                {"name": path.resolve().name, "sha256": None if path.is_dir() else compute_sha256(path)}
            )
        record = {
            "schema": SCHEMA,
            "data_set": layout.title,
            "archives": digests,
            "zip": {"name": output.name, "sha256": compute_sha256(temporary)},
            "crop": crop,
            "side": options.side,
            "jpeg_quality": JPEG_QUALITY,
            "split": origin,
            "classes": {name: sorted(label for label in split if split[label] == name) for name in SPLITS},
            "left_out": sorted(set(catalog.classes.values()) - set(split)),
            "photos": {
                name: sum(split[p.label] == name for m, p in photos.items() if m not in unreadable)
                for name in SPLITS
            },
            "unreadable": sorted(member.name for member in unreadable),
        }

        def publish() -> None:
            copy_permissions(output, temporary)
            temporary.replace(output)

        # The record is safe on the disk before the zip takes its name, and takes its own right after.
        write_atomically(output.with_suffix(".json"), canonical_json(record).encode(), before_rename=publish)
    except OSError as error:
        raise DatasetError(
            f"{describe_source(output)} cannot be written ({describe_os_error(error)}): "
            "check the folder and its space"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    return record


def _write_photos(
    output: zipfile.ZipFile,
    archives: Sequence[Path],
    photos: Mapping[Member, Photo],
    split: Split,
    side: int,
    reader: PhotoReader,
    report: ProgressCallback,
) -> set[Member]:
    """Read through the archives a second time, in their own order, and write photos to the zip.

    Returns:
        The photos that cannot be decoded.
    """
    pending, unreadable = dict(photos), set[Member]()
    for index, path in enumerate(archives):
        # Only the first of several members of the same name.
        for name, data in read_members(path, lambda name, index=index: (index, name) in pending):  # type: ignore[misc]
            if data is None:
                continue
            member = Member(index, name)
            photo = pending.pop(member)
            report(f"cropping photos of {path.name}", len(photos) - len(pending), len(photos))
            try:
                content = encode_photo(data, f"{name!r} in {describe_source(path)}", photo.crop, side)
            except ImageError as error:
                reader.unreadable.append(str(error))
                unreadable.add(member)
                continue
            # A fixed date, so that the same archives give the same zip.
            entry = zipfile.ZipInfo(f"{split[photo.label]}/{photo.label}/{photo.stem}.jpg")
            entry.external_attr = 0o644 << 16
            output.writestr(entry, content)
    if pending:
        raise DatasetError(
            f"{next(iter(pending)).name!r} is gone from its archive: leave the archives as they are"
        )
    return unreadable


def _check_output(given: Path, archives: Sequence[Path]) -> Path:
    output = expand_path(given, DatasetError)
    if output.suffix.lower() != ".zip":
        raise DatasetError(f"{describe_source(given)} is not a zip: give a name that ends in .zip")
    for path in (output, output.with_suffix(".json")):
        if path.is_dir():
            raise DatasetError(f"cannot write {describe_source(path)}: it is a folder; give another name")
    check_parent_folder(output, "zip", DatasetError)
    check_not_input(output, "zip", archives, DatasetError)
    return output


def _choose_split(
    layout: ArchiveLayout, catalog: Catalog, options: PrepareOptions
) -> tuple[Split, dict[str, Any]]:
    """Return the split of every kept class, and the record of where it comes from."""
    if options.split_file is not None:
        if options.rule is not None:
            raise DatasetError("both a rule and a file of the split are given: choose one")
        split = read_split(options.split_file, list(catalog.classes.values()))
        return split, {"rule": "file", "told": f"as in {options.split_file.name}", "seed": None}
    count = len(catalog.classes)
    if count != layout.count:
        # A rule would put other classes into test than in a whole archive.
        raise DatasetError(
            f"{layout.title} has {layout.count} classes, and these archives {count}: "
            "download them again, or name the classes to take by --split-file"
        )
    name = options.rule or next(iter(layout.rules))
    if name not in layout.rules:
        raise DatasetError(
            f"{layout.title} has no split {name!r}: choose one of {', '.join(layout.rules)}, or --split-file"
        )
    rule = layout.rules[name]
    seed = options.seed if rule.is_seeded else None
    return rule.split(catalog.classes, options.seed), {"rule": name, "told": rule.origin, "seed": seed}
