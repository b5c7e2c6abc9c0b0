"""Events, published to subscribers by topic."""

from __future__ import annotations

import math

import numpy as np
import zmq

from streamlearn import logs
from streamlearn.access.identity import LOCAL, Identity
from streamlearn.daemon.network.subscriptions import Subscriptions
from streamlearn.daemon.silence import Silence
from streamlearn.shard import HostedModel
from streamlearn.store.record import Record
from streamlearn_client.alarms import AlarmEvent, alarm_arrays
from streamlearn_client.protocol import EventMessage, encode_event

log = logs.get_logger(__name__)

CACHED = 10_000  # entries of the cache of recipients


class Publisher:
    """Publish events on the XPUB socket. An event without a subscriber is not even encoded."""

    def __init__(self, socket: zmq.Socket[bytes], subscriptions: Subscriptions) -> None:
        self._socket = socket
        self.subscriptions = subscriptions
        self._recipients: dict[tuple[str, str], tuple[bytes, ...]] = {}  # cache of `_find_recipients`
        self.published = 0

    def update_subscriptions(self) -> None:
        """Read new and cancelled subscriptions from the socket."""
        if self.subscriptions.read():
            self._recipients.clear()

    def tick(self, now: float) -> None:
        """Forget the subscribers that have left. `now`: seconds of a steady clock."""
        if self.subscriptions.sweep(now):
            self._recipients.clear()

    def rights_changed(self) -> None:
        """Apply new rights to the subscriptions."""
        self.subscriptions.close_revoked()
        self._recipients.clear()

    @property
    def has_subscribers(self) -> bool:
        """Whether any client subscribed to anything."""
        return bool(self.subscriptions.exist)

    def has_subscriber(self, model: str, kind: str) -> bool:
        """Whether any client subscribed to this kind of event of this model, and may receive it."""
        return bool(self._find_recipients(model, kind))

    def _find_recipients(self, model: str, kind: str) -> tuple[bytes, ...]:
        if not self.subscriptions.exist:
            return ()
        found = self._recipients.get((model, kind))
        if found is None:
            if len(self._recipients) >= CACHED:
                self._recipients.clear()
            found = self._recipients[model, kind] = self.subscriptions.recipients(model, kind)
        return found

    def publish(self, event: EventMessage) -> None:
        """Send the event if it has a subscriber. A slow subscriber loses events; the loop never waits."""
        recipients = self._find_recipients(event.model, event.kind)
        if recipients:
            name, *frames = encode_event(event)
            for prefix in recipients:
                self._socket.send_multipart([prefix + name, *frames], zmq.NOBLOCK)
            self.published += 1

    def publish_silence(self, silence: Silence, hosted: HostedModel, time: int) -> None:
        """Publish and log that a stream became silent, or is no longer. `time` is in ns since 1970."""
        event = "no samples for longer than usual" if silence.begins else "samples arrive again"
        names = hosted.key_texts.of(silence.key)
        log.info(event, model=silence.model, key=silence.key, seconds=round(silence.seconds, 1))
        samples, unknown = hosted.model.samples, np.full(hosted.model.dim, np.nan, np.float32)
        alarm = AlarmEvent(
            state="begin" if silence.begins else "end",
            cause="silent",
            sample=samples,
            first=samples,
            last=samples,
            peak=samples,
            samples=0,
            score=math.nan,
            evidence=math.nan,
            channel=-1,
            contribution=unknown,
            expected=unknown,
            seconds=silence.seconds,
        )
        arrays = alarm_arrays([alarm])
        if silence.key is not None:
            arrays["key"] = np.array([silence.key], np.int64)
        lsn = hosted.applied_lsn
        self.publish(EventMessage("alarm", silence.model, lsn, samples, 1, time, arrays, names))

    def publish_change(self, event: str, record: Record, identity: Identity = LOCAL, **facts: object) -> None:
        """Publish and log a change (`created`, `deleted`, `restored`, `reheated` …), durable and applied.

        `identity` is that of the request, and `facts` are for the log.
        """
        log.info(f"{event} a model", model=record.model, lsn=record.lsn, **facts, **identity.to_log())
        self.publish(EventMessage(event, record.model, record.lsn, time=record.time))
