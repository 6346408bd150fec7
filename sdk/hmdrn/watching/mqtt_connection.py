"""Connections to an MQTT broker."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from hmdrn_runtime.credentials import mask_secrets
from hmdrn_runtime.errors import HmdrnError, MissingDependencyError
from hmdrn_runtime.messages import format_error

AT_LEAST_ONCE = 1
"""MQTT's quality of service that all messages have."""
CONNECT_TIMEOUT = 5.0
"""Seconds for a broker to answer at first."""
_PORTS = {"mqtt": 1883, "mqtts": 8883}
_MAX_DELAY = 30
"""Most seconds between two attempts to reconnect; the first is after one, then twice as long each."""


def make_client(address: str, purpose: str) -> tuple[Any, SplitResult]:
    """Return paho's client for an address, not yet connected, and the address in parts.

    Args:
        address: mqtt://[user:password@]host[:port]/topic, or mqtts:// for TLS.
        purpose: Words for the message if paho-mqtt is missing.

    Raises:
        HmdrnError: The address is invalid.
        MissingDependencyError: paho-mqtt is not installed.
    """
    url = _parse_address(address)
    try:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion
    except ImportError as error:
        raise MissingDependencyError("paho-mqtt", purpose, "mqtt") from error
    client = Client(CallbackAPIVersion.VERSION2)
    client.connect_timeout = CONNECT_TIMEOUT
    client.reconnect_delay_set(1, _MAX_DELAY)
    if url.username:
        client.username_pw_set(unquote(url.username), unquote(url.password or "") or None)
    if url.scheme == "mqtts":
        client.tls_set()
    return client, url


def connect_client(client: Any, address: str, url: SplitResult, on_connected: Callable[[], None]) -> None:
    """Connect a client, which from then on reconnects by itself.

    Args:
        client: The client.
        address: Its address, for messages.
        url: The same in parts.
        on_connected: Called in the client's thread, at each connection.

    Raises:
        HmdrnError: The broker does not accept the connection.
    """
    name, answered, refusals = mask_secrets(address, is_address=True), threading.Event(), [""]

    def answer(client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        refusals[0] = str(reason) if reason.is_failure else ""
        if not reason.is_failure:
            on_connected()
        answered.set()

    client.on_connect = answer
    try:
        client.connect(url.hostname or "", url.port or _PORTS[url.scheme])
    except (OSError, ValueError) as error:
        raise HmdrnError(f"cannot reach the broker {name} ({format_error(error)}): is it up?") from error
    client.loop_start()
    if not answered.wait(CONNECT_TIMEOUT) or refusals[0]:
        client.disconnect()
        cause = refusals[0] or f"no answer within {CONNECT_TIMEOUT:g} s"
        raise HmdrnError(
            f"the broker {name} does not accept the connection ({cause}): check user and password"
        )


def _parse_address(address: str) -> SplitResult:
    try:
        url = urlsplit(address)
        valid = url.scheme in _PORTS and url.hostname and not url.query
        _ = url.port  # raises ValueError out of range
    except ValueError:
        url, valid = urlsplit(""), False
    topic = unquote(url.path.lstrip("/"))
    if not valid or not topic or "#" in address or re.search(r"[#+\0]", topic):
        raise HmdrnError(
            f"cannot publish to {mask_secrets(address, is_address=True)!r}: give mqtt://host/topic or "
            "mqtts://user:password@host:8883/topic, without wildcards; in a password write @ as %40, "
            "/ as %2F, # as %23, % as %25"
        )
    return url
