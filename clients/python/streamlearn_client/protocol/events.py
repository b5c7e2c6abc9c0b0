"""Conversion between events and frames, see ``codec.py``."""

from __future__ import annotations

from collections.abc import Sequence

import msgpack

from streamlearn_client.errors import BadMessage
from streamlearn_client.protocol.messages import DEFAULT_LIMITS, VERSION, EventMessage, Frame, Limits
from streamlearn_client.protocol.names import EVENT_KINDS, check_model, topic
from streamlearn_client.protocol.wire import (
    check_uint63,
    check_version,
    describe_arrays,
    read_arrays,
    short_repr,
    unpack_header,
)

__all__ = ["decode_event", "encode_event"]


def encode_event(event: EventMessage) -> list[Frame]:
    """Encode an event.

    Parameters
    ----------
    event : EventMessage
        The event.

    Returns
    -------
    list of bytes or memoryview
        Topic, header and array frames. Array frames are views.
    """
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
    if event.key_names:
        header["key_names"] = event.key_names
    return [topic(event.kind, event.model).encode(), msgpack.packb(header), *buffers]


def decode_event(frames: Sequence[Frame], limits: Limits = DEFAULT_LIMITS) -> EventMessage:
    """Decode an event.

    Parameters
    ----------
    frames : sequence of bytes or memoryview
        Topic, header and array frames.
    limits : Limits, default DEFAULT_LIMITS
        Size limits.

    Returns
    -------
    EventMessage
        The event.

    Raises
    ------
    StreamlearnError
        A typed error if the frames are not a valid event.
    """
    if len(frames) < 2:
        raise BadMessage(f"an event has at least 2 frames, topic and header, not {len(frames)}")
    header = unpack_header(frames[1], limits.control_header_bytes)
    check_version(header)
    model = check_model(header.get("model"))
    subject = bytes(frames[0])
    kind = subject.partition(b"/")[0].decode(errors="replace")
    if kind not in EVENT_KINDS or topic(kind, model).encode() != subject:
        raise BadMessage(f"{short_repr(subject)} is not a topic of the events of {model!r}")
    lsn, first, rows, time = (
        check_uint63(header.get(field), field) for field in ("lsn", "first", "rows", "time")
    )
    arrays = read_arrays(header.get("arrays"), frames[2:])
    names = header.get("key_names", {})
    if type(names) is not dict or not all(type(a) is str and type(b) is int for a, b in names.items()):
        raise BadMessage(f"key_names must be a map of texts to integers, not {short_repr(names)}")
    return EventMessage(kind, model, lsn, first, rows, time, arrays, names)
