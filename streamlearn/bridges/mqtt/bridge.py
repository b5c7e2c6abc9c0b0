"""The bridge: the loop that carries messages from the broker to the daemon."""

from __future__ import annotations

import signal
import sys
import threading
import time
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from streamlearn.bridges.counters import Counters
from streamlearn.bridges.delivery import Delivery
from streamlearn.bridges.inputs import Input
from streamlearn.bridges.models import Models, Stopped
from streamlearn.bridges.mqtt.acknowledgements import Acknowledgements, Receipt
from streamlearn.bridges.mqtt.connection import BrokerConnection
from streamlearn.bridges.mqtt.homeassistant import HomeAssistantIntake
from streamlearn.bridges.mqtt.homie import HomieIntake
from streamlearn.bridges.mqtt.intake import Intake
from streamlearn.bridges.mqtt.messages import Connected, Message
from streamlearn.bridges.mqtt.outgoing import Outgoing
from streamlearn.bridges.mqtt.retained import read_retained
from streamlearn.bridges.mqtt.settings import Settings
from streamlearn.errors import StartupError
from streamlearn.logs import get_logger
from streamlearn_client import Client
from streamlearn_client.errors import StreamlearnError
from streamlearn_client.keys import client_keys

if TYPE_CHECKING:
    from streamlearn.bridges.mqtt.sparkplug import Nodes, SparkplugIntake

BATCH: Final = 256
"""Messages that are read before samples are sent."""
PENDING: Final = 10_000
"""Parcels without an acknowledgement of the daemon beyond which messages wait in the inbox."""
TURN_SECONDS: Final = 1.0

log = get_logger(__name__)


class Bridge:
    """A bridge between one broker and one daemon.

    Parameters
    ----------
    settings
        The configuration. Its daemon has an endpoint.
    """

    def __init__(self, settings: Settings) -> None:
        daemon = settings.daemon
        assert daemon.endpoint is not None
        self._settings = settings
        self._stopping = threading.Event()
        self.counters = Counters()
        self.client = Client(
            daemon.endpoint, timeout=daemon.timeout, server_key=daemon.server_key, key_file=daemon.key_file
        )
        self.models = Models(self.client, settings.template, self._stopping)
        keys = client_keys(daemon.server_key, None, daemon.key_file)
        self.delivery = Delivery(daemon.endpoint, keys, self.models.position, self._refused)
        self.nodes: Nodes | None = None
        """The Sparkplug nodes, if an input needs them."""
        self.intakes = [self._intake(number, each) for number, each in enumerate(settings.input)]
        filters: dict[str, bool] = {}
        for each in self.intakes:
            filters[each.filter] = filters.get(each.filter, False) or each.wants_retained
        self.broker = BrokerConnection(settings, filters, self.delivery.wake)
        self.acknowledgements = Acknowledgements(self.broker.acknowledge)
        self.outgoing = Outgoing(settings, self.client, self.broker.publish, self._stopping)

    def _intake(self, number: int, given: Input) -> Intake | SparkplugIntake:
        parts = given, f"input {number}: {given.topic}", self.models, self.delivery, self.counters
        if given.payload == "homie":
            return HomieIntake(*parts, self._silence)
        if given.payload == "homeassistant":
            return HomeAssistantIntake(*parts, self._subscribe)
        if given.payload != "sparkplug":
            return Intake(*parts)
        from streamlearn.bridges.mqtt.sparkplug import Nodes, SparkplugIntake

        if self.nodes is None:
            self.nodes = Nodes(self._settings.own_topic, self._publish)
        return SparkplugIntake(*parts, self.nodes, self._silence)

    def _restore(self) -> None:
        """Read what the broker retains of the time before the start."""
        parts: list[Intake | SparkplugIntake | Outgoing] = [*self.intakes, self.outgoing]
        filters = sorted({each for part in parts for each in part.restored})
        if filters:
            retained = read_retained(self._settings, filters, self._stopping)
            for each in parts:
                each.restore(retained)

    def _publish(self, topic: str, payload: str | bytes, qos: int = 1, retain: bool = False) -> None:
        self.broker.publish(topic, payload, qos, retain)

    def _subscribe(self, topic: str) -> None:
        self.broker.subscribe(topic)

    def _silence(self, *facts: Any) -> None:
        self.outgoing.silence(*facts)

    def run(self) -> None:
        """Carry messages until `stop`. Raise the error that ends the bridge."""
        try:
            self._restore()
            self.broker.start(self._stopping)
            self.outgoing.start()
            self._wait_until_ready()
            while not self._stopping.is_set():
                self._turn()
                if self.broker.refusal is not None:
                    raise StartupError(self._settings.refusal(self.broker.refusal))
                if self.outgoing.error is not None:
                    raise self.outgoing.error
        except Stopped:
            pass
        finally:
            self.stop()
            self.delivery.drain()
            self.outgoing.join()
            self.broker.close()
            self.delivery.close()
            self.client.close()
            log.info("stopped", **self.figures())

    def stop(self) -> None:
        """End `run`. What is not acknowledged comes again after the next start."""
        self._stopping.set()
        self.delivery.wake()

    def figures(self) -> dict[str, int]:
        """Return the counters."""
        counts = self.delivery.counts
        return {
            **self.counters.counts,
            "dropped": self.broker.dropped,
            "learned": counts.learned,
            "known": counts.known,
            "waiting": len(self.broker.inbox) + self.delivery.pending,
        }

    def _wait_until_ready(self) -> None:
        """Wait for both subscriptions: events of samples that are learned before would be missed."""
        for each in (self.broker.ready, self.outgoing.subscribed):
            while not self._stopping.is_set() and not each.wait(0.05):
                pass
        if self.outgoing.error is not None:
            raise self.outgoing.error
        if self.broker.refusal is not None:
            raise StartupError(self._settings.refusal(self.broker.refusal))
        if not self._stopping.is_set():
            sys.stdout.write(f"streamlearn mqtt ready {self._settings.broker.address}\n")
            sys.stdout.flush()

    def _turn(self) -> None:
        inbox = self.broker.inbox
        for _ in range(min(len(inbox), BATCH) if self.delivery.pending < PENDING else 0):
            found = inbox.popleft()
            if isinstance(found, Connected):
                self.acknowledgements.connected(found.same_session)
            else:
                self._receive(found)
        now = time.monotonic()
        due = min((each.due(now) for each in self.intakes), default=float("inf"))
        more = inbox and self.delivery.pending < PENDING
        self.delivery.step(now if more else min(due, now + TURN_SECONDS))

    def _receive(self, message: Message) -> None:
        counts = self.counters.counts
        counts["messages"] += 1
        receipt, repeated = self.acknowledgements.receive(message)
        if repeated:
            counts["repeated"] += 1
        else:
            self._read(message, receipt)
        receipt.finish()

    def _read(self, message: Message, receipt: Receipt) -> None:
        matched = False
        for each in self.intakes:
            if message.subscriptions and each.subscriptions.isdisjoint(message.subscriptions):
                continue  # another copy of the message is for it
            parts = each.match(message.topic)
            if parts is None:
                continue
            matched = True
            if message.retain and not each.takes_retained(message.topic):
                self.counters.counts["retained"] += 1
            elif len(message.payload) > self._settings.broker.message_bytes:
                self.counters.bad("all inputs", "the message is too large", message.topic, message.payload)
            else:
                each.receive(message, parts, receipt)
        if not matched:
            self.counters.bad("all inputs", "no input has this topic", message.topic, message.payload)

    def _refused(self, model: str, error: StreamlearnError) -> None:
        self.models.forget(model)
        self.counters.refused(model, error.message)


def run(settings: Settings) -> None:
    """Run a bridge until SIGTERM or Ctrl-C. Raise the error that ends it."""
    bridge = Bridge(settings)

    def leave(_: int, __: FrameType | None) -> None:
        bridge.stop()

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, leave)
    bridge.run()
