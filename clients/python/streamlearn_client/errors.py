"""Every error of streamlearn, each with the code it has on the wire.

An error says what was wrong, what was expected and what to do, in ``message``; ``detail`` holds the
same facts for programs (only JSON-able values). ``retryable`` means that the same request, sent again
a little later, may well succeed; the others will fail again until something is changed.

The daemon raises these classes and sends them as ``{code, message, detail, retryable}``; the client
turns them back into the same classes, so ``except Gap`` means the same on both sides of a socket.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

__all__ = [
    "BadCheckpoint",
    "BadDtype",
    "BadMessage",
    "BadName",
    "BadShape",
    "BadSpec",
    "BadValue",
    "Busy",
    "DiskFull",
    "Fenced",
    "Gap",
    "Internal",
    "ModelExists",
    "NoAnswer",
    "NoCheckpoint",
    "ShuttingDown",
    "StreamLost",
    "StreamlearnError",
    "TooLarge",
    "UnknownModel",
    "UnknownOp",
    "Unrecognised",
    "UnsupportedVersion",
    "by_code",
    "from_wire",
]


class StreamlearnError(Exception):
    """The root of all errors of streamlearn.

    ``message`` is for people, ``detail`` for programs. ``request_id`` is set by the codec when the
    request that caused the error could still be identified, so that a reply can be addressed.
    """

    code: ClassVar[str] = "ERROR"
    retryable: ClassVar[bool] = False

    request_id: int | str | bytes | None = None

    def __init__(self, message: str, **detail: Any) -> None:
        super().__init__(message)
        self.message = message
        self.detail: dict[str, Any] = detail

    def to_wire(self) -> dict[str, Any]:
        """The error as the map that a reply carries under ``error``."""
        return {
            "code": self.code,
            "message": self.message,
            "detail": self.detail,
            "retryable": self.retryable,
        }


class BadMessage(StreamlearnError):
    """The frames are not a message of this protocol: broken MessagePack, missing frames or fields."""

    code = "BAD_MESSAGE"


class TooLarge(StreamlearnError):
    """A header, frame, list or batch is over the limits that ``hello`` announces."""

    code = "TOO_LARGE"


class UnsupportedVersion(StreamlearnError):
    """The message speaks a protocol version that this side does not."""

    code = "UNSUPPORTED_VERSION"


class UnknownOp(StreamlearnError):
    """There is no such operation."""

    code = "UNKNOWN_OP"


class UnknownModel(StreamlearnError):
    """There is no model of that name."""

    code = "UNKNOWN_MODEL"


class ModelExists(StreamlearnError):
    """A model of that name is already there."""

    code = "MODEL_EXISTS"


class BadName(StreamlearnError):
    """A model or producer name has characters or a length that names may not have."""

    code = "BAD_NAME"


class BadSpec(StreamlearnError):
    """A model's parameters are wrong; ``detail["errors"]`` is a list of ``{field, message}``, all at once."""

    code = "BAD_SPEC"


class BadShape(StreamlearnError):
    """An array has the wrong number of axes, columns or rows."""

    code = "BAD_SHAPE"


class BadDtype(StreamlearnError):
    """An array's elements are of a type that is not taken."""

    code = "BAD_DTYPE"


class BadValue(StreamlearnError):
    """A value is out of its range: an infinity in a sample, a negative lsn, an unknown ack level."""

    code = "BAD_VALUE"


class Gap(StreamlearnError):
    """A batch's ``seq`` is ahead of the next one expected (``detail["expected_seq"]``): some are missing."""

    code = "GAP"


class Fenced(StreamlearnError):
    """A newer epoch of the same producer (``detail["epoch"]``) has taken over; this one may not write."""

    code = "FENCED"


class Busy(StreamlearnError):
    """The daemon has all the work it will hold; send again a little later."""

    code = "BUSY"
    retryable = True


class DiskFull(StreamlearnError):
    """The journal's disk is full; nothing of the request was kept. It resumes when there is room."""

    code = "DISK_FULL"
    retryable = True


class ShuttingDown(StreamlearnError):
    """The daemon is stopping and takes nothing new; send again once it is back."""

    code = "SHUTTING_DOWN"
    retryable = True


class NoCheckpoint(StreamlearnError):
    """There is no checkpoint at that lsn."""

    code = "NO_CHECKPOINT"


class BadCheckpoint(StreamlearnError):
    """A checkpoint can't be used: damaged, or not one of this model."""

    code = "BAD_CHECKPOINT"


class Internal(StreamlearnError):
    """A fault of the daemon itself; its log has the particulars."""

    code = "INTERNAL"


class NoAnswer(StreamlearnError):
    """Client side: the daemon did not answer in time, or is not there (``detail["endpoint"]``)."""

    code = "NO_ANSWER"


class StreamLost(StreamlearnError):
    """Client side: a stream can't go on; ``detail`` tells how many samples were not acknowledged."""

    code = "STREAM_LOST"


class Unrecognised(StreamlearnError):
    """The daemon sent an error code that this client does not know (``detail["code"]``): it is newer."""

    code = "UNRECOGNISED"


by_code: dict[str, type[StreamlearnError]] = {
    cls.code: cls
    for cls in (
        BadMessage,
        TooLarge,
        UnsupportedVersion,
        UnknownOp,
        UnknownModel,
        ModelExists,
        BadName,
        BadSpec,
        BadShape,
        BadDtype,
        BadValue,
        Gap,
        Fenced,
        Busy,
        DiskFull,
        ShuttingDown,
        NoCheckpoint,
        BadCheckpoint,
        Internal,
        NoAnswer,
        StreamLost,
    )
}


def from_wire(error: Mapping[str, Any]) -> StreamlearnError:
    """The error that ``to_wire`` described; one with an unknown code becomes ``Unrecognised``."""
    code, message, detail = error.get("code"), error.get("message"), error.get("detail")
    facts = {str(key): value for key, value in detail.items()} if isinstance(detail, Mapping) else {}
    cls = by_code.get(code) if isinstance(code, str) else None
    text = message if isinstance(message, str) else ""
    made = (Unrecognised if cls is None else cls)(text or f"the daemon answered {code!r} without a message")
    if cls is None:
        facts["code"] = str(code)
    made.detail = facts
    return made
