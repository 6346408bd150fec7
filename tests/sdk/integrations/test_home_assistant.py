"""Visits as a device of Home Assistant: what its MQTT discovery asks for, through a real broker."""

from __future__ import annotations

import json

import pytest
from mqtt_broker import Subscriber, running_broker
from visit_examples import make_visit

from hmdrn.integrations.home_assistant import HomeAssistantDevice, make_identifier
from hmdrn.visits.store import VisitStore
from hmdrn.watching.mqtt import MqttPublisher
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.specimens.traits import name_species


class Collector:
    """Stands before a broker."""

    def __init__(self, topic="garden/camera 7"):
        self.topic, self.messages = topic, {}

    def subtopic(self, name):
        return f"{self.topic}/{name}"

    def retain(self, topic, payload):
        self.messages[topic] = payload


@pytest.fixture
def store(tmp_path):
    with VisitStore(tmp_path / "a.visits", create=True) as opened:
        yield opened


def configs(messages):
    return {
        topic.split("/")[3]: json.loads(payload)
        for topic, payload in messages.items()
        if topic.startswith("homeassistant/")
    }


def test_a_visit_is_the_last_one_with_picture_and_counts(store):
    out = Collector()
    device = HomeAssistantDevice(out, store)
    for hours in range(3):
        device.publish(store.save(make_visit(hours)))
    unknown = store.save(make_visit(5, None))
    device.publish(unknown)
    last = json.loads(out.messages["garden/camera 7/last_visit"])
    assert (last["species"], last["id"], last["label"]) == ("unknown", unknown.id, None)
    assert out.messages["garden/camera 7/image"] == store.read_picture(unknown.pictures[0].id)
    jays = json.loads(out.messages[f"garden/camera 7/species/{make_identifier('Jay')}"])
    assert jays == {"species": "Jay", "visits": 3, "last": "2026-05-01T10:30:00.000Z"}


def test_discovery_has_what_home_assistant_requires(store):
    out = Collector()
    device = HomeAssistantDevice(out, store)
    assert set(configs(out.messages)) == {"last_visit", "image"}
    device.publish(store.save(make_visit(label="Größte Möwe")))
    announced = configs(out.messages)
    assert len(announced) == 3
    assert len({config["unique_id"] for config in announced.values()}) == 3
    for topic in out.messages:
        assert topic.isascii()
        assert not set(topic) & set("#+")
    for config in announced.values():
        assert config["availability_topic"] == "garden/camera 7/availability"
        assert config["device"]["identifiers"] == announced["image"]["device"]["identifiers"]
        topics = [config.get(key) for key in ("state_topic", "image_topic")]
        assert any(topic in out.messages for topic in topics)
    assert announced["image"]["content_type"] == "image/jpeg"
    topic = next(topic for topic in out.messages if topic.endswith("/image/config"))
    assert topic.startswith("homeassistant/image/hmdrn_")


def test_two_cameras_are_two_devices_and_names_stay_apart():
    names = ["Jay", "jay", "Größte Möwe", "Gr te M we", "鳥", "a/b"]
    assert len({make_identifier(name) for name in names}) == len(names)
    assert all(make_identifier(name).isascii() and make_identifier(name) for name in names)


def test_a_subscriber_that_comes_later_gets_everything(store):
    with running_broker() as broker:
        publisher = MqttPublisher(f"mqtt://127.0.0.1:{broker.port}/garden")
        device = HomeAssistantDevice(publisher, store)
        device.publish(store.save(make_visit()))
        assert publisher.wait(10)
        subscriber = Subscriber(broker.port)
        messages = subscriber.take(7)
        assert {topic for topic in messages if topic.startswith("garden/")} == {
            "garden/availability",
            "garden/last_visit",
            "garden/image",
            f"garden/species/{make_identifier('Jay')}",
        }
        assert all(retained for _, retained in messages.values())
        assert messages["garden/image"][0].startswith(b"\xff\xd8")
        publisher.close()
        subscriber.close()


def test_the_command_announces_the_visits_of_a_species(hmdrn, specimens, gallery, tmp_path):
    species = name_species(0)
    with running_broker() as broker:
        subscriber = Subscriber(broker.port, "garden/#")
        address = f"mqtt://127.0.0.1:{broker.port}/garden"
        inputs = ("watch", "default", "-s", specimens / species, "-g", gallery, "--max-frames", 1)
        done = hmdrn(*inputs, "--visits", tmp_path / "a.visits", "--mqtt", address, "--home-assistant")
        assert done.code == 0, done
        messages = subscriber.take(7)
        subscriber.close()
    assert json.loads(messages["garden/last_visit"][0])["species"] == species
    assert json.loads(messages[f"garden/species/{make_identifier(species)}"][0])["visits"] == 1
    assert messages["garden/image"][0].startswith(b"\xff\xd8")
    assert messages["garden/availability"][0] == b"offline"


def test_a_prefix_with_wildcards_is_refused(store):
    with pytest.raises(HmdrnError, match="without wildcards"):
        HomeAssistantDevice(Collector(), store, "home/#")


@pytest.mark.parametrize("option", ["--home-assistant", "--notify=json://localhost"])
def test_the_command_needs_a_diary_and_a_broker(hmdrn, tmp_path, option):
    import hmdrn as sdk
    from hmdrn_runtime.specimens.drawing import draw_specimens

    birds = sdk.load("default", threads=1)
    birds.enroll("Jay", list(draw_specimens((1,), 2, size=96)[0]))
    birds.save_gallery(tmp_path / "a.gallery")
    (tmp_path / "card").mkdir()
    arguments = ("watch", "default", "-s", tmp_path / "card", "-g", tmp_path / "a.gallery", option)
    done = hmdrn(*arguments)
    assert (done.code, "give --visits FILE too" in done.err) == (2, True), done
    if option == "--home-assistant":
        done = hmdrn(*arguments, "--visits", tmp_path / "a.visits")
        assert (done.code, "give --mqtt too" in done.err) == (2, True), done
