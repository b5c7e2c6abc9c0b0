"""The connection to the broker: its session, TLS, last will and reconnects.

paho-mqtt runs the network in a thread of its own. Messages and changes of the connection come to ``inbox`` in
order. The bridge's thread reads them, and acknowledges messages when they are durable (``manual_ack``).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final
from zlib import crc32

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from streamlearn.bridges.mqtt.broker_client import connect, new_client
from streamlearn.bridges.mqtt.messages import Connected, Message
from streamlearn.bridges.mqtt.settings import Settings
from streamlearn.logs import get_logger

DROPPED_BEYOND: Final = 10_000
"""Waiting messages beyond which messages without an acknowledgement (QoS 0) are dropped."""
_STOP_SECONDS: Final = 10.0
"""A broker that saves its sessions on a slow disk takes seconds for the last acknowledgements."""
_IDENTIFIERS: Final = 2**28

log = get_logger(__name__)


class BrokerConnection:
    """A connection to a broker.

    Parameters
    ----------
    settings
        The configuration of the bridge.
    filters
        What to subscribe to: filters, and whether retained messages are wanted. A broker may send a message
        once for each filter that matches, so each has an identifier.
    changed
        Called in paho's thread after `inbox` has grown.
    """

    def __init__(self, settings: Settings, filters: Mapping[str, bool], changed: Callable[[], None]) -> None:
        self.inbox: deque[Message | Connected] = deque()
        self.dropped = 0
        """Messages without an acknowledgement that were dropped because too many waited."""
        self.ready = threading.Event()
        """Set when the subscriptions are in effect, or `refusal` is set."""
        self.refusal: str | None = None
        self._settings, self._filters, self._changed = settings, dict(filters), changed
        self._subscribing: dict[int | None, str] = {}  # requests without an answer
        self._generation = 0
        self._lock = threading.Lock()  # guards the generation while an acknowledgement is sent
        self._client = new_client(settings.broker, settings.broker.client_id, session=True)
        self._client.max_queued_messages_set(DROPPED_BEYOND)
        self._client.will_set(settings.status_topic, "offline", 1, True)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message

    def start(self, stopping: threading.Event) -> None:
        """Connect; try again until it works or ``stopping`` is set. Raise `StartupError` if it never can."""
        connect(self._client, self._settings, stopping)
        self._client.loop_start()

    def publish(self, topic: str, payload: str | bytes, qos: int = 1, retain: bool = False) -> None:
        """Publish a message. While there is no connection, it waits in memory if its QoS is 1."""
        self._client.publish(topic, payload, qos, retain)

    def subscribe(self, topic: str) -> None:
        """Subscribe to one more filter, now or with the next connection."""
        if topic not in self._filters:
            self._filters[topic] = False
            if self._client.is_connected():
                self._subscribe(topic, False)

    def acknowledge(self, generation: int, mid: int) -> None:
        """Acknowledge a message of the current connection. After a new one, the broker sends it again."""
        with self._lock:
            if generation == self._generation:
                self._client.ack(mid, 1)

    def close(self) -> None:
        """Publish that the bridge is offline, and disconnect. The broker keeps the session."""
        if self._client.is_connected():
            offline = self._client.publish(self._settings.status_topic, "offline", 1, True)
            deadline = time.monotonic() + _STOP_SECONDS
            while not offline.is_published() and time.monotonic() < deadline:
                time.sleep(0.01)
            if not offline.is_published():
                log.warning("the broker is slow; it may send the last messages again after the next start")
        self._client.disconnect()
        self._client.loop_stop()

    # ------------------------------------------------------------------------------------- in paho's thread

    def _on_connect(self, client: paho.Client, _: Any, flags: Any, reason: Any, __: Any) -> None:
        if reason.is_failure:
            log.error(
                "the broker refuses the connection", broker=self._settings.broker.address, reason=str(reason)
            )
            self.refusal = str(reason)
            self.ready.set()
            return
        with self._lock:
            self._generation += 1
        self.inbox.append(Connected(flags.session_present))
        self._changed()
        log.info("connected to the broker", same_session=flags.session_present)
        client.publish(self._settings.status_topic, "online", 1, True)
        self._subscribing = {self._subscribe(*each): each[0] for each in list(self._filters.items())}
        if not self._subscribing:
            self.ready.set()

    def _subscribe(self, topic: str, retained: bool) -> int | None:
        """Subscribe to a filter; return the identifier of the request."""
        if self._settings.broker.protocol == "3.1.1":
            return self._client.subscribe(topic, 1)[1]
        never, new = SubscribeOptions.RETAIN_DO_NOT_SEND, SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE
        properties = Properties(PacketTypes.SUBSCRIBE)  # type: ignore[no-untyped-call]
        properties.SubscriptionIdentifier = subscription_of(topic)
        options = SubscribeOptions(qos=1, retainHandling=new if retained else never)
        return self._client.subscribe(topic, options=options, properties=properties)[1]

    def _on_disconnect(self, _: paho.Client, __: Any, ___: Any, reason: Any, ____: Any) -> None:
        with self._lock:
            self._generation += 1
        if reason.is_failure:
            log.warning("the connection to the broker is lost", reason=str(reason))

    def _on_subscribe(self, _: paho.Client, __: Any, mid: int, reasons: list[Any], ___: Any) -> None:
        topic = self._subscribing.pop(mid, None)
        if reasons[0].is_failure:
            log.error("the broker refuses a subscription", topic=topic, reason=str(reasons[0]))
            self.refusal = f"subscription to {topic}: {reasons[0]}"
            self.ready.set()
        if not self._subscribing:
            self.ready.set()

    def _on_message(self, _: paho.Client, __: Any, message: paho.MQTTMessage) -> None:
        if message.qos == 0 and len(self.inbox) >= DROPPED_BEYOND:
            self.dropped += 1
            return
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""
        self.inbox.append(
            Message(
                self._generation,
                topic,
                bytes(message.payload),
                message.qos,
                message.mid,
                message.dup,
                message.retain,
                tuple(getattr(message.properties, "SubscriptionIdentifier", ())),
            )
        )
        self._changed()


def subscription_of(topic: str) -> int:
    """Return the identifier of the subscription to a filter: the same after each start."""
    return crc32(topic.encode()) % (_IDENTIFIERS - 1) + 1
