"""The messages of Sparkplug B: protobuf, and the topics ``spBv1.0/GROUP/TYPE/NODE[/DEVICE]``.

The message type is built here from the numbers and types of its fields. Only the fields that the bridge reads
are in it; protobuf skips the others.

References
----------
Eclipse Sparkplug specification 3.0, sections 4 (topics), 6.4 (payload).
"""

from __future__ import annotations

import math
import struct
import time
from typing import Any, Final, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory

from streamlearn.bridges.readings import BadPayload

_FIELD = descriptor_pb2.FieldDescriptorProto
_PAYLOAD: Final = (
    ("timestamp", 1, _FIELD.TYPE_UINT64),
    ("metrics", 2, _FIELD.TYPE_MESSAGE),
    ("seq", 3, _FIELD.TYPE_UINT64),
)
_METRIC: Final = (
    ("name", 1, _FIELD.TYPE_STRING),
    ("alias", 2, _FIELD.TYPE_UINT64),
    ("timestamp", 3, _FIELD.TYPE_UINT64),
    ("datatype", 4, _FIELD.TYPE_UINT32),
    ("is_null", 7, _FIELD.TYPE_BOOL),
    ("int_value", 10, _FIELD.TYPE_UINT32),
    ("long_value", 11, _FIELD.TYPE_UINT64),
    ("float_value", 12, _FIELD.TYPE_FLOAT),
    ("double_value", 13, _FIELD.TYPE_DOUBLE),
    ("boolean_value", 14, _FIELD.TYPE_BOOL),
    ("string_value", 15, _FIELD.TYPE_STRING),
)
_VALUES: Final = tuple(name for name, number, _ in _METRIC if number >= 10)
_SIGNED: Final = {1: 8, 2: 16, 3: 32, 4: 64}
"""Bits of the signed integer types. Their values are stored as unsigned integers."""
METRICS: Final = 10_000
"""Most metrics of one message."""


def _payload_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="streamlearn_sparkplug.proto", package="streamlearn.sparkplug"
    )
    file.syntax = "proto2"
    for name, fields in (("Metric", _METRIC), ("Payload", _PAYLOAD)):
        described = file.message_type.add(name=name)
        for field, number, kind in fields:
            repeated = kind == _FIELD.TYPE_MESSAGE
            described.field.add(
                name=field,
                number=number,
                type=kind,
                label=_FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL,
                type_name=".streamlearn.sparkplug.Metric" if repeated else None,
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("streamlearn.sparkplug.Payload"))


_Payload: Final = _payload_class()


class Address(NamedTuple):
    """The topic of a message. ``device`` is empty for messages of a node itself."""

    group: str
    type: str
    node: str
    device: str


class Metric(NamedTuple):
    """A metric. A name, an alias or both identify it. ``value``: a number, a text, or ``None`` for null."""

    name: str | None
    alias: int | None
    time: int | None  # ms since 1970
    datatype: int | None
    value: float | str | None
    present: bool = True  # whether it has a value of a type that the bridge reads


class SparkplugMessage(NamedTuple):
    """A payload. Times are in milliseconds since 1970."""

    time: int | None
    seq: int | None
    metrics: list[Metric]


def rebirth_command() -> bytes:
    """Return the payload that asks a node for its births."""
    command = _Payload()
    metric = command.metrics.add()
    metric.name, metric.datatype, metric.boolean_value = "Node Control/Rebirth", 11, True
    command.timestamp = time.time_ns() // 1_000_000
    return bytes(command.SerializeToString())


def read_address(topic: str) -> Address | None:
    """Return the parts of a topic; ``None`` if it is not one of a node or a device."""
    levels = topic.split("/")
    if len(levels) not in (4, 5) or levels[0] != "spBv1.0" or not all(levels):
        return None
    return Address(levels[1], levels[2], levels[3], levels[4] if len(levels) == 5 else "")


def read_message(payload: bytes) -> SparkplugMessage:
    """Return a payload. Raise `BadPayload` if it is none."""
    read = _Payload()
    try:
        read.ParseFromString(payload)
    except message.DecodeError:
        raise BadPayload("the payload is not Sparkplug B") from None
    if len(read.metrics) > METRICS:
        raise BadPayload(f"the message has {len(read.metrics)} metrics; at most {METRICS} are accepted")
    return SparkplugMessage(
        read.timestamp if read.HasField("timestamp") else None,
        read.seq if read.HasField("seq") else None,
        [_metric(each) for each in read.metrics],
    )


def _metric(read: Any) -> Metric:
    present = [name for name in _VALUES if read.HasField(name)]
    value = getattr(read, present[-1]) if present and not read.is_null else None
    return Metric(
        read.name if read.HasField("name") else None,
        read.alias if read.HasField("alias") else None,
        read.timestamp if read.HasField("timestamp") else None,
        read.datatype if read.HasField("datatype") else None,
        value,
        bool(present) or read.is_null,
    )


def number_of(metric: Metric, datatype: int | None, name: str) -> float:
    """Return the value of a metric as a number; NaN for null. Raise `BadPayload` for another type."""
    value = metric.value
    if value is None and metric.present:
        return math.nan
    if value is None or isinstance(value, str):
        raise BadPayload(f"the metric {name:.60} is not a number")
    bits = _SIGNED.get(metric.datatype or datatype or 0)
    if bits is not None and isinstance(value, int) and not isinstance(value, bool):
        value = _signed(value, bits)
    number = float(value)
    if math.isnan(number):
        return number
    if abs(number) > _LARGEST:
        raise BadPayload(f"the metric {name:.60} is {number:g}; expected a finite number of 32 bits")
    return number


def _signed(value: int, bits: int) -> int:
    """Return an integer of two's complement. Short types are sent with 8, 16 or 32 bits."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


_LARGEST: Final = struct.unpack("<f", b"\xff\xff\x7f\x7f")[0]
