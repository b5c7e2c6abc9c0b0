"""Reads retained messages of the bridge's own topics, before its session begins.

They are the state that the bridge keeps at the broker: births of Sparkplug nodes, and alarms that are on. A
connection with a session of its own is needed, because the messages of the bridge's session come first.
"""

from __future__ import annotations

import secrets
import threading
from typing import Any, Final

import paho.mqtt.client as paho

from streamlearn.bridges.mqtt.broker_client import connect, new_client
from streamlearn.bridges.mqtt.settings import Settings
from streamlearn.errors import StartupError
from streamlearn.logs import get_logger

SECONDS: Final = 10.0

log = get_logger(__name__)


def read_retained(settings: Settings, filters: list[str], stopping: threading.Event) -> dict[str, bytes]:
    """Return the retained messages of these filters. Raise `StartupError` if the broker refuses."""
    found: dict[str, bytes] = {}
    marker = f"{settings.own_topic}/marker/{secrets.token_hex(8)}"
    complete, refused = threading.Event(), []

    def connected(client: paho.Client, _: Any, __: Any, reason: Any, ___: Any) -> None:
        if reason.is_failure:
            refused.append(str(reason))
            complete.set()
            return
        client.subscribe([(each, 1) for each in (*filters, marker)])
        client.publish(marker, b"", 1)  # comes after the retained messages

    def received(_: paho.Client, __: Any, message: paho.MQTTMessage) -> None:
        if message.topic == marker:
            complete.set()
        elif message.retain:
            found[message.topic] = bytes(message.payload)

    client = new_client(settings.broker, f"{settings.broker.client_id}-{secrets.token_hex(4)}", session=False)
    client.on_connect, client.on_message = connected, received
    connect(client, settings, stopping, session=False)
    client.loop_start()
    if not complete.wait(SECONDS):
        log.warning("the broker returns no message: what it retains is unknown", topic=marker)
    client.disconnect()
    client.loop_stop()
    if refused:
        raise StartupError(settings.refusal(refused[0]))
    return found
