"""The results of client calls: acknowledgements, events and producer positions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from streamlearn_client.alarms import AlarmEvent, check_alarms, read_alarms
from streamlearn_client.errors import StreamlearnError
from streamlearn_client.outputs import Outputs
from streamlearn_client.protocol import EventKind, Frame, decode_event
from streamlearn_client.replies import check_outputs, protocol_error

__all__ = ["Ack", "BatchNumber", "Event", "Position", "merged", "read_ack", "read_event"]


@dataclass(frozen=True, slots=True)
class Ack:
    """The daemon's acknowledgement of a batch.

    Parameters
    ----------
    lsn : int
        Log sequence number of the batch in the journal.
    durable_lsn : int
        All records up to this one survive a power cut.
    applied_lsn : int
        The model has learned all records up to this one.
    duplicate : bool, default False
        Whether the daemon already had the batch: an earlier attempt arrived, and its answer was lost.
    rows : int, default 0
        Number of samples, or of late targets, in the batch.
    matched, unmatched : int or None, default None
        Late targets: how many had a waiting sample, and how many had none. ``None`` for samples, and if the
        ack was sent before the model applied the batch.
    """

    lsn: int
    durable_lsn: int
    applied_lsn: int
    duplicate: bool = False
    rows: int = 0
    matched: int | None = None
    unmatched: int | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """An event of a model.

    Parameters
    ----------
    kind : str
        ``output``, ``targets``, ``drift``, ``alarm``, ``checkpoint``, ``created``, ``deleted``, ``restored``,
        ``reheated``, ``paused``, ``resumed``, ``judged`` or ``labelled``.
    model : str
        Name of the model.
    lsn : int
        Log sequence number of the record that caused the event. ``checkpoint``: the checkpoint's lsn.
    first : int
        ``output`` and ``targets``: number of samples that the model had learned before. Without
        ``outputs.sample``, this is the number of the first row's sample, counted from 0.
    rows : int
        Number of rows of ``outputs``. 0 for events without samples.
    time : int
        Time of the event in nanoseconds since 1970, by the daemon's clock.
    outputs : Outputs
        ``output``: the outputs for each sample, computed before the model learned it. ``targets``: the
        outputs for the samples of the late targets. ``drift``: ``sample`` (k,), the numbers of the samples
        with an alarm. ``alarm``: one row per alarm that began or ended, see `alarms`. Empty for the other
        kinds. Every row has ``time``, and ``key`` and ``id`` if its sample has them.
    key_names : Mapping of int to str, default {}
        The texts of keys in ``outputs.key``, see `keys`. The daemon has those of the last batches.
    """

    kind: EventKind
    model: str
    lsn: int
    first: int
    rows: int
    time: int
    outputs: Outputs
    key_names: Mapping[int, str] = field(default_factory=dict)

    @property
    def alarms(self) -> list[AlarmEvent]:
        """The alarms that began or ended, of an ``alarm`` event; empty for the other kinds."""
        return read_alarms(self.outputs.arrays, self.key_names) if self.kind == "alarm" else []

    @property
    def keys(self) -> list[int | str]:
        """The key of each row as its sender passed it, a number or a text; empty without keys."""
        keys = self.outputs.arrays.get("key")
        return [] if keys is None else [self.key_names.get(key, key) for key in keys.tolist()]


@dataclass(frozen=True, slots=True)
class BatchNumber:
    """The number of a batch whose sender numbers its batches itself, see `Client.learn`.

    Parameters
    ----------
    producer : str
        Name of the sender in the daemon's producer table.
    epoch : int
        The epoch. A batch of a larger one may have number 0 only; a batch of a smaller one is refused.
    seq : int
        The sequence number within the epoch: 0, 1, 2, …
    """

    producer: str
    epoch: int
    seq: int


@dataclass(frozen=True, slots=True)
class Position:
    """The state of a producer of a model.

    Parameters
    ----------
    epoch : int
        The producer's newest epoch; 0 for an unknown producer.
    next_seq : int
        Sequence number of the batch that the daemon expects next.
    """

    epoch: int
    next_seq: int


def merged(acks: Sequence[Ack]) -> Ack:
    """Return the acknowledgement of a batch that was sent in parts."""
    last = acks[-1]
    return Ack(
        last.lsn,
        last.durable_lsn,
        last.applied_lsn,
        any(ack.duplicate for ack in acks),
        sum(ack.rows for ack in acks),
        _total([ack.matched for ack in acks]),
        _total([ack.unmatched for ack in acks]),
    )


def _total(counts: list[int | None]) -> int | None:
    """Return the sum; ``None`` if a count is unknown."""
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def read_ack(ok: Mapping[str, Any]) -> Ack:
    """Return the acknowledgement in the ``ok`` map of a checked reply."""
    return Ack(
        ok["lsn"],
        ok["durable_lsn"],
        ok["applied_lsn"],
        ok["duplicate"],
        ok["rows"],
        ok.get("matched"),
        ok.get("unmatched"),
    )


def read_event(frames: Sequence[Frame], endpoint: str, prefix: bytes = b"") -> Event:
    """Return the event in ``frames``. Raise ``ProtocolError`` for other frames.

    ``prefix`` is the beginning of all topics of a subscriber with a key.
    """
    try:
        event = decode_event([bytes(frames[0]).removeprefix(prefix), *frames[1:]] if prefix else frames)
        check_outputs(event.arrays)
        if event.kind == "alarm":
            check_alarms(event.arrays)
    except (StreamlearnError, ValueError) as problem:
        raise protocol_error(endpoint, f"a message is not an event: {problem}") from None
    kind = cast(EventKind, event.kind)  # decode_event accepts no other kind
    outputs, names = Outputs(**event.arrays), {number: text for text, number in event.key_names.items()}
    return Event(kind, event.model, event.lsn, event.first, event.rows, event.time, outputs, names)
