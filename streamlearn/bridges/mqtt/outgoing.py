"""Events of the daemon as messages: alarms, scores, winners and silence.

The daemon does not store events. What happens while the bridge has no connection to it is not published.
"""

from __future__ import annotations

import json
import math
import re
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import numpy as np

from streamlearn.bridges.inputs import channels_of
from streamlearn.bridges.mqtt.discovery import Discoveries
from streamlearn.bridges.mqtt.settings import Output, Settings
from streamlearn.bridges.topics import fill
from streamlearn.json_values import document
from streamlearn.logs import get_logger
from streamlearn_client import Client
from streamlearn_client.alarms import AlarmEvent
from streamlearn_client.errors import NoAnswer, StreamlearnError
from streamlearn_client.protocol.names import EventKind
from streamlearn_client.results import Event

RETRY_SECONDS: Final = 1.0
POLL_SECONDS: Final = 0.5
THINNED: Final = 100_000
"""Most streams whose last message is remembered, for `every`."""

_SOURCES: Final = ("death", "state")
"""Causes of silence that the source itself reports."""
SHOWN: Final = 100
"""Most alarms of a model that a message lists as on."""

log = get_logger(__name__)


class Publish(Protocol):
    """Publishes a message."""

    def __call__(self, topic: str, payload: str, qos: int = 1, retain: bool = False) -> None:
        """Publish."""


class Outgoing:
    """The thread that publishes events.

    Parameters
    ----------
    settings
        The configuration.
    client
        A client of the daemon.
    publish
        Publishes a message.
    stopping
        Ends the thread.
    """

    def __init__(
        self, settings: Settings, client: Client, publish: Publish, stopping: threading.Event
    ) -> None:
        self._settings, self._client, self._publish = settings, client, publish
        self._stopping = stopping
        self._described: dict[str, Mapping[str, Any]] = {}
        self._on: defaultdict[str, set[tuple[Any, str]]] = defaultdict(set)  # alarms of each model
        self._lock = threading.Lock()  # the bridge's thread reports silence too
        self._retained: set[str] = set()  # topics with a message
        self._published: dict[tuple[int, str, Any], float] = {}
        self._discoveries = (
            None if settings.homeassistant is None else Discoveries(settings, settings.homeassistant, publish)
        )
        self.subscribed = threading.Event()
        """Set when the subscription is in effect, or `error` is set."""
        self.error: StreamlearnError | None = None
        self._thread = threading.Thread(target=self._run, name="outgoing", daemon=True)

    @property
    def restored(self) -> list[str]:
        """Filters of the retained messages that say which alarms are on."""
        kept = [each for each in self._settings.output if each.what in ("alarm", "silence") and each.retain]
        return [fill(self._settings.topic_of(each), {"model": "+", "key": "+"}) for each in kept]

    def restore(self, retained: dict[str, bytes]) -> None:
        """Take the retained messages: the alarms that were on when an earlier run of the bridge ended."""
        self._retained = set(retained)
        for payload in retained.values():
            try:
                found = json.loads(payload)
                names = {(each["key"], each["cause"]) for each in found["on"]}
                self._on[str(found["model"])] |= names
            except (ValueError, TypeError, KeyError):
                continue  # not one of ours

    def start(self) -> None:
        """Begin to publish."""
        if self._kinds():
            self._thread.start()
        else:
            self.subscribed.set()

    def join(self) -> None:
        """Wait for the end of the thread."""
        if self._thread.is_alive():
            self._thread.join()

    def silence(self, model: str, key: str | None, state: str, cause: str, moment: int | None) -> None:
        """Publish that a source of a model became silent, or sends again."""
        self._note(model, (key, cause), state)
        facts = self._state(model, "silence", state) | {"key": key, "cause": cause, "time": iso(moment)}
        for output in self._of("silence", model):
            self._send(output, model, key, facts)

    def _kinds(self) -> list[EventKind]:
        """Return the kinds of events that the outputs need."""
        wanted = {each.what for each in self._settings.output}
        kinds: list[EventKind] = []
        if wanted & {"alarm", "silence"}:
            kinds.append("alarm")
        if wanted & {"score", "winner"}:
            kinds.append("output")
        if kinds or self._discoveries is not None:
            kinds += ["created", "deleted", "labelled"]
        return kinds

    def _run(self) -> None:
        logged = False
        while not self._stopping.is_set():
            try:
                with self._client.subscribe(kind=self._kinds()) as events:
                    for each in self._client.models():
                        self._compare(each)
                        if self._discoveries is not None:
                            self._discovered(each)
                    logged = False
                    self.subscribed.set()
                    while not self._stopping.is_set():
                        event = events.next_event(POLL_SECONDS)
                        if event is not None:
                            self._observe(event)
            except StreamlearnError as error:
                if not (isinstance(error, NoAnswer) or error.retryable):
                    self.error = error
                    self.subscribed.set()
                    return
                if not logged:
                    log.warning("no events of the daemon; trying again", reason=error.message)
                logged = True
                self._stopping.wait(RETRY_SECONDS)

    def _observe(self, event: Event) -> None:
        match event.kind:
            case "alarm":
                for alarm in event.alarms:
                    self._alarm(event, alarm)
            case "output":
                self._outputs(event)
            case "created" | "deleted" | "labelled":
                self._described.pop(event.model, None)
                if event.kind == "deleted":
                    self._on.pop(event.model, None)
                if self._discoveries is not None and event.kind != "labelled":
                    if event.kind == "deleted":
                        self._discoveries.remove(event.model)
                    else:
                        self._discovered(self._description(event.model))

    def _discovered(self, described: Mapping[str, Any]) -> None:
        """Publish the entities of a model, and the states of those that have none."""
        if self._discoveries is None or not described:
            return
        self._discoveries.add(described)
        model = described["name"]
        for what in "alarm", "silence":
            for output in self._of(what, model):
                topic = self._settings.topic_of(output)
                if not output.retain or "{key}" in topic or fill(topic, {"model": model}) in self._retained:
                    continue
                self._send(output, model, None, self._state(model, what, "none"))

    def _compare(self, described: Mapping[str, Any]) -> None:
        """Publish the end of alarms that ended while the bridge was away."""
        model = described["name"]
        if not self._on.get(model):
            return
        quality = self._description(model).get("quality", {})
        others = bool(quality.get("alarms_on"))
        on = {"silent": bool(described.get("silent")), "death": True, "state": True}
        ended = [alarm for alarm in self._on[model] if not on.get(alarm[1], others)]
        for alarm in ended:
            self._note(model, alarm, "end")
        for what in ("alarm", "silence") if ended else ():
            for output in self._of(what, model):
                self._send(output, model, None, self._state(model, what, "end"))

    def _note(self, model: str, alarm: tuple[Any, str], state: str) -> None:
        with self._lock:
            (self._on[model].add if state == "begin" else self._on[model].discard)(alarm)

    def _state(self, model: str, what: str, state: str) -> dict[str, Any]:
        """Return the alarms of a model that are on."""
        causes = ("silent", *_SOURCES)
        with self._lock:
            every = sorted(self._on[model], key=str)
        on = [each for each in every if (each[1] in causes if what == "silence" else each[1] not in _SOURCES)]
        shown = [{"key": key, "cause": cause} for key, cause in on[:SHOWN]]
        return {"model": model, "key": None, "state": state, "active": len(on), "on": shown}

    def _alarm(self, event: Event, alarm: AlarmEvent) -> None:
        self._note(event.model, (alarm.key, alarm.cause), alarm.state)
        state = self._state(event.model, "alarm", alarm.state)
        facts = self._alarm_facts(event, alarm) | {"active": state["active"], "on": state["on"]}
        for output in self._of("alarm", event.model):
            self._send(output, event.model, alarm.key, facts)
        if alarm.cause == "silent":
            state = self._state(event.model, "silence", alarm.state)
            facts |= {"active": state["active"], "on": state["on"]}
            for output in self._of("silence", event.model):
                self._send(output, event.model, alarm.key, facts)

    def _alarm_facts(self, event: Event, alarm: AlarmEvent) -> dict[str, Any]:
        names = channels_of(self._description(event.model).get("spec", {}))
        facts: dict[str, Any] = {"model": event.model, "key": alarm.key, "state": alarm.state}
        facts |= {"cause": alarm.cause, "time": iso(event.time if alarm.time is None else alarm.time)}
        for name in ("sample", "first", "last", "peak", "samples", "fault", "seconds"):
            facts[name] = getattr(alarm, name)
        facts |= {"score": _short(alarm.score), "evidence": _short(alarm.evidence)}
        known = 0 <= alarm.channel < len(alarm.contribution)
        named = names if names and len(names) == len(alarm.contribution) else None
        facts["channel"] = (named[alarm.channel] if named else alarm.channel) if known else None
        for name in ("contribution", "expected"):
            values = [_short(value) for value in getattr(alarm, name)]
            facts[name] = dict(zip(named, values, strict=True)) if named else values
        return facts

    def _outputs(self, event: Event) -> None:
        outputs = event.outputs
        keys = event.keys
        for output in (*self._of("score", event.model), *self._of("winner", event.model)):
            if output.what not in outputs.arrays:
                continue
            for row in self._rows(output, event, keys):
                facts: dict[str, Any] = {"model": event.model, "key": keys[row] if keys else None}
                facts["time"] = iso(int(outputs.time[row])) if "time" in outputs.arrays else None
                names = ("score",) if output.what == "score" else ("winner", "coords", "distance", "label")
                facts |= {name: _plain(outputs.arrays[name][row]) for name in names if name in outputs.arrays}
                if "label" in facts:
                    facts["label"] = self._label(event.model, facts["label"])
                self._send(output, event.model, facts["key"], facts)

    def _rows(self, output: Output, event: Event, keys: list[int | str]) -> Iterator[int]:
        """Yield the rows to publish: all, or the last one of each key that is due."""
        if not output.every:
            yield from range(event.rows)
            return
        number, now = self._settings.output.index(output), time.monotonic()
        last = {keys[row] if keys else None: row for row in range(event.rows)}
        for key, row in last.items():
            stream = (number, event.model, key)
            if now - self._published.get(stream, -math.inf) >= output.every:
                if len(self._published) >= THINNED:
                    self._published.clear()
                self._published[stream] = now
                yield row

    def _label(self, model: str, code: int) -> str | int | None:
        names = self._description(model).get("label_names") or ()
        return None if code < 0 else names[code] if code < len(names) and names[code] else code

    def _description(self, model: str) -> Mapping[str, Any]:
        """Return what `describe` answers; empty if there is no answer."""
        if model not in self._described:
            try:
                self._described[model] = self._client.describe(model)
            except NoAnswer:
                return {}
            except StreamlearnError:
                self._described[model] = {}
        return self._described[model]

    def _of(self, what: str, model: str) -> Iterator[Output]:
        return (each for each in self._settings.output if each.what == what and each.has(model))

    def _send(self, output: Output, model: str, key: Any, facts: dict[str, Any]) -> None:
        level = "" if key is None else re.sub(r"[/+#\0]", "_", str(key))
        topic = fill(self._settings.topic_of(output), {"model": model, "key": level})
        self._publish(topic, as_json(facts), output.qos, output.retain)


def as_json(facts: dict[str, Any]) -> str:
    """Return facts as JSON. NaN is null."""
    return json.dumps(document(facts), ensure_ascii=False)


def _short(value: Any) -> float:
    """Return a number of 32 bits with the fewest digits."""
    return float(str(np.float32(value)))


def _plain(value: Any) -> Any:
    """Return a value of an output, or a row of values, for JSON."""
    return _short(value) if isinstance(value, np.float32) else value.tolist()


def iso(moment: int | None) -> str | None:
    """Return a time in nanoseconds since 1970 as a text."""
    if moment is None or not 0 <= moment < 253_402_300_800 * 10**9:
        return None
    return datetime.fromtimestamp(moment / 1e9, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
