"""A real MQTT broker, which runs in a thread, and a program that listens to it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import socket
import threading
from collections.abc import Iterator

from amqtt.broker import Broker
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion


class RunningBroker:
    """A broker that can be stopped and started on one port."""

    def __init__(self) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = listener.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self.start()

    def start(self) -> None:
        config = {
            "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{self.port}"}},
            "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
        }
        self._broker = self._run(self._make(config))
        self._run(self._broker.start())

    def stop(self) -> None:
        self._run(self._broker.shutdown())

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _make(self, config):
        return Broker(config)

    def _run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)


class Subscriber:
    """A program that receives all messages below a topic: (topic, payload, whether retained)."""

    def __init__(self, port: int, topic: str = "#") -> None:
        self.messages: queue.Queue[tuple[str, bytes, bool]] = queue.Queue()
        self.ready = threading.Event()
        self.client = Client(CallbackAPIVersion.VERSION2)
        self.client.on_connect = lambda client, *_: client.subscribe(topic, qos=1)
        self.client.on_subscribe = lambda *_: self.ready.set()
        self.client.on_message = lambda client, data, message: self.messages.put(
            (message.topic, message.payload, bool(message.retain))
        )
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert self.ready.wait(10)

    def take(self, count: int) -> dict[str, tuple[bytes, bool]]:
        """Return the next messages by topic, the last one of each."""
        received = [self.messages.get(timeout=10) for _ in range(count)]
        return {topic: (payload, retained) for topic, payload, retained in received}

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@contextlib.contextmanager
def running_broker() -> Iterator[RunningBroker]:
    """Run a broker without its log."""
    logging.disable(logging.CRITICAL)
    running = RunningBroker()
    try:
        yield running
    finally:
        running.close()
        logging.disable(logging.NOTSET)
