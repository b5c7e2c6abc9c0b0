"""All errors of streamlearn, with their wire codes.

``message`` says what was wrong, what was expected and what to do. ``detail`` holds the same facts as JSON
values for programs. ``retryable`` means that the same request may succeed later without a change.

The daemon raises these classes and sends them as ``{code, message, detail, retryable}``. The client raises
the same classes. So ``except Gap`` works in the daemon and in the client.
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
    "CheckpointExists",
    "Conflict",
    "DiskFull",
    "Fenced",
    "Forbidden",
    "Gap",
    "Internal",
    "ModelExists",
    "NoAnswer",
    "NoCheckpoint",
    "ProtocolError",
    "Quarantined",
    "ShuttingDown",
    "StreamLost",
    "StreamlearnError",
    "TooLarge",
    "UnknownModel",
    "UnknownOp",
    "UnknownProducer",
    "UnknownTransfer",
    "Unrecognised",
    "UnsupportedVersion",
    "WrongProcess",
    "by_code",
    "from_wire",
]


class StreamlearnError(Exception):
    """Base class of all errors of streamlearn.

    Parameters
    ----------
    message : str
        What was wrong, what was expected, and what to do.
    **detail
        The facts of the error as JSON values.

    Attributes
    ----------
    code : str
        The error code on the wire.
    retryable : bool
        Whether the same request may succeed later.
    request_id : int, str, bytes or None
        Id of the refused request, set by the codec if it could read the id.
    in_doubt : bool
        Whether the daemon may have executed the request although the call failed. Set by the client.

    Examples
    --------
    >>> error = Gap("batch 9 arrived, batch 5 was expected", expected_seq=5)
    >>> error.code, error.detail
    ('GAP', {'expected_seq': 5})
    """

    code: ClassVar[str] = "ERROR"
    retryable: bool = False

    request_id: int | str | bytes | None = None
    in_doubt: bool = False

    def __init__(self, message: str, **detail: Any) -> None:
        super().__init__(message)
        self.message = message
        self.detail: dict[str, Any] = detail

    def to_wire(self) -> dict[str, Any]:
        """Return the error as the map of a reply's ``error`` field.

        Returns
        -------
        dict
            ``code``, ``message``, ``detail`` and ``retryable``.
        """
        return {
            "code": self.code,
            "message": self.message,
            "detail": self.detail,
            "retryable": self.retryable,
        }


class BadMessage(StreamlearnError):
    """The frames are not a message of this protocol: invalid MessagePack, missing frames or fields."""

    code = "BAD_MESSAGE"


class TooLarge(StreamlearnError):
    """A message, an answer or a model exceeds a limit, which ``detail["limit"]`` names."""

    code = "TOO_LARGE"


class UnsupportedVersion(StreamlearnError):
    """The message has a protocol version that the receiver does not support."""

    code = "UNSUPPORTED_VERSION"


class UnknownOp(StreamlearnError):
    """No operation has this name."""

    code = "UNKNOWN_OP"


class UnknownModel(StreamlearnError):
    """No model has this name."""

    code = "UNKNOWN_MODEL"


class ModelExists(StreamlearnError):
    """A model of this name exists already."""

    code = "MODEL_EXISTS"


class BadName(StreamlearnError):
    """A model or producer name has invalid characters or an invalid length."""

    code = "BAD_NAME"


class BadSpec(StreamlearnError):
    """Parameters of a model are wrong. ``detail["errors"]`` lists all of them as ``{field, message}``."""

    code = "BAD_SPEC"


class BadShape(StreamlearnError):
    """An array has the wrong number of axes, columns or rows."""

    code = "BAD_SHAPE"


class BadDtype(StreamlearnError):
    """An array has a dtype that is not accepted."""

    code = "BAD_DTYPE"


class BadValue(StreamlearnError):
    """A value is out of range, for example an infinity in a sample or a negative lsn."""

    code = "BAD_VALUE"


class Gap(StreamlearnError):
    """Batches are missing before this one. ``detail["expected_seq"]`` is the next expected number."""

    code = "GAP"


class Fenced(StreamlearnError):
    """A newer epoch of the same producer (``detail["epoch"]``) exists; the older one may not write."""

    code = "FENCED"


class Conflict(StreamlearnError):
    """A batch has a number that was used before, and is not known to be the same. It was not learned.

    ``detail["expected_seq"]`` is the producer's next number.
    """

    code = "CONFLICT"


class UnknownProducer(StreamlearnError):
    """The daemon no longer has the position of this producer; the producer must begin a new epoch.

    ``detail["epoch"]`` is the smallest epoch that the daemon accepts.
    """

    code = "UNKNOWN_PRODUCER"


class Forbidden(StreamlearnError):
    """The key of this client has no right to the operation. ``detail`` has the key's name and the right."""

    code = "FORBIDDEN"


class Quarantined(StreamlearnError):
    """The daemon died repeatedly at one record of this model, so the model is set aside.

    ``detail`` has the record's ``lsn`` and the ``reason``. ``streamlearn repair`` drops the record or the
    model.
    """

    code = "QUARANTINED"


class Busy(StreamlearnError):
    """The daemon's queue is full; send the request again later."""

    code = "BUSY"
    retryable = True


class DiskFull(StreamlearnError):
    """The journal's disk is full. The request had no effect; send it again when the disk has space."""

    code = "DISK_FULL"
    retryable = True


class ShuttingDown(StreamlearnError):
    """The daemon is stopping. Send the request again after its restart."""

    code = "SHUTTING_DOWN"
    retryable = True


class NoCheckpoint(StreamlearnError):
    """No checkpoint has this name, or the model cannot be restored to this lsn.

    ``detail["ranges"]`` lists the lsns that can be restored, as ``[first, last]``.
    """

    code = "NO_CHECKPOINT"


class CheckpointExists(StreamlearnError):
    """The model has a checkpoint of this name already."""

    code = "CHECKPOINT_EXISTS"


class BadCheckpoint(StreamlearnError):
    """The checkpoint, or the file of a model, is damaged or belongs to another model."""

    code = "BAD_CHECKPOINT"


class UnknownTransfer(StreamlearnError):
    """The daemon has no such export or upload: it restarted, or the parts came too slowly. Begin again."""

    code = "UNKNOWN_TRANSFER"


class Internal(StreamlearnError):
    """The daemon failed. Its log has the details."""

    code = "INTERNAL"


class NoAnswer(StreamlearnError):
    """Raised by the client: the daemon at ``detail["endpoint"]`` did not answer in time."""

    code = "NO_ANSWER"


class ProtocolError(StreamlearnError):
    """Raised by the client: what answers at ``detail["endpoint"]`` does not follow the protocol."""

    code = "PROTOCOL_ERROR"


class StreamLost(StreamlearnError):
    """Raised by the client: a stream failed. ``detail["unacknowledged"]`` samples may be lost."""

    code = "STREAM_LOST"


class WrongProcess(StreamlearnError):
    """Raised by the client: a fork copied the object into this process; create a new one here."""

    code = "WRONG_PROCESS"


class Unrecognised(StreamlearnError):
    """The daemon is newer and sent an error code that this client does not know (``detail["code"]``)."""

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
        Conflict,
        UnknownProducer,
        Forbidden,
        Quarantined,
        Busy,
        DiskFull,
        ShuttingDown,
        NoCheckpoint,
        CheckpointExists,
        BadCheckpoint,
        UnknownTransfer,
        Internal,
        NoAnswer,
        ProtocolError,
        StreamLost,
        WrongProcess,
    )
}


def from_wire(error: Mapping[str, Any]) -> StreamlearnError:
    """Return the error that `StreamlearnError.to_wire` described.

    Parameters
    ----------
    error : Mapping
        The map of a reply's ``error`` field.

    Returns
    -------
    StreamlearnError
        An instance of the class with this code; `Unrecognised` for an unknown code.
    """
    code, message, detail = error.get("code"), error.get("message"), error.get("detail")
    facts = {str(key): value for key, value in detail.items()} if isinstance(detail, Mapping) else {}
    cls = by_code.get(code) if isinstance(code, str) else None
    text = message if isinstance(message, str) else ""
    result = (Unrecognised if cls is None else cls)(text or f"the daemon answered {code!r} without a message")
    if cls is None:
        facts["code"] = str(code)
    result.detail = facts
    retryable = error.get("retryable")
    if isinstance(retryable, bool):
        result.retryable = retryable
    return result
