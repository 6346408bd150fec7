"""Options of `hmdrn watch` that keep a diary, and pass its visits on."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import click

from hmdrn.cli.messages import print_message
from hmdrn.cli.options import PATH, Decorator, option
from hmdrn.cli.output_paths import check_output_path
from hmdrn.cli.parameters import FiniteRange
from hmdrn.visits.clip_recorder import CLIP_MARGIN, MAX_MARGIN
from hmdrn.visits.recorder import VisitRecorder
from hmdrn.visits.store import MAX_MEGABYTES, VisitStore
from hmdrn.visits.visit import Visit
from hmdrn.watching.mqtt import MqttPublisher
from hmdrn.watching.results import WatchResult
from hmdrn.watching.sources import Source
from hmdrn.watching.status import DiaryStatus
from hmdrn_runtime.recognizer import Recognizer

clips_option: Decorator = option(
    "--clips",
    type=FiniteRange(0, MAX_MARGIN),
    metavar="S",
    is_flag=False,
    flag_value=str(CLIP_MARGIN),
    help="With --visits: keep a clip of each visit, of 30 seconds at most, with S seconds before and after "
    f"it, {CLIP_MARGIN:g} if left out. They take at most half of the diary.",
)


@dataclass(frozen=True)
class VisitOptions:
    """Values of the options.

    Attributes:
        visits: The diary's file; None for no diary.
        visits_mb: Most megabytes of it.
        visits_days: Age at which visits are deleted; None keeps them.
        clips: Seconds before and after a visit that its clip has; None for no clips.
        home_assistant: Topic that Home Assistant looks for devices at; None to announce none.
        notify: Addresses of Apprise.
        notify_every: Seconds between two notifications of one species.
    """

    visits: Path | None
    visits_mb: float
    visits_days: float | None
    clips: float | None
    home_assistant: str | None
    notify: tuple[str, ...]
    notify_every: float


def visit_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of `VisitOptions`, which the function receives as `diary`."""

    @functools.wraps(function)
    def call(*arguments: Any, **values: Any) -> Any:
        options = VisitOptions(**{field.name: values.pop(field.name) for field in fields(VisitOptions)})
        return function(*arguments, diary=options, **values)

    decorators = (
        option(
            "--visits",
            type=PATH,
            help="Diary to write: every visit with its pictures; see `hmdrn visits`.",
        ),
        option(
            "--visits-mb",
            type=FiniteRange(1),
            default=MAX_MEGABYTES,
            metavar="MB",
            help="Most megabytes of the diary; the oldest visits lose their pictures first.",
        ),
        option(
            "--visits-days",
            type=FiniteRange(0, min_open=True),
            metavar="DAYS",
            help="Age at which visits are deleted.  [default: never]",
        ),
        clips_option,
        option(
            "--home-assistant",
            metavar="PREFIX",
            is_flag=False,
            flag_value="homeassistant",
            help="With --visits and --mqtt: announce the visits to Home Assistant, by MQTT discovery. PREFIX "
            "is its discovery topic, homeassistant if left out.",
        ),
        option(
            "--notify",
            metavar="URL",
            multiple=True,
            help="With --visits: send each visit with its picture to an address of Apprise; repeatable.",
        ),
        option(
            "--notify-every",
            type=FiniteRange(0),
            default=300.0,
            metavar="S",
            help="Seconds between two notifications of one species.",
        ),
    )
    decorated: Callable[..., Any] = call
    for decorate in reversed(decorators):
        decorated = decorate(decorated)
    return decorated


class Diary:
    """Records visits, and passes each that has ended on.

    Attributes:
        is_ending: Whether the last visits, and their clips, are being completed.
    """

    def __init__(self, recorder: VisitRecorder | None, receivers: list[Callable[[Visit], None]]) -> None:
        self._recorder, self._receivers = recorder, receivers
        self._is_closed = False
        self.is_ending: bool = False

    def status(self) -> DiaryStatus | None:
        """Return the state of the diary; None without one."""
        return None if self._recorder is None else self._recorder.status()

    def add(self, result: WatchResult) -> None:
        """Record a frame."""
        if self._recorder is not None:
            self._pass_on(self._recorder.add(result))

    def end_pause(self) -> None:
        """End the visits if no frame has come for long."""
        if self._recorder is not None:
            self._pass_on(self._recorder.end_pause())

    def close(self) -> None:
        """End all visits, and wait for their clips."""
        if self._recorder is None:
            return
        self.is_ending = True
        self._pass_on(self._recorder.close())
        missing = self._recorder.missing_clips
        if missing and not self._is_closed:
            print_message(
                f"{missing} visit{'s' * (missing != 1)} without a clip: encoding was too slow, or there was "
                "no room on the disk"
            )
        self._is_closed = True

    def _pass_on(self, visits: Iterable[Visit]) -> None:
        for visit in visits:
            if visit.id:  # else it waits for room on the disk
                for receive in self._receivers:
                    receive(visit)


def check_clips(clips: float | None, source: Source | None) -> None:
    """Check that a source has the frames that clips are made of.

    Raises:
        click.UsageError: It is missing, or a folder of photos.
    """
    if clips is not None and (source is None or source.kind == "photos"):
        raise click.UsageError("--clips needs a camera or a film: photos of a folder have no clips")


def open_diary(
    options: VisitOptions,
    recognizer: Recognizer,
    source: Source,
    publisher: MqttPublisher | None,
    gallery: Path,
    every_frame: bool | None,
    stack: contextlib.ExitStack,
) -> Diary:
    """Open the diary that the options ask for; `stack` closes what it opens.

    Args:
        options: Those of the visits.
        recognizer: Names them.
        source: The source.
        publisher: Publishes them too, for Home Assistant.
        gallery: The gallery, which the diary must not replace.
        every_frame: As for `watch`.
        stack: Closes the diary.

    Raises:
        HmdrnError: The file cannot be opened, or an address is wrong.
    """
    if options.visits is None:
        if options.notify or options.home_assistant is not None or options.clips is not None:
            raise click.UsageError(
                "--clips, --notify and --home-assistant are about visits: give --visits FILE too"
            )
        return Diary(None, [])
    if options.home_assistant is not None and publisher is None:
        raise click.UsageError("--home-assistant needs a broker: give --mqtt too")
    check_clips(options.clips, source)
    inputs = [gallery, *filter(None, [source.path])]
    path = check_output_path(options.visits, "visits", inputs)
    store = stack.enter_context(VisitStore(path, True, options.visits_mb, options.visits_days))
    receivers: list[Callable[[Visit], None]] = []
    if options.home_assistant is not None and publisher is not None:
        from hmdrn.integrations.home_assistant import HomeAssistantDevice

        receivers.append(HomeAssistantDevice(publisher, store, options.home_assistant).publish)
    if options.notify:
        from hmdrn.integrations.notifications import Notifier

        notifier = Notifier(options.notify, store, options.notify_every, print_message)
        stack.callback(notifier.close)
        receivers.append(notifier.publish)
    recorder = VisitRecorder(
        store, recognizer, source.name, source.live, print_message, options.clips, every_frame is not False
    )
    diary = Diary(recorder, receivers)
    stack.callback(diary.close)
    return diary
