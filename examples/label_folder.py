"""Label a folder of photos, subfolders included, in a CSV table.

Needs: `pip install .` in a checkout, and a gallery that `hmdrn enroll` wrote. Run:

    python examples/label_folder.py photos/ labels.csv --gallery site7.gallery

Each photo gets a row as soon as it is classified. After an interrupt, or with new photos, run it again: it
continues with the photos without a row. A table made with another gallery or bundle, or with the same gallery
before a change, is rejected: give another path, or delete it. Photos that cannot be read get no row: each is
reported, tried again the next time, and makes the exit code 2.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import sys
from pathlib import Path
from typing import IO

import hmdrn
from hmdrn_runtime.bundle.bundle import compute_sha256
from hmdrn_runtime.datasets.files import find_photos
from hmdrn_runtime.io.files import write_atomically

COLUMNS = ("path", "label", "known", "probability", "margin", "second", "generation", "made_by")
"""`path` is relative to the folder; `known` is empty unless the gallery is calibrated (`hmdrn enroll --far`);
`second` is the second best species; `generation` counts the gallery's changes; `made_by` is a digest of
gallery and bundle."""


def read_rows(table: Path) -> list[dict[str, str]]:
    """Return the rows of the table; a row that is only half written is removed from the file.

    Raises:
        hmdrn.DatasetError: The file is not a table of labels.
    """
    if not table.exists():
        return []
    data = table.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    with open_table(table, "r") as file:
        if whole and tuple(csv.DictReader(file).fieldnames or ()) != COLUMNS:
            raise hmdrn.DatasetError(f"{table} is not a table of labels: give another path, or delete it")
    if whole != data:
        write_atomically(table, whole)
    with open_table(table, "r") as file:
        return list(csv.DictReader(file))


def open_table(table: Path, mode: str) -> IO[str]:
    """Open the table; file names that are not UTF-8 are preserved."""
    return table.open(mode, encoding="utf-8", errors="surrogateescape", newline="")


def compute_digest(recognizer: hmdrn.Recognizer, gallery: Path) -> str:
    """Return a digest of the gallery file and the bundle's graphs."""
    files = (
        gallery,
        recognizer.bundle.path / "manifest.json",
    )  # the manifest has the digests of all other files
    digests = (*map(compute_sha256, files), recognizer.bundle.variant)
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()[:16]


def make_row(path: str, prediction: hmdrn.Prediction, generation: int, digest: str) -> dict[str, object]:
    """Return the row of a photo."""
    return {
        "path": path,
        "label": prediction.label,
        "known": "" if prediction.known is None else str(prediction.known).lower(),
        "probability": f"{prediction.probability:.4f}",
        "margin": f"{prediction.margin:.4f}",
        "second": prediction.ranking[1].label if len(prediction.ranking) > 1 else "",
        "generation": generation,
        "made_by": digest,
    }


def label_folder(
    recognizer: hmdrn.Recognizer, folder: Path, table: Path, digest: str
) -> tuple[int, int, int]:
    """Add a row for every photo without one.

    Args:
        recognizer: A recognizer with the gallery.
        folder: The photos.
        table: The CSV file.
        digest: The digest of gallery and bundle.

    Returns:
        The numbers of photos labeled now, labeled before, and unreadable.

    Raises:
        hmdrn.HmdrnError: The folder is missing, the table is not one of this gallery and bundle, or the
            gallery is empty.
        OSError: The table cannot be written.
    """
    if not folder.is_dir():
        raise hmdrn.DatasetError(f"{folder} is not a folder: give the one with the photos")
    before = read_rows(table)
    if any(row["made_by"] != digest for row in before):
        raise hmdrn.DatasetError(
            f"{table} has labels by another gallery or bundle, or by this gallery before it was changed: "
            "give another path, or delete it to label all photos again"
        )
    done = {row["path"] for row in before}
    photos = {path.relative_to(folder).as_posix(): path for path in find_photos(folder)}
    pending = [name for name in photos if name not in done]
    unreadable = 0
    with open_table(table, "a") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if file.tell() == 0:
            writer.writeheader()
        for name in pending:
            try:
                if "\n" in name:
                    raise hmdrn.ImageError(f"{name!r} has a line break in its name: rename it")
                prediction = recognizer.classify(photos[name], top=2)
            except hmdrn.ImageError as error:
                unreadable += 1
                print(f"no row: {error}", file=sys.stderr)
                continue
            writer.writerow(make_row(name, prediction, recognizer.gallery.generation, digest))
            file.flush()
    return len(pending) - unreadable, len(photos) - len(pending), unreadable


def main() -> int:
    """Label the folder that the command line names."""
    parser = argparse.ArgumentParser(description="Label a folder of photos into a CSV table.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("table", type=Path, help="CSV file, made or continued")
    parser.add_argument("--gallery", type=Path, required=True)
    parser.add_argument("--bundle", default="default", help="folder NAME.hmdrn (%(default)s)")
    arguments = parser.parse_args()
    try:
        recognizer = hmdrn.load(arguments.bundle, gallery=arguments.gallery)
        digest = compute_digest(recognizer, arguments.gallery)
        now, before, unreadable = label_folder(recognizer, arguments.folder, arguments.table, digest)
    except hmdrn.HmdrnError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"error: {arguments.table}: {error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; run it again to continue", file=sys.stderr)
        return 130
    print(f"{now} labeled now, {before} before, {unreadable} unreadable: {arguments.table}")
    return 2 if unreadable else 0


if __name__ == "__main__":
    sys.exit(main())
