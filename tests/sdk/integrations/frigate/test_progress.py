"""The state of `hmdrn frigate`."""

from __future__ import annotations

from datetime import datetime, timezone
from types import SimpleNamespace

from hmdrn.integrations.frigate.event_namer import NamedEvent
from hmdrn.integrations.frigate.events import FrigateEvent
from hmdrn.integrations.frigate.progress import FrigateProgress
from hmdrn.visits.visit import Naming
from hmdrn.watching.status import assess_health


def test_it_is_healthy_without_events_and_says_when_frigate_or_the_broker_is_away():
    recognizer = SimpleNamespace(gallery=SimpleNamespace(generation=7))
    namer = SimpleNamespace(pictures=0, visits=0, last=None, is_failing=False)
    events = SimpleNamespace(is_connected=True)
    progress = FrigateProgress("http://frigate:5000", recognizer, namer, events)
    progress.step(False)
    status = progress.status()
    assert (status.source, status.generation, status.frame_age) == ("http://frigate:5000", 7, None)
    assert assess_health(status).state == "ok"

    event = FrigateEvent("end", "1", "door", "bird", True, 5.0, 0.0, 1e9, False)
    namer.pictures, namer.visits, namer.last = 3, 1, NamedEvent(event, Naming("Jay"), 3, True)
    progress.step(True)
    status = progress.status()
    assert (status.read, status.classified, status.diary.visits, status.diary.last) == (1, 3, 1, "Jay")
    assert status.diary.last_end == datetime.fromtimestamp(1e9, timezone.utc)
    assert status.frame_age < 10

    events.is_connected = False
    health = assess_health(progress.status())
    assert (health.is_ok, health.state) == (True, "source lost")
    events.is_connected, namer.is_failing = True, True
    assert assess_health(progress.status()).state == "source lost"
