"""Conversion between messages and frames: pure functions without sockets. Daemon and client share them.

Decoders accept any bytes. For frames that are not a message of this protocol they raise a typed error and no
other exception; the error has ``request_id`` if the ``id`` can be read. Decoded arrays are views of the
frames (read-only if the frames are ``bytes``). Only an unaligned array is copied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgpack
from numpy.typing import NDArray

from streamlearn_client.errors import (
    BadMessage,
    BadValue,
    StreamlearnError,
    TooLarge,
    UnknownOp,
    from_wire,
)
from streamlearn_client.protocol.frame_reader import FrameReader, identifier_count
from streamlearn_client.protocol.identifiers import as_identifier, texts_of
from streamlearn_client.protocol.learn_header import LearnHeader, array_frames, described
from streamlearn_client.protocol.messages import (
    ACK_LEVELS,
    DEFAULT_LIMITS,
    OPS,
    VERSION,
    WIDE_WINDOW,
    Frame,
    Id,
    Learn,
    Limits,
    Reply,
    Request,
)
from streamlearn_client.protocol.names import check_model, check_producer
from streamlearn_client.protocol.wire import (
    ID_BYTES,
    check_uint63,
    check_version,
    describe_arrays,
    is_id,
    peek_id,
    read_arrays,
    short_repr,
    unpack_header,
)

__all__ = [
    "decode_reply",
    "decode_request",
    "encode_error",
    "encode_replies",
    "encode_reply",
    "encode_request",
    "peek_id",
]

_LEARN_FIELDS: Final = frozenset({"v", "id", "op", *OPS["learn"].fields})
_UP_TO_ID: Final = b"\x83" + msgpack.packb({"v": VERSION, "id": None})[1:-1]  # the start of a map of three
_KINDS: Final[Mapping[type, str]] = {
    bool: "true or false",
    str: "text",
    int: "an integer",
    float: "a number",
    dict: "a map",
}


# ------------------------------------------------------------------------------------------- requests


def encode_request(request: Request | Learn) -> list[Frame]:
    """Encode a request.

    Parameters
    ----------
    request : Request or Learn
        The request. ``x`` and ``y`` must be C-contiguous float32 arrays, the other arrays int64.

    Returns
    -------
    list of bytes or memoryview
        The frames, header first. Array frames are views.
    """
    if isinstance(request, Learn):
        header = LearnHeader(request).encode(request.id, request.seq)
    else:
        fields: dict[str, Any] = {"v": VERSION, "id": request.id, "op": request.op}
        if request.model:
            fields["model"] = request.model
        fields.update(request.fields)
        if request.channels is not None:
            fields["channels"] = request.channels
        fields.update(described(request))
        header = msgpack.packb(fields)
    return [header, *array_frames(request)]


def decode_request(frames: Sequence[Frame], limits: Limits = DEFAULT_LIMITS) -> Request | Learn:
    """Decode a request.

    Parameters
    ----------
    frames : sequence of bytes or memoryview
        Header and array frames, without the envelope (see `split_envelope`).
    limits : Limits, default DEFAULT_LIMITS
        Size limits.

    Returns
    -------
    Request or Learn
        The request.

    Raises
    ------
    StreamlearnError
        A typed error if the frames are not a valid request.
    """
    if not frames or len(frames) > limits.frames:
        error = BadMessage(
            f"a request has 1 to {limits.frames} frames, not {len(frames)}", frames=len(frames)
        )
        error.request_id = peek_id(frames)
        raise error
    header = unpack_header(frames[0], limits.control_header_bytes)
    name = header.get("id")
    try:
        if not is_id(name):
            raise _bad_id(name)
        check_version(header)
        if header.get("op") == "learn":
            return _learn(name, header, frames, limits)
        return _control(name, header, frames, limits)
    except StreamlearnError as error:
        error.request_id = name if is_id(name) else None
        raise


def _learn(name: Id, header: dict[str, Any], frames: Sequence[Frame], limits: Limits) -> Learn:
    if len(frames[0]) > limits.header_bytes:
        raise TooLarge(
            f"the header of learn has {len(frames[0])} bytes and may have {limits.header_bytes}; "
            "send x as a float32 frame after the header instead of numbers in it",
            bytes=len(frames[0]),
            limit="limits.header_bytes",
            most=limits.header_bytes,
        )
    if not _LEARN_FIELDS.issuperset(header):
        _check_fields("learn", header)
    get = header.get
    model = check_model(get("model"))
    ack = get("ack", "durable")
    if type(ack) is not str or ack not in ACK_LEVELS:
        raise BadValue(
            f"ack must be one of {', '.join(sorted(ACK_LEVELS))}, not {short_repr(ack)}", field="ack"
        )
    producer, epoch, seq, window = get("producer"), get("epoch"), get("seq"), get("window", 0)
    if producer is None:
        producer, epoch, seq, window = "", 0, 0, 0
    elif epoch is None or seq is None:
        raise BadMessage("a batch with a producer needs an epoch and a seq", field="seq")
    else:
        check_producer(producer)
        check_uint63(epoch, "epoch")
        check_uint63(seq, "seq")
        if check_uint63(window, "window") > WIDE_WINDOW:
            raise BadValue(
                f"window must be at most {WIDE_WINDOW}, not {window}: the daemon recognizes so many batches "
                "when they are sent again",
                field="window",
                limit=WIDE_WINDOW,
            )
    x, y, keys, ids = get("x"), get("y"), get("keys"), get("ids")
    if x is None and (y is None or ids is None):
        raise BadMessage(
            "learn needs samples x, or late targets: y and the ids of their samples",
            field="ids" if y is not None else "y" if ids is not None else "x",
        )
    reader = FrameReader(frames, limits)
    if x is not None:
        x = reader.samples(x, "x")
        rows, of = x.shape[0], "x"
    else:
        rows, of = identifier_count(ids), "ids"
    if y is not None:
        y = reader.samples(y, "y", rows, of)
    if keys is not None:
        keys = reader.identifiers(keys, rows, "keys")
    if ids is not None:
        ids = reader.identifiers(ids, rows, "ids")
    times, channels = get("times"), get("channels")
    if times is not None or channels is not None:
        if x is None:
            raise BadMessage(
                "late targets have no times and no channels: these belong to samples; leave them out",
                field="channels" if times is None else "times",
            )
        times = None if times is None else reader.times(times, rows)
        channels = None if channels is None else _texts(channels, "channels")
    key_names = get("key_names")
    if key_names is not None:
        if keys is None:
            raise BadMessage("key_names belong to keys; add keys, or leave key_names out", field="key_names")
        key_names = _texts(key_names, "key_names")
    elif type(get("keys")) in (list, str):
        key_names = texts_of(get("keys")) or None
    reader.check_all_read()
    return Learn(model, x, y, producer, epoch, seq, ack, name, keys, ids, times, channels, key_names, window)


def _texts(value: object, field: str) -> tuple[str, ...]:
    """Return a list of texts, for example of names of channels."""
    if type(value) is not list or not value or not all(type(each) is str for each in value):
        raise BadMessage(f"{field} must be a list of texts, not {short_repr(value)}", field=field)
    return tuple(value)


def _control(name: Id, header: dict[str, Any], frames: Sequence[Frame], limits: Limits) -> Request:
    op = header.get("op")
    if type(op) is not str or op not in OPS:
        raise UnknownOp(
            f"no operation {short_repr(op)} exists; use one of: {', '.join(OPS)}", op=short_repr(op)
        )
    _check_fields(op, header)
    reader = FrameReader(frames, limits)
    model, x, y, keys, times, channels, content = "", None, None, None, None, None, None
    fields: dict[str, Any] = {}
    for field, kind in OPS[op].fields.items():
        value = header.get(field)
        if value is None:
            continue
        if field == "model":
            model = check_model(value)
        elif field == "x":
            x = reader.samples(value, "x")
        elif field == "y" and x is not None:
            y = reader.samples(value, "y", x.shape[0])
        elif field == "keys" and x is not None:
            keys = reader.identifiers(value, x.shape[0], "keys")
        elif field == "times" and (x is not None or op == "forecast"):
            times = reader.times(value, _steps(fields, limits) if x is None else x.shape[0])
        elif field == "channels":
            channels = _texts(value, field)
        elif field == "content":
            content = reader.content(value)
        elif kind is list:
            fields[field] = list(_texts(value, field))
        elif field == "key":
            fields[field] = as_identifier(value, field)
        elif field == "producer":
            fields[field] = check_producer(value)
        elif type(value) is not kind and not (kind is float and type(value) is int):
            raise BadMessage(f"{field} of {op} must be {_KINDS[kind]}, not {short_repr(value)}", field=field)
        else:
            fields[field] = check_uint63(value, field) if kind is int else value
    reader.check_all_read()
    return Request(op, name, model, fields, x, keys, times, channels, y, content)


def _steps(fields: Mapping[str, Any], limits: Limits) -> int:
    """Return the steps of a forecast that has times, which are as many."""
    steps = int(fields["steps"])
    if steps > limits.rows:
        raise TooLarge(
            f"steps is {steps}, and with times it may be {limits.rows} at most; ask for fewer steps",
            limit="limits.rows",
            most=limits.rows,
        )
    return steps


def _check_fields(op: str, header: Mapping[Any, Any]) -> None:
    known, required = OPS[op]
    for field in header:
        if field not in known and field not in ("v", "id", "op"):
            allowed = ", ".join(known) or "no fields"
            raise BadMessage(
                f"{op} has no field {short_repr(field)}; it has: {allowed}", field=short_repr(field)
            )
    for field in known:
        if field in required and header.get(field) is None:
            raise BadMessage(f"{op} needs the field {field!r}; add it", field=field)


def _bad_id(name: object) -> BadMessage:
    return BadMessage(
        f"id must be an integer, or at most {ID_BYTES} bytes, not {short_repr(name)}", field="id"
    )


# -------------------------------------------------------------------------------------------- replies


def encode_reply(
    id: Id, ok: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]] | None = None
) -> list[Frame]:
    """Encode an answer.

    Parameters
    ----------
    id : int, str, bytes or None
        Id of the request.
    ok : Mapping
        The result.
    arrays : Mapping of str to ndarray, optional
        C-contiguous arrays of the result.

    Returns
    -------
    list of bytes or memoryview
        The frames, header first. Array frames are views: send them before the arrays change.
    """
    if not arrays:
        return [msgpack.packb({"v": VERSION, "id": id, "ok": ok})]
    described, buffers = describe_arrays(arrays)
    return [msgpack.packb({"v": VERSION, "id": id, "ok": ok, "arrays": described}), *buffers]


def encode_replies(ids: Sequence[Id], ok: Mapping[str, Any]) -> list[bytes]:
    """Encode the same answer to several requests.

    Parameters
    ----------
    ids : sequence of int, str, bytes or None
        Ids of the requests.
    ok : Mapping
        The result.

    Returns
    -------
    list of bytes
        One frame per request, as `encode_reply` returns it.
    """
    result = msgpack.packb({"ok": ok})[1:]
    return [_UP_TO_ID + msgpack.packb(id) + result for id in ids]


def encode_error(id: Id, error: StreamlearnError) -> list[Frame]:
    """Encode an error.

    Parameters
    ----------
    id : int, str, bytes or None
        Id of the request.
    error : StreamlearnError
        The error. Values of its detail that MessagePack can't hold are sent as text.

    Returns
    -------
    list of bytes
        One frame.
    """
    return [msgpack.packb({"v": VERSION, "id": id, "error": error.to_wire()}, default=short_repr)]


def decode_reply(frames: Sequence[Frame], limits: Limits = DEFAULT_LIMITS) -> Reply:
    """Decode a reply. An error in the reply is returned, not raised.

    Parameters
    ----------
    frames : sequence of bytes or memoryview
        Header and array frames.
    limits : Limits, default DEFAULT_LIMITS
        Size limits.

    Returns
    -------
    Reply
        The reply.

    Raises
    ------
    StreamlearnError
        A typed error if the frames are not a valid reply.
    """
    header = unpack_header(frames[0] if frames else b"", limits.frame_bytes)
    name = header.get("id")
    if not is_id(name):
        raise _bad_id(name)
    check_version(header)
    error, ok = header.get("error"), header.get("ok")
    if type(error) is dict:
        if type(error.get("code")) is not str or type(error.get("message")) is not str:
            raise BadMessage("an error needs a code and a message, both text")
        return Reply(name, {}, {}, from_wire(error))
    if type(ok) is not dict:
        raise BadMessage("a reply needs a map under 'ok' or 'error'")
    if len(frames) == 1 and "arrays" not in header:
        return Reply(name, ok, {})
    return Reply(name, ok, read_arrays(header.get("arrays"), frames[1:]))
