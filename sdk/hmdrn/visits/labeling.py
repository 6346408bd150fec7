"""Label a trail camera's card: every burst of photos becomes one visit, also after an interruption."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from hmdrn.visits.bursts import split_bursts
from hmdrn.visits.card import CardPhoto, scan_card
from hmdrn.visits.card_decoding import CardSubject, DecodedPhoto, PhotoDecoder
from hmdrn.visits.naming import NameTally
from hmdrn.visits.pictures import PictureChooser
from hmdrn.visits.store import VisitStore
from hmdrn.visits.visit import Visit, format_time
from hmdrn.watching.frames import Detector
from hmdrn_runtime.classification.prediction import Prediction
from hmdrn_runtime.errors import DatasetError, HmdrnError
from hmdrn_runtime.images.quality import PreparedPhoto
from hmdrn_runtime.io.files import expand_path
from hmdrn_runtime.io.json_document import is_encodable
from hmdrn_runtime.matching.base import BATCH
from hmdrn_runtime.progress import ProgressCallback
from hmdrn_runtime.recognizer import Recognizer

GAP_SECONDS = 10.0
"""Most seconds between two photos of one trigger."""
_AHEAD = 3 * BATCH
"""Photos that are decoded ahead of the network."""
_FILE_COLUMNS = ("path", "size", "modified", "time", "visit", "label", "known", "probability", "error")


@dataclass(frozen=True)
class CardReport:
    """Result of labeling a card.

    Attributes:
        photos: Photos on the card.
        labeled: Photos that were labeled now.
        seen: Photos that an earlier run had labeled.
        visits: Visits that were added now.
        errors: The reason by the name of each photo that cannot be read.

    Examples:
        >>> birds = hmdrn.load("default", gallery="site7.gallery")
        >>> with hmdrn.VisitStore("card.visits", create=True) as visits:
        ...     first = hmdrn.label_card(visits, birds, "card")
        ...     again = hmdrn.label_card(visits, birds, "card")
        >>> again.labeled, again.seen == first.labeled
        (0, True)
    """

    photos: int
    labeled: int
    seen: int
    visits: int
    errors: dict[str, str]


def label_card(
    store: VisitStore,
    recognizer: Recognizer,
    folder: str | os.PathLike[str],
    gap: float = GAP_SECONDS,
    report: ProgressCallback = lambda what, done, total: None,
    detector: Detector | None = None,
) -> CardReport:
    """Label the photos of a folder that are not labeled yet; nothing in the folder is changed.

    Photos whose EXIF times are less than `gap` seconds apart are one visit, of ten minutes at most; a photo
    without EXIF is one by itself. A photo is known again by its path in the folder, size and time of change.

    Args:
        store: The file that the visits go to, and that remembers the photos.
        recognizer: Names them.
        folder: The card.
        gap: Most seconds between two photos of one visit, at least 0.
        report: Called with the progress.
        detector: Finds the subjects in each photo, of which all are answered and at most ten taken; it is
            called in other threads, one at a time. A visit is named by all subjects of its photos. Photos
            that show none belong to their burst's visit, or to none if no photo of the burst has any. None
            to name whole photos.

    Raises:
        DatasetError: The folder cannot be read.
        GalleryError: Nothing has been enrolled.
        HmdrnError: The file cannot be written; what was labeled before is in it.
    """
    card = expand_path(folder, DatasetError)
    if not card.is_dir():
        raise DatasetError(f"{card} is not a folder: give the folder of a camera's photos")
    if not gap >= 0:
        raise HmdrnError(f"gap is {gap}: give 0 seconds or more")
    decoder = PhotoDecoder(recognizer.preprocessing, detector)
    workers = min(4, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers, "hmdrn-decode") as executor:
        try:
            photos, seen = scan_card(card, _read_seen(store), executor)
            decoded = _decode_ahead(executor, photos, decoder)
            errors: dict[str, str] = {}
            visits = done = 0
            for bursts in _batches(split_bursts(decoded, gap)):
                subjects = [subject for burst in bursts for item in burst for subject in item.subjects]
                predictions = dict(zip(map(id, subjects), _classify(recognizer, subjects), strict=True))
                with store.transaction():
                    for burst in bursts:
                        visits += _write_burst(store, recognizer, burst, predictions, str(card))
                errors |= {item.photo.name: item.error for burst in bursts for item in burst if item.error}
                done += sum(map(len, bursts))
                report("labeling", done, len(photos))
        except BaseException:  # Ctrl-C does not wait for the photos ahead
            executor.shutdown(cancel_futures=True)
            raise
    return CardReport(len(photos) + seen, len(photos) - len(errors), seen, visits, errors)


def _read_seen(store: VisitStore) -> set[tuple[str, int, int]]:
    rows = store.query("SELECT path, size, modified FROM files WHERE error IS NULL")
    return {(os.fsdecode(row["path"]), row["size"], row["modified"]) for row in rows}


def _decode_ahead(
    executor: ThreadPoolExecutor, photos: Sequence[CardPhoto], decoder: PhotoDecoder
) -> Iterator[DecodedPhoto]:
    """Yield decoded photos in order, a bounded number ahead."""
    waiting: deque[Future[DecodedPhoto]] = deque()
    remaining = iter(photos)
    while True:
        for photo in islice(remaining, _AHEAD - len(waiting)):
            waiting.append(executor.submit(decoder.decode, photo))
        if not waiting:
            return
        yield waiting.popleft().result()


def _batches(bursts: Iterator[list[DecodedPhoto]]) -> Iterator[list[list[DecodedPhoto]]]:
    """Yield bursts together that have at least `BATCH` photos."""
    batch: list[list[DecodedPhoto]] = []
    for burst in bursts:
        batch.append(burst)
        if sum(map(len, batch)) >= BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _classify(recognizer: Recognizer, subjects: Sequence[CardSubject]) -> list[Prediction]:
    return recognizer.classify_batch([PreparedPhoto(subject.pixels, 0) for subject in subjects])


def _write_burst(
    store: VisitStore,
    recognizer: Recognizer,
    burst: Sequence[DecodedPhoto],
    predictions: dict[int, Prediction],
    source: str,
) -> int:
    """Write a burst's visit and photos, and return the number of visits: 0 if no photo shows a subject."""
    tally, chooser = NameTally(), PictureChooser(0.0)
    shown = [item for item in burst if item.subjects]
    for item in shown:
        time = item.photo.time
        for subject in item.subjects:
            image, prediction = subject.image, predictions[id(subject)]
            tally.add(prediction)
            chooser.offer(lambda image=image: image, subject.box, prediction, time.timestamp(), time)  # type: ignore[misc]
    number = None
    if shown:
        first, last = shown[0].photo.time, shown[-1].photo.time
        network = recognizer.bundle.manifest.network
        naming = tally.result(network.fingerprint, recognizer.gallery.generation)
        duration = (last - first).total_seconds()
        visit = Visit(first, duration, source, naming, 0, len(shown), chooser.choose(naming.label))
        number = store.save(visit).id
    with store.transaction() as connection:
        connection.executemany(
            f"INSERT OR REPLACE INTO files ({', '.join(_FILE_COLUMNS)}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [_file_values(item, number, predictions) for item in burst],
        )
    return int(number is not None)


def _file_values(item: DecodedPhoto, visit: int | None, predictions: dict[int, Prediction]) -> list[object]:
    photo = item.photo
    # Text in SQLite is UTF-8; a name with other bytes is kept as a BLOB.
    name = photo.name if is_encodable(photo.name) else os.fsencode(photo.name)
    key = [name, photo.size, photo.modified, format_time(photo.time)]
    if item.error:
        return [*key, None, None, None, None, item.error]
    if not item.subjects:
        return [*key, visit, None, None, None, None]
    prediction = predictions[id(item.subjects[0])]
    known = prediction.known
    label = None if known is False else prediction.label
    return [*key, visit, label, None if known is None else int(known), prediction.probability, None]
