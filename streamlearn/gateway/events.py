"""Events of the daemon for many listeners, from one subscription.

A listener that is slow loses the oldest events of its queue, and gets their number. `output` events are
thinned: of each model at most one in `EVERY` seconds if a listener gets all its outputs, else one in
`BRIEF_EVERY`. The others are dropped before they are decoded.
"""

from __future__ import annotations

import asyncio
import contextlib
import fnmatch
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from streamlearn import logs
from streamlearn.access.identity import Identity
from streamlearn.errors import Busy, StreamlearnError, UnknownModel
from streamlearn.gateway.alarm_history import AlarmHistory, alarm_to_map
from streamlearn.gateway.settings import Limits
from streamlearn.json_values import to_json
from streamlearn_client import AsyncClient
from streamlearn_client.results import Event

log = logs.get_logger(__name__)

EVERY: Final = 0.1
BRIEF_EVERY: Final = 1.0
ROWS: Final = 50
"""Largest number of rows of one `output` event for a listener; evenly spaced, the last one included."""
BURST: Final = 3
"""Events that are kept at once after a pause, so that ten a second are all kept if they come unevenly."""
PAUSE: Final = 0.02
"""Seconds in which the messages of many models arrive and are taken together."""
RETRY_SECONDS: Final = 1.0
PROBE_SECONDS: Final = 2.0
"""How often the gateway tests whether the daemon answers."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events a listener gets. Globs of models; no kinds: all kinds.

    ``full``: globs of the models whose `output` events have all outputs. The others have the last score only,
    at most once in `BRIEF_EVERY` seconds.
    """

    who: Identity
    models: Sequence[str] = ("*",)
    kinds: Sequence[str] = ()
    full: Sequence[str] = ("*",)

    def includes(self, event: Event) -> bool:
        """Whether the listener gets the event."""
        return (
            (not self.kinds or event.kind in self.kinds)
            and matches(event.model, self.models)
            and self.who.allows("subscribe", event.model)
        )

    def in_full(self, event: Event) -> bool:
        """Whether the listener gets all outputs of the event."""
        return event.kind != "output" or matches(event.model, self.full)


@dataclass(slots=True, eq=False)
class Listener:
    """The events that wait for one listener."""

    wanted: Wanted
    queue: deque[dict[str, Any]]
    lost: int = 0
    closed: bool = False
    shown: dict[str, float] = field(default_factory=dict)  # when a brief event of a model was put last
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, message: dict[str, Any]) -> None:
        """Queue a message; drop the oldest if the queue is full."""
        if len(self.queue) == self.queue.maxlen:
            self.lost += 1
        self.queue.append(message)
        self._arrived.set()

    def close(self) -> None:
        """End the wait of `get`."""
        self.closed = True
        self._arrived.set()

    async def get(self, seconds: float) -> dict[str, Any] | None:
        """Return the next message, or how many were lost before it; ``None`` if none came in time."""
        if not self.queue:
            self._arrived.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._arrived.wait(), seconds)
        if self.lost:
            lost, self.lost = self.lost, 0
            return {"kind": "lost", "events": lost}
        return self.queue.popleft() if self.queue else None


class Hub:
    """The subscription, its listeners, and whether the daemon answers."""

    def __init__(
        self, client: AsyncClient, limits: Limits, alarms: AlarmHistory, observe: Callable[[Event], None]
    ) -> None:
        self._client = client
        self._limits = limits
        self._observe = observe
        self.alarms = alarms
        self._listeners: list[Listener] = []
        self._due: dict[bytes, float] = {}  # from when on an `output` event of a topic is kept
        self._every: dict[bytes, float] = {}  # seconds between two that are kept
        self._channels: dict[str, list[str] | None] = {}  # of models with alarms
        self._daemon: dict[str, Any] = {"kind": "daemon", "up": False, "instance": None}

    @property
    def up(self) -> bool:
        """Whether the daemon answered the last probe."""
        return bool(self._daemon["up"])

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Receive events until the block ends."""
        tasks = [asyncio.create_task(self._receive()), asyncio.create_task(self._probe())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    @contextlib.contextmanager
    def listen(self, wanted: Wanted) -> Any:
        """Add a listener for the time of the block. Its first message says whether the daemon answers."""
        if len(self._listeners) >= self._limits.listeners:
            raise Busy(
                f"{self._limits.listeners} listeners are connected; close one, or raise --listeners",
                limit="listeners",
                most=self._limits.listeners,
            )
        listener = Listener(wanted, deque(maxlen=self._limits.queued_events))
        listener.put(self._daemon)
        self._listeners.append(listener)
        self._every.clear()
        try:
            yield listener
        finally:
            self._listeners.remove(listener)
            self._every.clear()

    def close(self) -> None:
        """Let all listeners leave."""
        for each in self._listeners:
            each.close()

    def __len__(self) -> int:
        """Return the number of listeners."""
        return len(self._listeners)

    async def _receive(self) -> None:
        reported = ""
        while True:
            try:
                subscription = self._client.subscribe(None)
                subscription.keep, subscription.pause = self._keep, PAUSE
                async with subscription as events:
                    reported = ""
                    async for event in events:
                        if event.kind == "alarm" and event.model not in self._channels:
                            self._channels[event.model] = await self._channels_of(event.model)
                        self._publish(event)
            except StreamlearnError as error:
                if str(error) != reported:  # one line, however long it lasts
                    log.warning("no events: %s", error)
                    reported = str(error)
            except Exception:
                log.exception("an event could not be read; the subscription begins again")
            await asyncio.sleep(RETRY_SECONDS)

    async def _channels_of(self, model: str) -> list[str] | None:
        """Return the names of a model's channels, if it has some."""
        try:
            channels: list[str] | None = (await self._client.describe(model))["spec"].get("channels")
        except StreamlearnError:  # the model is deleted, or the gateway's key may not see it
            return None
        return channels

    def _keep(self, topic: bytes) -> bool:
        """Whether a message is decoded: of each model's `output` events one in a while."""
        if not topic.startswith(b"output/"):
            return True
        every = self._every.get(topic)
        if every is None:
            every = self._every[topic] = self._seconds_between(topic.removeprefix(b"output/").decode())
        now = time.monotonic()
        due = max(self._due.get(topic, 0.0), now - BURST * every)
        if due > now:
            return False
        self._due[topic] = due + every
        return True

    def _seconds_between(self, model: str) -> float:
        full = any(matches(model, each.wanted.full) for each in self._listeners)
        return EVERY if full else BRIEF_EVERY

    def _publish(self, event: Event) -> None:
        self._observe(event)
        channels = self._channels.get(event.model)
        self.alarms.observe(event, channels)
        if event.kind == "deleted":
            self._channels.pop(event.model, None)
            for seen in (self._due, self._every):
                seen.pop(f"output/{event.model}".encode(), None)
        listeners = [each for each in self._listeners if each.wanted.includes(event)]
        message, now = None, time.monotonic()
        for each in listeners:
            if each.wanted.in_full(event):
                message = message or event_to_json(event, channels)
                each.put(message)
            elif now - each.shown.get(event.model, -BRIEF_EVERY) >= BRIEF_EVERY - EVERY:
                each.shown[event.model] = now
                each.put(brief(event))

    async def _probe(self) -> None:
        """Tell all listeners when the daemon stops to answer, and when another one answers."""
        confirmed = False  # the alarms that an earlier gateway saw
        while True:
            self.alarms.alive()
            try:
                hello = await self._client.hello()
                state = {"kind": "daemon", "up": True, "instance": hello["instance"]}
                if not confirmed:
                    await self._confirm_alarms()
                    confirmed = True
            except StreamlearnError:
                state = self._daemon | {"up": False}
            if state != self._daemon:
                if state["instance"] != self._daemon["instance"]:
                    self.alarms.daemon_started(time.time_ns())
                self._daemon = state
                for each in self._listeners:
                    each.put(state)
            await asyncio.sleep(PROBE_SECONDS)

    async def _confirm_alarms(self) -> None:
        """End the alarms of earlier that are not on any more."""
        for model in self.alarms.models_on():
            on: set[str] | None
            try:
                on = _causes_on(await self._client.describe(model))
            except UnknownModel:
                on = None
            self.alarms.confirm(model, on, time.time_ns())


def _causes_on(description: Mapping[str, Any]) -> set[str]:
    """Return the causes of the alarms of a model that are on."""
    quality = description["quality"]
    found = {
        "score": quality.get("alarms_on"),
        "stuck": quality.get("stuck"),
        "silent": description.get("silent"),
        quality.get("sequence_alarm"): quality.get("sequence_alarm"),
    }
    return {cause for cause, on in found.items() if on}


def brief(event: Event) -> dict[str, Any]:
    """Return an `output` event as JSON, with the last score only."""
    score = event.outputs.arrays.get("score")
    last = {} if score is None or not len(score) else {"score": to_json(score[-1:])}
    return _head(event) | {"row": [len(event.outputs) - 1], "outputs": last}


def event_to_json(event: Event, channels: Sequence[str] | None = None) -> dict[str, Any]:
    """Return an event as JSON. Of many rows, evenly spaced ones, with their places in ``row``.

    ``channels``: the names of the model's channels, for alarms.
    """
    message = _head(event)
    if alarms := event.alarms:
        message["channels"] = channels
        message["alarms"] = [to_json(alarm_to_map(each)) for each in alarms]
    elif event.outputs.arrays:
        rows = len(event.outputs)
        step = -(-rows // ROWS)
        places = slice((rows - 1) % step, None, step) if rows else slice(0)
        message["row"] = list(range(rows))[places]
        message["outputs"] = {name: to_json(each[places]) for name, each in event.outputs.arrays.items()}
        if event.key_names:
            message["outputs"]["key"] = event.keys[places]
    return message


def _head(event: Event) -> dict[str, Any]:
    return {name: getattr(event, name) for name in ("kind", "model", "lsn", "first", "rows", "time")}


def matches(model: str, globs: Sequence[str]) -> bool:
    """Whether a model's name fits one of the globs."""
    return any(fnmatch.fnmatchcase(model, glob) for glob in globs)
