"""The models of the daemon, as the bridge knows them, and new ones from templates."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np

from streamlearn.bridges.inputs import Input, Template, channels_of
from streamlearn.bridges.numbering import Numbers, numbers_at
from streamlearn.bridges.readings import BadPayload, Reading
from streamlearn.bridges.topics import made_from
from streamlearn.logs import get_logger
from streamlearn_client import Client
from streamlearn_client.descriptions import ModelDescription
from streamlearn_client.errors import BadName, ModelExists, NoAnswer, StreamlearnError, UnknownModel
from streamlearn_client.protocol import Learn, as_batch
from streamlearn_client.protocol.names import check_model

RETRY_SECONDS: Final = 0.5
T = TypeVar("T")

log = get_logger(__name__)


class Stopped(Exception):
    """The bridge stops while it waits for the daemon."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the bridge needs to know of a model."""

    name: str
    dim: int
    channels: tuple[str, ...] | None
    needs_keys: bool

    def batch(self, rows: Iterable[Reading], key: str | None) -> Learn:
        """Return the samples of readings. Raise `BadPayload` if the model does not accept them."""
        if self.needs_keys != (key is not None):
            raise BadPayload(
                f"{self.name} needs a key, and the input sets none"
                if self.needs_keys
                else f"{self.name} has no keys, and the input sets one"
            )
        rows = list(rows)
        x = np.array([self._sample(row) for row in rows], np.float32)
        timed = rows[0].time is not None
        times = np.array([row.time for row in rows], np.int64) if timed else None
        return as_batch(self.name, x, None, key, None, times)

    def _sample(self, row: Reading) -> list[float]:
        if self.channels is None:
            if len(row.values) != self.dim:
                raise BadPayload(f"the message has {len(row.values)} channels; {self.name} has {self.dim}")
            return list(row.values.values())
        unknown = [name for name in row.values if name not in self.channels]
        if unknown:
            raise BadPayload(
                f"{self.name} has no channel {unknown[0]!r:.60}; it has {', '.join(self.channels)}"
            )
        return [row.values.get(name, math.nan) for name in self.channels]


class Models:
    """The daemon's models.

    Parameters
    ----------
    client
        A client of the daemon.
    templates
        The templates by name.
    stopping
        Ends waiting for the daemon.
    """

    def __init__(self, client: Client, templates: dict[str, Template], stopping: threading.Event) -> None:
        self._client, self._templates, self._stopping = client, templates, stopping
        self._known: dict[str, Known] = {}
        self._made: dict[str, set[str]] = {}  # names that match the text of an input

    def get(self, name: str, given: Input) -> Known:
        """Return a model. Create it if the input has a template.

        Raise `BadPayload` if there is no such model, or no more may be created.
        """
        known = self._known.get(name)
        if known is None:
            known = self._known[name] = self._asked(name, given)
        return known

    def forget(self, name: str) -> None:
        """Ask the daemon again: the model may have been deleted or created again."""
        self._known.pop(name, None)

    def position(self, model: str, producer: str) -> Numbers:
        """Return the daemon's position of a producer, once everything before it is durable."""
        try:
            position = self._patiently(lambda: self._client.position(model, producer))
            if position.next_seq:
                described = self._patiently(lambda: self._client.describe(model))
                until = described["applied_lsn"]  # at least the lsn of the producer's last batch
                while described["durable_lsn"] < until:
                    described = self._patiently(lambda: self._client.describe(model))
        except UnknownModel:
            return Numbers(0, 0, 0)  # the daemon refuses the first batch
        return numbers_at(position)

    def _asked(self, name: str, given: Input) -> Known:
        try:
            check_model(name)
            found = self._patiently(lambda: self._client.describe(name))
        except BadName as error:
            raise BadPayload(error.message) from None
        except UnknownModel:
            if given.template is None:
                raise BadPayload(f"there is no model {name}, and the input has no template") from None
            found = self._created(name, given)
        channels = channels_of(found["spec"])
        if found["target_dim"] and not found["accepts_late_targets"]:
            raise BadPayload(f"{name} needs targets with each sample, which messages do not have")
        return Known(name, found["dim"], None if channels is None else tuple(channels), found["needs_keys"])

    def _created(self, name: str, given: Input) -> ModelDescription:
        assert given.template is not None
        template = self._templates[given.template]
        if given.model not in self._made:
            matches = made_from(given.model).fullmatch
            listed = self._patiently(self._client.models)
            self._made[given.model] = {each["name"] for each in listed if matches(each["name"])}
        made = self._made[given.model]
        if len(made) >= template.most:
            raise BadPayload(f"there are {len(made)} models {given.model}, the most of its template")
        spec = dict(template.spec)
        if "channels" not in spec and not any("{" in channel for channel in given.paths):
            spec["channels"] = list(given.paths)
        if "channels" in spec:
            spec.setdefault("dim", len(spec["channels"]))
        try:
            self._patiently(lambda: self._client.create(name, template.kind, **spec))
            log.info("model created", model=name, template=given.template)
        except ModelExists:
            pass
        except StreamlearnError as error:
            raise BadPayload(f"the template {given.template} can't create {name}: {error.message}") from None
        made.add(name)
        return self._patiently(lambda: self._client.describe(name))

    def _patiently(self, call: Callable[[], T]) -> T:
        """Call the daemon until it answers. Raise `Stopped` when the bridge stops."""
        logged = False
        while not self._stopping.is_set():
            try:
                return call()
            except StreamlearnError as error:
                if not (isinstance(error, NoAnswer) or error.retryable):
                    raise
                if not logged:
                    log.warning("the daemon does not answer; trying again", reason=error.message)
                logged = True
            self._stopping.wait(RETRY_SECONDS)
        raise Stopped
