"""Events to a real broker, which runs in a thread."""

from __future__ import annotations

import json
import queue
import socket
import threading
import time

import pytest
from mqtt_broker import Subscriber, running_broker
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from hmdrn.watching.mqtt import MqttPublisher
from hmdrn_runtime.errors import HmdrnError

TOPIC = "field/camera 7/events"


class Listener:
    """Another program that has subscribed to the events."""

    def __init__(self, port: int) -> None:
        self.events: queue.Queue[dict] = queue.Queue()
        self.ready = threading.Event()
        self.client = Client(CallbackAPIVersion.VERSION2)
        self.client.on_connect = lambda client, *_: client.subscribe(TOPIC, qos=1)
        self.client.on_subscribe = lambda *_: self.ready.set()
        self.client.on_message = lambda client, data, message: self.events.put(json.loads(message.payload))
        self.client.reconnect_delay_set(1, 1)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert self.ready.wait(10)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def broker():
    with running_broker() as running:
        yield running


@pytest.fixture
def listener(broker):
    listening = Listener(broker.port)
    yield listening
    listening.close()


def address(broker, user=""):
    return f"mqtt://{user}127.0.0.1:{broker.port}/field/camera%207/events"


def test_published_events_arrive_in_order(broker, listener):
    publisher = MqttPublisher(address(broker))
    for number in range(50):
        publisher({"event": "label", "number": number, "label": "Größte Möwe"})
    publisher.close()
    events = [listener.events.get(timeout=10) for _ in range(50)]
    assert [event["number"] for event in events] == list(range(50))
    assert events[0]["label"] == "Größte Möwe"
    assert publisher.lost == 0


def test_watching_publishes_its_events_and_its_summary(hmdrn, site, broker, listener):
    outcome = hmdrn(
        "watch", "default", "--gallery", site.gallery, "--source", site.film, "--mqtt", address(broker)
    )
    assert outcome.code == 0, outcome
    assert outcome.out == ""
    events = [listener.events.get(timeout=10) for _ in range(4)]
    assert [event["event"] for event in events] == ["label"] * 3 + ["summary"]
    assert [event["label"] for event in events[:3]] == site.labels
    assert events[3]["classified"] == 90


def test_events_of_an_outage_are_delivered_after_it(broker):
    publisher = MqttPublisher(address(broker))
    broker.stop()
    for number in range(5):
        publisher({"number": number})
    assert not publisher.wait(0.2)
    broker.start()
    assert publisher.wait(30)
    # A broker that is new knows no subscribers of before.
    listening = Listener(broker.port)
    publisher({"number": 5})
    assert listening.events.get(timeout=10) == {"number": 5}
    listening.close()
    publisher.close()
    assert publisher.lost == 0


def test_undelivered_events_are_counted_and_closing_does_not_wait(broker):
    publisher = MqttPublisher(address(broker))
    broker.stop()
    time.sleep(0.2)
    for number in range(1100):
        publisher({"number": number})
    began = time.monotonic()
    publisher.close()
    assert time.monotonic() - began < 5
    assert publisher.lost >= 100


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("mqtt://127.0.0.1:9/a", "cannot reach the broker"),
        ("mqtt://nowhere.invalid/a", "cannot reach the broker"),
        ("http://127.0.0.1/a", "cannot publish to"),
        ("mqtt://127.0.0.1", "cannot publish to"),
        ("mqtt://127.0.0.1:1883/a/#", "cannot publish to"),
        ("mqtt://127.0.0.1:99999/a", "cannot publish to"),
        ("mqtt://keeper:secret@127.0.0.1:9/a", "cannot reach the broker"),
        ("mqtt://keeper:a/secret@127.0.0.1:9/a", "cannot publish to"),
        ("mqtt://keeper:a#secret@127.0.0.1:9/a", "in a password write @ as %40"),
        ("mqtt://keeper:a secret@127.0.0.1:9/a", "cannot reach the broker"),
        ("mqtt://127.0.0.1:9/a?password=secret", "cannot publish to"),
    ],
)
def test_a_missing_broker_is_an_error_without_its_password(wrong, words):
    with pytest.raises(HmdrnError, match=words) as refusal:
        MqttPublisher(wrong)
    assert "secret" not in str(refusal.value)


def test_the_broker_knows_whether_watching_runs_also_after_a_crash(broker):
    publisher = MqttPublisher(address(broker))
    topic = f"{TOPIC}/availability"
    subscriber = Subscriber(broker.port, topic)
    assert subscriber.take(1) == {topic: (b"online", True)}
    publisher.close()
    assert subscriber.take(1)[topic][0] == b"offline"
    crashing = MqttPublisher(address(broker))
    assert subscriber.take(1)[topic][0] == b"online"
    crashing._client.socket().shutdown(socket.SHUT_RDWR)  # the broker loses it without a farewell
    assert subscriber.take(1)[topic][0] == b"offline"
    crashing.close()
    subscriber.close()
