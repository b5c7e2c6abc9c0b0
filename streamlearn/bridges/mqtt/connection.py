"""The connection to the broker: its session, TLS, last will and reconnects.

paho-mqtt runs the network in a thread of its own. Messages and changes of the connection come to ``inbox`` in
order. The bridge's thread reads them, and acknowledges messages when they are durable (``manual_ack``).
"""

from __future__ import annotations

import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from streamlearn.bridges.mqtt.messages import Connected, Message
from streamlearn.bridges.mqtt.settings import Broker, Settings
from streamlearn.errors import StartupError
from streamlearn.logs import get_logger

RECONNECT_SECONDS: Final = (1, 30)
DROPPED_BEYOND: Final = 10_000
"""Waiting messages beyond which messages without an acknowledgement (QoS 0) are dropped."""
_STOP_SECONDS: Final = 2.0

log = get_logger(__name__)


class BrokerConnection:
    """A connection to a broker.

    Parameters
    ----------
    settings
        The configuration of the bridge.
    filters
        What to subscribe to: filters, and whether retained messages are wanted.
    changed
        Called in paho's thread after `inbox` has grown.
    """

    def __init__(
        self, settings: Settings, filters: Sequence[tuple[str, bool]], changed: Callable[[], None]
    ) -> None:
        self.inbox: deque[Message | Connected] = deque()
        self.dropped = 0
        """Messages without an acknowledgement that were dropped because too many waited."""
        self.ready = threading.Event()
        """Set when the subscriptions are in effect, or `refusal` is set."""
        self.refusal: str | None = None
        self._settings, self._filters, self._changed = settings, filters, changed
        self._generation = 0
        self._lock = threading.Lock()  # guards the generation while an acknowledgement is sent
        self._client = self._new_client(settings.broker)

    def start(self, stopping: threading.Event) -> None:
        """Connect; try again until it works or ``stopping`` is set. Raise `StartupError` if it never can."""
        broker = self._settings.broker
        logged = False
        while not stopping.is_set():
            try:
                self._connect(broker)
                break
            except ssl.SSLError as error:
                raise StartupError(f"TLS with the broker {broker.address} failed: {_reason(error)}") from None
            except (OSError, ValueError) as error:
                if not logged:
                    log.warning("no broker; trying again", broker=broker.address, reason=_reason(error))
                logged = True
                stopping.wait(RECONNECT_SECONDS[0])
        self._client.loop_start()

    def publish(self, topic: str, payload: str | bytes, qos: int = 1, retain: bool = False) -> None:
        """Publish a message. While there is no connection, it waits in memory if its QoS is 1."""
        self._client.publish(topic, payload, qos, retain)

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
        self._client.disconnect()
        self._client.loop_stop()

    # -------------------------------------------------------------------------------------------- connecting

    def _new_client(self, broker: Broker) -> paho.Client:
        old = broker.protocol == "3.1.1"
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=broker.client_id,
            clean_session=False if old else None,
            protocol=paho.MQTTv311 if old else paho.MQTTv5,
            manual_ack=True,
        )
        client.suppress_exceptions = True
        client.max_queued_messages_set(DROPPED_BEYOND)
        client.reconnect_delay_set(*RECONNECT_SECONDS)
        client.will_set(self._settings.status_topic, "offline", 1, True)
        if broker.username is not None:
            client.username_pw_set(broker.username, broker.password())
        if broker.tls is not None:
            client.tls_set_context(_tls_context(broker))
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        return client

    def _connect(self, broker: Broker) -> None:
        if broker.protocol == "3.1.1":
            self._client.connect(broker.host, broker.port, broker.keepalive_seconds)
            return
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = broker.session_seconds
        properties.ReceiveMaximum = broker.unacknowledged
        properties.MaximumPacketSize = broker.message_bytes + 1024
        self._client.connect(
            broker.host, broker.port, broker.keepalive_seconds, clean_start=False, properties=properties
        )

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
        if not self._filters:
            self.ready.set()
        elif self._settings.broker.protocol == "3.1.1":
            client.subscribe([(each, 1) for each, _ in self._filters])
        else:
            never, new = SubscribeOptions.RETAIN_DO_NOT_SEND, SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE
            client.subscribe(
                [
                    (each, SubscribeOptions(qos=1, retainHandling=new if retained else never))
                    for each, retained in self._filters
                ]
            )
        client.publish(self._settings.status_topic, "online", 1, True)

    def _on_disconnect(self, _: paho.Client, __: Any, ___: Any, reason: Any, ____: Any) -> None:
        with self._lock:
            self._generation += 1
        if reason.is_failure:
            log.warning("the connection to the broker is lost", reason=str(reason))

    def _on_subscribe(self, _: paho.Client, __: Any, ___: int, reasons: list[Any], ____: Any) -> None:
        for (topic, _retained), reason in zip(self._filters, reasons, strict=False):
            if reason.is_failure:
                log.error("the broker refuses a subscription", topic=topic, reason=str(reason))
                self.refusal = f"subscription to {topic}: {reason}"
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
            )
        )
        self._changed()


def _tls_context(broker: Broker) -> ssl.SSLContext:
    """Return the context of the connection. Raise `StartupError` for a file that is not what it should be."""
    tls = broker.tls
    assert tls is not None
    context = ssl.create_default_context(cafile=None)
    try:
        if tls.ca is not None:
            context = ssl.create_default_context(cafile=str(tls.ca))
        if tls.certificate is not None and tls.private_key is not None:
            context.load_cert_chain(tls.certificate, tls.private_key)
    except (OSError, ValueError) as error:
        raise StartupError(
            f"can't use the files of [broker.tls]: {_reason(error)}; they must be certificates and a private"
            " key in PEM form, and the certificate and the private key belong together"
        ) from None
    context.check_hostname = tls.check_hostname
    return context


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
