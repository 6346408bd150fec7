"""Name Frigate's events by their pictures, and write the names back."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime, timezone

from hmdrn.integrations.frigate.api import NOT_SUPPORTED, FrigateApi, FrigateError
from hmdrn.integrations.frigate.events import FrigateEvent
from hmdrn.visits.naming import NameTally
from hmdrn.visits.pictures import PictureChooser
from hmdrn.visits.store import VisitStore
from hmdrn.visits.visit import Naming, Visit
from hmdrn_runtime.errors import HmdrnError, ImageError
from hmdrn_runtime.images.decoding import load_image
from hmdrn_runtime.recognizer import Recognizer

ANIMALS = (
    *("bird", "cat", "dog", "horse", "sheep", "cow", "bear", "elephant", "zebra", "giraffe"),
    *("deer", "fox", "rabbit", "raccoon", "skunk", "squirrel"),
)
"""Frigate's classes that are named unless others are given: those of COCO and of Frigate+."""
_MAX_OPEN = 200
"""Events in progress that are remembered; the end of an event may never come."""


@dataclass
class _OpenEvent:
    tally: NameTally = field(default_factory=NameTally)
    chooser: PictureChooser = field(default_factory=lambda: PictureChooser(0.0))
    snapshot_time: float | None = None
    written: str = ""
    attribute: str = ""
    attribute_models: dict[str, list[str]] | None = None


@dataclass(frozen=True)
class NamedEvent:
    """An event with its name so far.

    Attributes:
        event: Frigate's message.
        naming: The name, by all of the event's pictures so far.
        pictures: Number of pictures that were classified.
        written: Whether this message changed the event's sub-label.
    """

    event: FrigateEvent
    naming: Naming
    pictures: int
    written: bool


class EventNamer:
    """Names events.

    While an event goes on, each better picture of it is classified, cut to its object; their average is the
    name. An event of which only the end is seen is named by its thumbnail.

    Args:
        api: Frigate.
        recognizer: Names the pictures.
        labels: Frigate's classes to name.
        store: Keeps each event that has ended as a visit; None keeps none.
        unknown: Sub-label of events that show no enrolled species; empty to write none.
        report: Called with the problem when Frigate, or the store, begins to fail.

    Attributes:
        failures: Requests that failed.
        pictures: Pictures that were classified.
        is_failing: Whether the last request, or the store, failed.
        visits: Events that have ended with a name.
        last: The last of them; None before the first.
    """

    def __init__(
        self,
        api: FrigateApi,
        recognizer: Recognizer,
        labels: Collection[str] = ANIMALS,
        store: VisitStore | None = None,
        unknown: str = "",
        report: Callable[[str], None] = lambda message: None,
    ) -> None:
        self._api, self._recognizer, self._labels = api, recognizer, frozenset(labels)
        self._store, self._unknown, self._report = store, unknown, report
        self._open: dict[str, _OpenEvent] = {}
        self._has_said: bool = False
        self.is_failing: bool = False
        self.failures: int = 0
        self.pictures: int = 0
        self.visits: int = 0
        self.last: NamedEvent | None = None

    def handle(self, event: FrigateEvent) -> NamedEvent | None:
        """Name an event, and write its name if it is new; None if there is nothing to name yet."""
        if event.label not in self._labels:
            return None
        state = self._open.setdefault(event.id, _OpenEvent())
        if len(self._open) > _MAX_OPEN:
            del self._open[next(iter(self._open))]
        if event.kind == "end":
            self._open.pop(event.id, None)
        if not event.false_positive:
            self._look(event, state)
        if not state.tally.count:
            return None
        fingerprint = self._recognizer.bundle.manifest.network.fingerprint
        naming = state.tally.result(fingerprint, self._recognizer.gallery.generation)
        written = self._write_sub_label(event, state, naming)
        self._write_attribute(event, state, naming)
        if event.kind == "end":
            self._save(event, state, naming)
        named = NamedEvent(event, naming, state.tally.count, written)
        if event.kind == "end":
            self.visits, self.last = self.visits + 1, named
        return named

    def _look(self, event: FrigateEvent, state: _OpenEvent) -> None:
        """Classify the event's picture if it is a better one than that of the last message."""
        is_end = event.kind == "end"
        if is_end and state.tally.count:
            return
        if not is_end and (not event.has_snapshot or state.snapshot_time == (event.snapshot_time or 0.0)):
            return
        try:
            # Frigate cuts a snapshot to its object only while the event goes on; a thumbnail always.
            jpeg = self._api.read_thumbnail(event.id) if is_end else self._api.read_crop(event.id)
            image = load_image(jpeg)
            (prediction,) = self._recognizer.classify_batch([image])
        except (FrigateError, ImageError) as error:
            self._fail(str(error))
            return
        self.is_failing = False
        self.pictures += 1
        state.snapshot_time = event.snapshot_time or 0.0
        seconds = event.snapshot_time or event.start
        state.tally.add(prediction)
        time = datetime.fromtimestamp(seconds, timezone.utc)
        state.chooser.offer(lambda: image, None, prediction, seconds, time)

    def _write_sub_label(self, event: FrigateEvent, state: _OpenEvent, naming: Naming) -> bool:
        """Write the sub-label if it is another than before, and remove it from what is unknown now."""
        label = naming.label or self._unknown
        if label == state.written:
            return False
        try:
            self._api.write_sub_label(event.id, label, naming.probability or 0.5)
        except FrigateError as error:
            self._fail(str(error))
            return False
        state.written = label
        return True

    def _write_attribute(self, event: FrigateEvent, state: _OpenEvent, naming: Naming) -> None:
        """Write the name as attribute too, where the user's attribute models know it.

        A model that does not know it would lose its own answer, so nothing is written unless all know it.
        """
        label = naming.label or self._unknown
        if label == state.attribute:
            return
        try:
            if state.attribute_models is None:
                state.attribute_models = self._api.read_attribute_models(event.label)
            models = state.attribute_models
            lacking = sorted(name for name, labels in models.items() if label not in labels)
            if label and lacking:
                self._say_once(
                    f"{label} is no attribute of Frigate's {', '.join(lacking)}: it is a sub-label only"
                )
            attribute = label if models and not lacking else ""
            if attribute != state.attribute:
                self._api.write_attributes(event.id, [attribute] if attribute else [])
                state.attribute = attribute
        except FrigateError as error:
            if error.status in NOT_SUPPORTED:
                self._say_once(f"{error}: names are sub-labels only")
            else:
                self._fail(str(error))

    def _save(self, event: FrigateEvent, state: _OpenEvent, naming: Naming) -> None:
        if self._store is None:
            return
        start = datetime.fromtimestamp(event.start, timezone.utc)
        duration = max(0.0, (event.end or event.start) - event.start)
        pictures = state.chooser.choose(naming.label)
        source = f"frigate {event.camera}"
        try:
            self._store.save(
                Visit(start, duration, source, naming, frames=state.tally.count, pictures=pictures)
            )
        except HmdrnError as error:
            self._fail(str(error))

    def _say_once(self, message: str) -> None:
        if not self._has_said:
            self._report(message)
        self._has_said = True

    def _fail(self, message: str) -> None:
        self.failures += 1
        if not self.is_failing:
            self._report(message)
        self.is_failing = True
