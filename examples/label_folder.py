"""Label a folder of photos, folders within it included, into a CSV table.

Needs: `pip install .` in a checkout, and a gallery that `hmdrn enroll` wrote. Run:

    python examples/label_folder.py photos/ labels.csv --gallery site7.gallery

A row for each photo, written as soon as it is known. Interrupted, or run again when photos have come in, it
goes on with those that have no row yet. A table by another gallery or bundle, or by the same gallery before
it was changed, is refused, or labels of the two would stand side by side: give another path, or delete it.
Photos that cannot be read get no row: each is reported, tried again the next time, and makes the exit code 2.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import sys
from pathlib import Path
from typing import IO

import hmdrn
from hmdrn_runtime.bundle.bundle import sha256_of
from hmdrn_runtime.datasets.files import photos_below
from hmdrn_runtime.io.files import write_atomically

COLUMNS = ("path", "label", "known", "probability", "margin", "second", "generation", "made_by")
"""`path` is relative to the folder; `known` is empty unless the gallery is calibrated (`hmdrn enroll --far`);
`second` is the next best species; `generation` is the gallery's, which counts its changes; `made_by` is a
digest of gallery and bundle."""


def rows_of(table: Path) -> list[dict[str, str]]:
    """The rows of the table; one that was half written when the power went is taken out of the file.

    Raises:
        hmdrn.DatasetError: The file is something else.
    """
    if not table.exists():
        return []
    data = table.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    with open_table(table, "r") as file:
        if whole and tuple(csv.DictReader(file).fieldnames or ()) != COLUMNS:
            raise hmdrn.DatasetError(f"{table} is no table of labels: give another path, or delete it")
    if whole != data:
        write_atomically(table, whole)
    with open_table(table, "r") as file:
        return list(csv.DictReader(file))


def open_table(table: Path, mode: str) -> IO[str]:
    """Open the table; names of files that are not UTF-8 come back as they were."""
    return table.open(mode, encoding="utf-8", errors="surrogateescape", newline="")


def made_by(recognizer: hmdrn.Recognizer, gallery: Path) -> str:
    """The same for the same gallery file and the same graphs alone."""
    files = (gallery, recognizer.bundle.path / "manifest.json")  # the manifest has the digests of all others
    digests = (*map(sha256_of, files), recognizer.bundle.variant)
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()[:16]


def row_of(path: str, seen: hmdrn.Prediction, generation: int, maker: str) -> dict[str, object]:
    """What the table says of a photo."""
    return {
        "path": path,
        "label": seen.label,
        "known": "" if seen.known is None else str(seen.known).lower(),
        "probability": f"{seen.probability:.4f}",
        "margin": f"{seen.margin:.4f}",
        "second": seen.ranking[1].label if len(seen.ranking) > 1 else "",
        "generation": generation,
        "made_by": maker,
    }


def label_folder(recognizer: hmdrn.Recognizer, folder: Path, table: Path, maker: str) -> tuple[int, int, int]:
    """Give every photo that has none a row.

    Args:
        recognizer: With the gallery.
        folder: The photos.
        table: The CSV file.
        maker: As `made_by` returns it.

    Returns:
        How many photos were labelled now, had a row before, and could not be read.

    Raises:
        hmdrn.HmdrnError: The folder is none, the table is another or by another, or the gallery is empty.
        OSError: The table cannot be written.
    """
    if not folder.is_dir():
        raise hmdrn.DatasetError(f"{folder} is no folder: give the one with the photos")
    before = rows_of(table)
    if any(row["made_by"] != maker for row in before):
        raise hmdrn.DatasetError(
            f"{table} has labels by another gallery or bundle, or by this gallery before it was changed: "
            "give another path, or delete it to label all photos anew"
        )
    done = {row["path"] for row in before}
    photos = {path.relative_to(folder).as_posix(): path for path in photos_below(folder)}
    left = [name for name in photos if name not in done]
    unreadable = 0
    with open_table(table, "a") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if file.tell() == 0:
            writer.writeheader()
        for name in left:
            try:
                if "\n" in name:
                    raise hmdrn.ImageError(f"{name!r} has a line break in its name: rename it")
                seen = recognizer.classify(photos[name], top=2)
            except hmdrn.ImageError as error:
                unreadable += 1
                print(f"no row: {error}", file=sys.stderr)
                continue
            writer.writerow(row_of(name, seen, recognizer.gallery.generation, maker))
            file.flush()
    return len(left) - unreadable, len(photos) - len(left), unreadable


def main() -> int:
    """Label the folder that the command line names."""
    parser = argparse.ArgumentParser(description="Label a folder of photos into a CSV table.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("table", type=Path, help="CSV file, made or gone on with")
    parser.add_argument("--gallery", type=Path, required=True)
    parser.add_argument("--bundle", default="default", help="folder NAME.hmdrn (%(default)s)")
    arguments = parser.parse_args()
    try:
        recognizer = hmdrn.load(arguments.bundle, gallery=arguments.gallery)
        maker = made_by(recognizer, arguments.gallery)
        now, before, unreadable = label_folder(recognizer, arguments.folder, arguments.table, maker)
    except hmdrn.HmdrnError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"error: {arguments.table}: {error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; run it again to go on", file=sys.stderr)
        return 130
    print(f"{now} labelled now, {before} before, {unreadable} unreadable: {arguments.table}")
    return 2 if unreadable else 0


if __name__ == "__main__":
    sys.exit(main())
