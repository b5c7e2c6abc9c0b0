"""The messages of the protocol as values. `codec` converts them to frames and back.

Messages are named tuples: immutable, and fast to create, because one is created per batch.
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
    "RESEND_WINDOW",
    "VERSION",
    "WIDE_WINDOW",
    "AckLevel",
    "AnsweredLevel",
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

RESEND_WINDOW: Final = 256
"""How many of its last batches a producer may send again: the daemon has the digests of so many."""
WIDE_WINDOW: Final = 1024
"""The same for a producer whose batches state a `window` above `RESEND_WINDOW`."""

FIREHOSE_SHARE: Final = 16
LEAST_FIREHOSE_BYTES: Final = 1 << 16

Id: TypeAlias = int | str | bytes | None
"""Id of a request, repeated in the reply: a 64-bit integer, or text or bytes of up to 64 bytes."""

Frame: TypeAlias = bytes | memoryview
"""One frame. A memoryview has format ``B``."""

Samples: TypeAlias = NDArray[np.float32]
"""float32, (n, columns), C-contiguous and aligned. Read-only if it is a view of a received frame."""

AckLevel: TypeAlias = Literal["none", "received", "written", "durable"]
"""When the daemon acknowledges a batch. ``none``: never; it answers errors only."""
AnsweredLevel: TypeAlias = Literal["received", "written", "durable"]
"""The ack levels with an acknowledgement."""
ACK_LEVELS: Final[frozenset[str]] = frozenset(get_args(AckLevel))

ARRAYS: Final = ("x", "y", "keys", "ids", "times")
"""The fields of ``learn`` that are frames, in the order of the frames."""
CONTENT: Final = "content"
"""The field of ``upload`` that is a frame of bytes."""


class Learn(NamedTuple):
    """A batch of samples, or of late targets, for a model.

    Parameters
    ----------
    model : str
        Name of the model.
    x : ndarray of float32, (n, dim), or None
        The samples. ``None``: ``y`` holds targets of the earlier samples with these ``ids``.
    y : ndarray of float32, (n, targets), optional
        The targets.
    producer : str, default ""
        Name of the producer. Empty: the batch has no number, and the daemon does not detect duplicates.
    epoch, seq : int, default 0
        The producer's epoch, and the number of the batch in it.
    ack : {"none", "received", "written", "durable"}, default "durable"
        When the daemon acknowledges: never (errors only), in memory, in the journal, or synced to disk.
    id : int, str, bytes or None, default None
        Id of the request.
    keys, ids : ndarray of int64, (n,), optional
        The keys and the ids of the samples.
    times : ndarray of int64, (n,), optional
        The times of the samples, in nanoseconds since 1970. ``None``: they are the arrival times.
    channels : tuple of str, optional
        The names of the columns of ``x``, to be compared with the channels of the model.
    key_names : tuple of str, optional
        Texts that keys stand for. Events then have the texts.
    window : int, default 0
        How many unacknowledged batches the producer may have. 0: not stated, `RESEND_WINDOW` at most.
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
    times: NDArray[np.int64] | None = None
    channels: tuple[str, ...] | None = None
    key_names: tuple[str, ...] | None = None
    window: int = 0

    @property
    def rows(self) -> int:
        """Number of samples, or of late targets."""
        array = self.y if self.x is None else self.x
        return 0 if array is None else len(array)

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays that are not ``None``, by name, in the order of their frames."""
        return {name: array for name in ARRAYS if (array := getattr(self, name)) is not None}

    def part(self, start: int, stop: int) -> Learn:
        """Return a batch with rows ``start`` to ``stop − 1``.

        Parameters
        ----------
        start, stop : int
            The first row, and the row after the last one.

        Returns
        -------
        Learn
            The part. Its arrays are views.
        """
        views: dict[str, Any] = {name: array[start:stop] for name, array in self.arrays.items()}
        return self._replace(**views)


class Request(NamedTuple):
    """A request for any operation except ``learn``.

    Parameters
    ----------
    op : str
        Name of the operation.
    id : int, str, bytes or None, default None
        Id of the request.
    model : str, default ""
        Name of the model.
    fields : Mapping, default {}
        The operation's other fields, see `OPS`.
    x : ndarray of float32, (n, dim), optional
        The samples of ``predict`` and ``explain``.
    keys : ndarray of int64, (n,), optional
        The keys of these samples.
    times : ndarray of int64, (n,), optional
        The times of these samples, in nanoseconds since 1970.
    channels : tuple of str, optional
        The names of the columns of ``x``.
    y : ndarray of float32, (n, targets), optional
        The targets of the samples of ``explain``.
    content : ndarray of uint8, (bytes,), optional
        A part of a file, of ``upload``.
    """

    op: str
    id: Id = None
    model: str = ""
    fields: Mapping[str, Any] = {}
    x: Samples | None = None
    keys: Identifiers | None = None
    times: NDArray[np.int64] | None = None
    channels: tuple[str, ...] | None = None
    y: Samples | None = None
    content: NDArray[np.uint8] | None = None


class Reply(NamedTuple):
    """An answer: an error, or a map with named arrays.

    Parameters
    ----------
    id : int, str, bytes or None
        Id of the request.
    ok : dict
        The result. Empty for an error.
    arrays : dict of str to ndarray
        The arrays of the result by name.
    error : StreamlearnError, optional
        The error.
    """

    id: Id
    ok: dict[str, Any]
    arrays: dict[str, NDArray[Any]]
    error: StreamlearnError | None = None


class EventMessage(NamedTuple):
    """An event of a model.

    Parameters
    ----------
    kind : str
        One of `names.EVENT_KINDS`.
    model : str
        Name of the model.
    lsn : int
        Log sequence number of the record that caused the event.
    first : int, default 0
        Number of samples that the model had learned before.
    rows : int, default 0
        Number of rows of the outputs.
    time : int, default 0
        Time of the event in nanoseconds since 1970.
    arrays : Mapping of str to ndarray, default {}
        The outputs by name.
    key_names : Mapping of str to int, default {}
        The keys of rows that the daemon knows as texts: the number of each text.
    """

    kind: str
    model: str
    lsn: int
    first: int = 0
    rows: int = 0
    time: int = 0
    arrays: Mapping[str, NDArray[Any]] = {}
    key_names: Mapping[str, int] = {}


class Op(NamedTuple):
    """The fields of an operation, without ``v``, ``id`` and ``op``.

    Parameters
    ----------
    fields : Mapping of str to type
        The type of each field. ``numpy.ndarray``: the message has an attribute for it. ``float``: any number.
    required : frozenset of str
        Names of the required fields.
    """

    fields: Mapping[str, type]
    required: frozenset[str] = frozenset()


def _op(*required: str, **fields: type) -> Op:
    return Op(fields, frozenset(required))


_NUMBER: Final[Mapping[str, type]] = {"producer": str, "epoch": int, "seq": int}
"""Fields of a change that is executed once, however often it is sent."""

OPS: Final[Mapping[str, Op]] = {
    "hello": _op(cumulative_acks=bool),
    "create": _op("model", "kind", model=str, kind=str, spec=dict, state=str, parameters=str, sha256=str),
    "upload": _op(
        "model",
        "upload",
        "bytes",
        "content",
        model=str,
        upload=str,
        bytes=int,
        offset=int,
        content=np.ndarray,
    ),
    "export": _op("model", model=str, export=str, offset=int),
    "clone": _op("model", "into", model=str, into=str),
    "delete": _op("model", model=str),
    "models": _op(after=str),
    "describe": _op("model", model=str),
    "learn": _op(
        "model",
        model=str,
        x=np.ndarray,
        y=np.ndarray,
        keys=np.ndarray,
        ids=np.ndarray,
        times=np.ndarray,
        channels=list,
        key_names=list,
        producer=str,
        epoch=int,
        seq=int,
        ack=str,
        window=int,
    ),
    "predict": _op("model", "x", model=str, x=np.ndarray, keys=np.ndarray, times=np.ndarray, channels=list),
    "explain": _op(
        "model",
        "x",
        model=str,
        x=np.ndarray,
        y=np.ndarray,
        keys=np.ndarray,
        times=np.ndarray,
        channels=list,
    ),
    "forecast": _op("model", "steps", model=str, steps=int, key=object, times=np.ndarray),
    "sample": _op("model", "n", model=str, n=int, temperature=float, seed=int, key=object),
    "read": _op("model", "what", model=str, what=list),
    "reheat": _op("model", model=str, heat=float, **_NUMBER),
    "pause": _op("model", model=str, **_NUMBER),
    "resume": _op("model", model=str, **_NUMBER),
    "feedback": _op(
        "model",
        "verdict",
        model=str,
        x=np.ndarray,
        channels=list,
        sample=int,
        verdict=str,
        name=str,
        **_NUMBER,
    ),
    "label": _op("model", model=str, label=str, unit=int, x=np.ndarray, channels=list, key=object, **_NUMBER),
    "checkpoint": _op("model", model=str, name=str),
    "unpin": _op("model", "name", model=str, name=str),
    "checkpoints": _op("model", model=str),
    "restore": _op("model", model=str, lsn=int, name=str, into=str, **_NUMBER),
    "backup": _op("directory", directory=str),
    "stats": _op(model=str, after=str),
    "position": _op("model", "producer", model=str, producer=str),
}


@dataclass(frozen=True, slots=True)
class Limits:
    """Size limits of messages. ``hello`` announces the daemon's limits.

    Parameters
    ----------
    header_bytes : int, default 4 KiB
        Largest header of ``learn``.
    control_header_bytes : int, default 1 MiB
        Largest header of any other message.
    frame_bytes : int, default 64 MiB
        Largest array frame.
    rows : int, default 1 048 576
        Largest number of samples in one batch.
    frames : int, default 6
        Largest number of frames in one request, including the header.
    window : int, default 256
        Largest number of unacknowledged batches of one producer. The daemon recognizes so many on a resend.
    wide_window : int, default 256
        The same for a producer whose batches state a `window`. Daemons that do not announce it have no other.
    """

    header_bytes: int = 4096
    control_header_bytes: int = 1 << 20
    frame_bytes: int = 64 << 20
    rows: int = 1 << 20
    frames: int = 6
    window: int = RESEND_WINDOW
    wide_window: int = RESEND_WINDOW

    @property
    def firehose_frame_bytes(self) -> int:
        """Largest array frame of a message to the firehose, of which more messages may wait."""
        return min(self.frame_bytes, max(self.frame_bytes // FIREHOSE_SHARE, LEAST_FIREHOSE_BYTES))

    def to_map(self) -> dict[str, int]:
        """Return the limits by name.

        Returns
        -------
        dict of str to int
            All limits.
        """
        return asdict(self)

    @classmethod
    def from_map(cls, values: Mapping[str, Any]) -> Limits:
        """Return the limits in a map.

        Parameters
        ----------
        values : Mapping
            Limits by name. Missing ones have their defaults; unknown ones are ignored.

        Returns
        -------
        Limits
            The limits.
        """
        known = {field.name for field in fields(cls)}
        given = {name: int(value) for name, value in values.items() if name in known and value is not None}
        return cls(**given)


DEFAULT_LIMITS: Final = Limits()
