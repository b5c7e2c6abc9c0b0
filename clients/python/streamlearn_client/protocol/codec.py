"""Frames to messages and back: pure functions, no sockets, the same ones in the daemon and the client.

Decoders take whatever arrives: what is not a message of this protocol raises one of the typed errors,
with ``request_id`` set when the sender's ``id`` could be read, and never anything else. Decoded arrays
are views of the frames (read-only when these are ``bytes``); only an unaligned one is copied.
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
from streamlearn_client.protocol.identifiers import as_identifier
from streamlearn_client.protocol.messages import (
    ACK_LEVELS,
    ARRAYS,
    DEFAULT_LIMITS,
    OPS,
    VERSION,
    EventMessage,
    Frame,
    Id,
    Learn,
    Limits,
    Reply,
    Request,
)
from streamlearn_client.protocol.names import EVENT_KINDS, check_model, check_producer, topic
from streamlearn_client.protocol.reading import Buffers, count
from streamlearn_client.protocol.wire import (
    ID_BYTES,
    bytes_of,
    check_uint63,
    check_version,
    describe_arrays,
    is_id,
    peek_id,
    read_arrays,
    shown,
    unpack_header,
)

__all__ = [
    "decode_event",
    "decode_reply",
    "decode_request",
    "encode_error",
    "encode_event",
    "encode_reply",
    "encode_request",
    "peek_id",
    "split_envelope",
]

_LEARN_FIELDS: Final = frozenset({"v", "id", "op", *OPS["learn"].fields})
_KINDS: Final[Mapping[type, str]] = {str: "text", int: "an integer", float: "a number", dict: "a map"}


# ------------------------------------------------------------------------------------------- requests


def encode_request(request: Request | Learn) -> list[Frame]:
    """The frames of a request, header first. Arrays go out as views, not copies.

    ``x`` and ``y`` must be float32 and C-contiguous, as `samples.as_samples` makes them, ``keys`` and ``ids``
    int64, as of `identifiers.as_identifiers`.
    """
    header: dict[str, Any] = {"v": VERSION, "id": request.id}
    if isinstance(request, Learn):
        header["op"] = "learn"
        header["model"] = request.model
        if request.producer:
            header["producer"] = request.producer
            header["epoch"] = request.epoch
            header["seq"] = request.seq
        header["ack"] = request.ack
    else:
        header["op"] = request.op
        if request.model:
            header["model"] = request.model
        header.update(request.fields)
    buffers: list[Frame] = []
    for field in ARRAYS:
        array = getattr(request, field, None)
        if array is not None:
            header[field] = {"dtype": array.dtype.str, "shape": array.shape}
            buffers.append(bytes_of(array))
    return [msgpack.packb(header), *buffers]


def decode_request(frames: Sequence[Frame], limits: Limits = DEFAULT_LIMITS) -> Request | Learn:
    """The request in ``frames``: header and buffers, without the envelope (see `split_envelope`)."""
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
            "send x as a float32 frame beside the header instead of numbers in it",
            bytes=len(frames[0]),
            limit=limits.header_bytes,
        )
    if not _LEARN_FIELDS.issuperset(header):
        _check_fields("learn", header)
    get = header.get
    model = check_model(get("model"))
    ack = get("ack", "durable")
    if type(ack) is not str or ack not in ACK_LEVELS:
        raise BadValue(f"ack must be one of {', '.join(sorted(ACK_LEVELS))}, not {shown(ack)}", field="ack")
    producer, epoch, seq = get("producer"), get("epoch"), get("seq")
    if producer is None:
        producer, epoch, seq = "", 0, 0
    elif epoch is None or seq is None:
        raise BadMessage("a batch with a producer needs its epoch and seq as well", field="seq")
    else:
        check_producer(producer)
        check_uint63(epoch, "epoch")
        check_uint63(seq, "seq")
    x, y, keys, ids = get("x"), get("y"), get("keys"), get("ids")
    if x is None and (y is None or ids is None):
        raise BadMessage(
            "learn needs samples x, or targets of earlier samples: y, and the samples' ids",
            field="ids" if y is not None else "y" if ids is not None else "x",
        )
    buffers = Buffers(frames, limits)
    if x is not None:
        x = buffers.samples(x, "x")
        rows, of = x.shape[0], "x"
    else:
        rows, of = count(ids), "ids"
    if y is not None:
        y = buffers.samples(y, "y", rows, of)
    if keys is not None:
        keys = buffers.identifiers(keys, rows, "keys")
    if ids is not None:
        ids = buffers.identifiers(ids, rows, "ids")
    buffers.check_all_used()
    return Learn(model, x, y, producer, epoch, seq, ack, name, keys, ids)


def _control(name: Id, header: dict[str, Any], frames: Sequence[Frame], limits: Limits) -> Request:
    op = header.get("op")
    if type(op) is not str or op not in OPS:
        raise UnknownOp(f"there is no op {shown(op)}; there are: {', '.join(OPS)}", op=shown(op))
    _check_fields(op, header)
    buffers = Buffers(frames, limits)
    model, x, keys = "", None, None
    fields: dict[str, Any] = {}
    for field, kind in OPS[op].fields.items():
        value = header.get(field)
        if value is None:
            continue
        if field == "model":
            model = check_model(value)
        elif field == "x":
            x = buffers.samples(value, "x")
        elif field == "keys" and x is not None:
            keys = buffers.identifiers(value, x.shape[0], "keys")
        elif field == "key":
            fields[field] = as_identifier(value, field)
        elif field == "producer":
            fields[field] = check_producer(value)
        elif type(value) is not kind and not (kind is float and type(value) is int):
            raise BadMessage(f"{field} of {op} must be {_KINDS[kind]}, not {shown(value)}", field=field)
        else:
            fields[field] = check_uint63(value, field) if kind is int else value
    buffers.check_all_used()
    return Request(op, name, model, fields, x, keys)


def _check_fields(op: str, header: Mapping[Any, Any]) -> None:
    known, required = OPS[op]
    for field in header:
        if field not in known and field not in ("v", "id", "op"):
            takes = ", ".join(known) or "nothing else"
            raise BadMessage(f"{op} takes no field {shown(field)}; it takes: {takes}", field=shown(field))
    for field in known:
        if field in required and header.get(field) is None:
            raise BadMessage(f"{op} needs the field {field!r}", field=field)


def _bad_id(name: object) -> BadMessage:
    return BadMessage(f"id must be an integer, or at most {ID_BYTES} bytes, not {shown(name)}", field="id")


# -------------------------------------------------------------------------------------------- replies


def encode_reply(
    id: Id, ok: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]] | None = None
) -> list[Frame]:
    """The frames of an answer. Arrays (C-contiguous) go out as views: send them before they change."""
    if not arrays:
        return [msgpack.packb({"v": VERSION, "id": id, "ok": ok})]
    described, buffers = describe_arrays(arrays)
    return [msgpack.packb({"v": VERSION, "id": id, "ok": ok, "arrays": described}), *buffers]


def encode_error(id: Id, error: StreamlearnError) -> list[Frame]:
    """The frame of an answer that refuses; what MessagePack can't hold in its detail goes out as text."""
    return [msgpack.packb({"v": VERSION, "id": id, "error": error.to_wire()}, default=shown)]


def decode_reply(frames: Sequence[Frame], limits: Limits = DEFAULT_LIMITS) -> Reply:
    """The reply in ``frames``; a refusal is not raised but returned as its ``error``."""
    header = unpack_header(frames[0] if frames else b"", limits.frame_bytes)
    name = header.get("id")
    if not is_id(name):
        raise _bad_id(name)
    check_version(header)
    error, ok = header.get("error"), header.get("ok")
    if type(error) is dict:
        return Reply(name, {}, {}, from_wire(error))
    if type(ok) is not dict:
        raise BadMessage("a reply needs a map under 'ok' or 'error'")
    if len(frames) == 1 and "arrays" not in header:
        return Reply(name, ok, {})
    return Reply(name, ok, read_arrays(header.get("arrays"), frames[1:]))


# --------------------------------------------------------------------------------------------- events


def encode_event(event: EventMessage) -> list[Frame]:
    """The frames of an event: its topic, its header, its buffers."""
    described, buffers = describe_arrays(event.arrays)
    header = {
        "v": VERSION,
        "model": event.model,
        "lsn": event.lsn,
        "first": event.first,
        "rows": event.rows,
        "time": event.time,
        "arrays": described,
    }
    return [topic(event.model, event.kind).encode(), msgpack.packb(header), *buffers]


def decode_event(frames: Sequence[Frame], limits: Limits = DEFAULT_LIMITS) -> EventMessage:
    """The event in ``frames``, topic first."""
    if len(frames) < 2:
        raise BadMessage(f"an event has a topic and a header, at least 2 frames, not {len(frames)}")
    header = unpack_header(frames[1], limits.control_header_bytes)
    check_version(header)
    model = check_model(header.get("model"))
    subject = bytes(frames[0])
    kind = subject.rpartition(b"/")[2].decode(errors="replace")
    if kind not in EVENT_KINDS or topic(model, kind).encode() != subject:
        raise BadMessage(f"{shown(subject)} is not a topic of the events of {model!r}")
    lsn, first, rows, time = (
        check_uint63(header.get(field), field) for field in ("lsn", "first", "rows", "time")
    )
    arrays = read_arrays(header.get("arrays"), frames[2:])
    return EventMessage(kind, model, lsn, first, rows, time, arrays)


# ------------------------------------------------------------------------------------------ envelopes


def split_envelope(frames: Sequence[Frame]) -> tuple[list[Frame], list[Frame]]:
    """What a ROUTER received, cut into the envelope (to be put in front of the reply) and the message.

    The envelope is the identity, and the empty delimiter when the sender is a REQ socket.
    """
    cut = 2 if len(frames) > 1 and len(frames[1]) == 0 else 1
    return list(frames[:cut]), list(frames[cut:])
