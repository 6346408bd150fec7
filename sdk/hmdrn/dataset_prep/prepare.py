"""From the original archives to one zip of `<split>/<class>/<photo>.jpg`, and the record beside it."""

from __future__ import annotations

import contextlib
import os
import secrets
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hmdrn.dataset_prep.crop import JPEG_QUALITY
from hmdrn.dataset_prep.index import Catalogue, Contents, Original
from hmdrn.dataset_prep.sources import file_digest, open_source
from hmdrn.dataset_prep.splits import SPLITS, Split, read_split
from hmdrn.dataset_prep.writer import write_photos
from hmdrn_runtime.errors import DatasetError
from hmdrn_runtime.images.decoding import MIN_SIDE
from hmdrn_runtime.images.source import describe_source
from hmdrn_runtime.io.files import reason, user_path, write_atomically
from hmdrn_runtime.io.json_document import canonical_json

SCHEMA = "hmdrn.prepare/1"


@dataclass(frozen=True)
class Choices:
    """What the user chose.

    Attributes:
        crop: Whether photos are cut to their boxes; None for the data set's default.
        side: Most pixels of a photo's shorter side; 0 for no limit.
        rule: Name of the rule of the split; None for the data set's default.
        seed: Of rules at random.
        split_file: A file with the split instead of a rule.
    """

    crop: bool | None = None
    side: int = 100
    rule: str | None = None
    seed: int = 0
    split_file: Path | None = None


def prepare(
    original: Original,
    archives: Sequence[Path],
    output: Path,
    choices: Choices,
    report: Callable[[str, int, int], None] = lambda what, done, of: None,
) -> dict[str, Any]:
    """Write the zip `output` and, of the same name with .json, the record of it.

    Args:
        original: What the archives are.
        archives: All of them, or folders of what they hold.
        output: The zip; one that is there is replaced.
        choices: See `Choices`.
        report: Called with (what, done, of) as the work goes on.

    Returns:
        The record.

    Raises:
        DatasetError: The archives are not those of the data set, damaged or not to be trusted; a photo is
            damaged; the choices do not fit; the output cannot be written. Nothing is written then.
    """
    if 0 < choices.side < MIN_SIDE:
        raise DatasetError(
            f"a side of {choices.side} pixels is too little: at least {MIN_SIDE}, or 0 for no limit"
        )
    output = _checked_output(output, archives)
    sources = [open_source(path) for path in archives]
    crop = original.crop if choices.crop is None else choices.crop
    contents = Contents.of(original, sources, report)
    catalogue = original.read(contents, crop)
    split, told = _split(original, catalogue, choices)
    kept = {photo.member: photo for photo in catalogue.photos if photo.label in split}
    if not kept:
        raise DatasetError(f"no photo in {contents.given}: pass {original.archives}")
    temporary = output.with_name(f".{output.name}.{secrets.token_hex(4)}.part")
    try:
        with temporary.open("xb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                write_photos(archive, sources, kept, split, choices.side, report)
            file.flush()
            os.fsync(file.fileno())
        record = {
            "schema": SCHEMA,
            "data_set": original.title,
            "archives": _digests([source.path for source in sources], report),
            "zip": {"name": output.name, "sha256": file_digest(temporary)},
            "crop": crop,
            "side": choices.side,
            "jpeg_quality": JPEG_QUALITY,
            "split": told,
            "classes": {place: sorted(c for c in split if split[c] == place) for place in SPLITS},
            "left_out": sorted(set(catalogue.classes.values()) - set(split)),
            "photos": {place: sum(split[p.label] == place for p in kept.values()) for place in SPLITS},
        }

        # The record is safe on the disk before the zip takes its name, and takes its own right after.
        def publish() -> None:
            temporary.replace(output)

        write_atomically(output.with_suffix(".json"), canonical_json(record).encode(), before=publish)
    except OSError as error:
        raise DatasetError(
            f"{describe_source(output)} cannot be written ({reason(error)}): check the folder and its space"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    return record


def _checked_output(given: Path, archives: Sequence[Path]) -> Path:
    output = user_path(given, DatasetError)
    shown = describe_source(given)
    if output.suffix.lower() != ".zip":
        raise DatasetError(f"{shown} is to be a zip: let its name end in .zip")
    if output.is_dir() or output.with_suffix(".json").is_dir() or not output.parent.is_dir():
        problem = "or its .json is a folder" if output.parent.is_dir() else "lies in no folder that there is"
        raise DatasetError(f"{shown} {problem}: give the path of a file in a folder that exists")
    for path in archives:
        if output.exists() and user_path(path, DatasetError).exists() and output.samefile(path.expanduser()):
            raise DatasetError(f"{shown} is one of the archives: give the output another name")
    return output


def _split(original: Original, catalogue: Catalogue, choices: Choices) -> tuple[Split, dict[str, Any]]:
    """The split of every class that is kept, and where it comes from."""
    if choices.split_file is not None:
        if choices.rule is not None:
            raise DatasetError("both a rule and a file of the split are given: choose one")
        split = read_split(choices.split_file, list(catalogue.classes.values()))
        return split, {"rule": "file", "told": f"as in {choices.split_file.name}", "seed": None}
    found = len(catalogue.classes)
    if found != original.count:
        # A rule would put other classes into test than in a whole archive.
        raise DatasetError(
            f"{original.title} has {original.count} classes, and these archives {found}: "
            "download them again, or name the classes to take by --split-file"
        )
    name = choices.rule or next(iter(original.rules))
    if name not in original.rules:
        raise DatasetError(
            f"{original.title} has no split {name!r}: choose one of {', '.join(original.rules)}, "
            "or --split-file"
        )
    rule = original.rules[name]
    seed = choices.seed if rule.seeded else None
    return rule.split(catalogue.classes, choices.seed), {"rule": name, "told": rule.told, "seed": seed}


def _digests(paths: Sequence[Path], report: Callable[[str, int, int], None]) -> list[dict[str, str | None]]:
    digests: list[dict[str, str | None]] = []
    for path in paths:
        report(f"digest of {path.name}", len(digests), len(paths))
        digests.append({"name": path.resolve().name, "sha256": file_digest(path)})
    return digests
