"""The messages of the protocol as plain values; `codec` turns them into frames and back.

They are named tuples: immutable, and quick to make, which counts at a batch per message.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from streamlearn_client.errors import StreamlearnError
from streamlearn_client.protocol.identifiers import Identifiers

__all__ = [
    "ACK_LEVELS",
    "DEFAULT_LIMITS",
    "OPS",
    "VERSION",
    "AckLevel",
    "EventMessage",
    "Frame",
    "Id",
    "Learn",
    "Limits",
    "Op",
    "Reply",
    "Request",
    "Samples",
]

VERSION: Final = 1

Id: TypeAlias = int | str | bytes | None
"""What a client calls its request, echoed in the reply: an integer of 64 bits, or up to 64 bytes."""

Frame: TypeAlias = bytes | memoryview
"""One frame; a memoryview is one of bytes (format ``B``)."""

Samples: TypeAlias = NDArray[np.float32]
"""float32, (n, columns), C-contiguous and aligned; read-only when it views a received frame."""

AckLevel = Literal["none", "received", "written", "durable"]
ACK_LEVELS: Final[frozenset[str]] = frozenset(get_args(AckLevel))

ARRAYS: Final = ("x", "y", "keys", "ids")
"""The fields of requests that are frames, in the order of these."""


class Learn(NamedTuple):
    """A batch for a model: ``x`` (n, dim), and of each sample its targets ``y`` (n, targets), its key and its
    id where it has them, or ``None``. Without ``x``: targets of earlier samples, by their ids.

    ``producer`` is ``""`` when the sender does not number its batches; they are then not deduplicated.
    ``ack`` says when the reply may be sent: once the batch is in memory (``received``), written to
    the journal (``written``) or synced to disk (``durable``); with ``none`` only errors are answered.
    """

    model: str
    x: Samples | None
    y: Samples | None = None
    producer: str = ""
    epoch: int = 0
    seq: int = 0
    ack: str = "durable"
    id: Id = None
    keys: Identifiers | None = None
    ids: Identifiers | None = None

    @property
    def rows(self) -> int:
        """How many samples, or targets."""
        there = self.y if self.x is None else self.x
        return 0 if there is None else len(there)

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """What there is of ``x``, ``y``, ``keys`` and ``ids``."""
        return {name: array for name in ARRAYS if (array := getattr(self, name)) is not None}

    def part(self, start: int, stop: int) -> Learn:
        """Rows ``start`` … ``stop`` of it: views, not copies."""
        cut: dict[str, Any] = {name: array[start:stop] for name, array in self.arrays.items()}
        return self._replace(**cut)


class Request(NamedTuple):
    """Any operation but ``learn``: ``fields`` holds what `OPS` lists for it, ``x`` and ``keys`` are for
    ``predict``."""

    op: str
    id: Id = None
    model: str = ""
    fields: Mapping[str, Any] = {}
    x: Samples | None = None
    keys: Identifiers | None = None


class Reply(NamedTuple):
    """An answer: either ``error``, or ``ok`` with named arrays."""

    id: Id
    ok: dict[str, Any]
    arrays: dict[str, NDArray[Any]]
    error: StreamlearnError | None = None


class EventMessage(NamedTuple):
    """Something that happened to a model; ``kind`` is one of `names.EVENT_KINDS`.

    An ``output`` event carries the model's outputs for ``rows`` samples, the first of which was the
    ``first``-th sample (from 0) that the model learned. ``time`` is nanoseconds since the epoch.
    """

    kind: str
    model: str
    lsn: int
    first: int = 0
    rows: int = 0
    time: int = 0
    arrays: Mapping[str, NDArray[Any]] = {}


class Op(NamedTuple):
    """What a request may carry besides ``v``, ``id`` and ``op``: field → type, and those it must carry.

    ``np.ndarray``: as the message has a field of its own for it. ``float``: any number.
    """

    fields: Mapping[str, type]
    required: frozenset[str] = frozenset()


def _op(*required: str, **fields: type) -> Op:
    return Op(fields, frozenset(required))


OPS: Final[Mapping[str, Op]] = {
    "hello": _op(),
    "create": _op("model", "kind", model=str, kind=str, spec=dict),
    "delete": _op("model", model=str),
    "models": _op(),
    "describe": _op("model", model=str),
    "learn": _op(
        "model",
        model=str,
        x=np.ndarray,
        y=np.ndarray,
        keys=np.ndarray,
        ids=np.ndarray,
        producer=str,
        epoch=int,
        seq=int,
        ack=str,
    ),
    "predict": _op("model", "x", model=str, x=np.ndarray, keys=np.ndarray),
    "forecast": _op("model", "steps", model=str, steps=int, key=object),
    "sample": _op("model", "n", model=str, n=int, temperature=float, seed=int, key=object),
    "reheat": _op("model", model=str, heat=float),
    "checkpoint": _op("model", model=str),
    "checkpoints": _op("model", model=str),
    "restore": _op("model", model=str, lsn=int),
    "stats": _op(model=str),
    "position": _op("model", "producer", model=str, producer=str),
}


@dataclass(frozen=True, slots=True)
class Limits:
    """How large things may be; ``hello`` tells a client its daemon's."""

    header_bytes: int = 4096
    """the header of ``learn``"""
    control_header_bytes: int = 1 << 20
    """the header of any other message"""
    frame_bytes: int = 64 << 20
    """one frame of an array"""
    rows: int = 1 << 20
    """samples in one batch"""
    frames: int = 5
    """frames of one request, header included"""

    def to_map(self) -> dict[str, int]:
        return asdict(self)

    @classmethod
    def from_map(cls, values: Mapping[str, Any]) -> Limits:
        """The limits in ``values``; those it does not tell are as by default, those unknown are left out."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: int(value) for name, value in values.items() if name in known})


DEFAULT_LIMITS: Final = Limits()
