"""Prometheus remote write 1.0: a protobuf message, compressed with Snappy's block format.

The message is that of https://prometheus.io/docs/specs/prw/remote_write_spec/. Its fields are described here
instead of in generated code, so that any version of protobuf reads them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import Any, Final

from streamlearn.errors import BadMessage, TooLarge
from streamlearn.gateway.collecting.points import Point, Refusal
from streamlearn.gateway.problems import UnsupportedMediaType

MILLISECOND: Final = 1_000_000
LARGEST_MS: Final = (2**63 - 1) // MILLISECOND
NAME: Final = "__name__"

_MESSAGES: Final = {
    # message: (field, number, type, repeated); a type with a capital letter is a message
    "Label": [("name", 1, "string", False), ("value", 2, "string", False)],
    "Sample": [("value", 1, "double", False), ("timestamp", 2, "int64", False)],
    "TimeSeries": [("labels", 1, "Label", True), ("samples", 2, "Sample", True)],
    "WriteRequest": [("timeseries", 1, "TimeSeries", True)],
}
"""The fields that are read. Exemplars, histograms and metadata are skipped."""


@functools.cache
def write_request() -> Any:
    """Return the class of the message."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    field = descriptor_pb2.FieldDescriptorProto
    types = {"string": field.TYPE_STRING, "double": field.TYPE_DOUBLE, "int64": field.TYPE_INT64}
    file = descriptor_pb2.FileDescriptorProto(
        name="streamlearn/remote_write.proto", package="prometheus", syntax="proto3"
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field_name, number, kind, repeated in fields:
            added = message.field.add(
                name=field_name,
                number=number,
                label=field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL,
                type=types.get(kind, field.TYPE_MESSAGE),
            )
            if kind not in types:
                added.type_name = f".prometheus.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("prometheus.WriteRequest"))


def decompress(body: bytes, most: int) -> bytes:
    """Return a block without its compression. Raises `TooLarge` or `BadMessage`."""
    import cramjam

    try:
        size = cramjam.snappy.decompress_raw_len(body)
        if size > most:
            raise TooLarge(f"the decompressed body is larger than {most} bytes")
        return bytes(cramjam.snappy.decompress_raw(body))
    except cramjam.DecompressionError as error:
        raise BadMessage(f"the body is not a Snappy block: {error}") from None


def parse_request(message: bytes) -> Iterator[Point | Refusal]:
    """Return the points of a message. The measurement and the field are the name of the metric.

    A value that is NaN is missing, so it is no point. This holds for the markers of stale series, too.
    Raises `BadMessage`.
    """
    from google.protobuf.message import DecodeError

    try:
        request = write_request().FromString(message)
    except DecodeError as error:
        raise BadMessage(f"the body is not a WriteRequest of remote write 1.0: {error}") from None
    for place, series in enumerate(request.timeseries, 1):
        labels = {label.name: label.value for label in series.labels}
        name = labels.pop(NAME, "")
        if not name:
            yield Refusal(place, f"the series has no label {NAME}")
            continue
        for sample in series.samples:
            if not 0 <= sample.timestamp <= LARGEST_MS:
                yield Refusal(place, f"the time of {name} is not between 1970 and 2262")
            elif not math.isnan(sample.value):
                yield Point(place, name, labels, {name: sample.value}, sample.timestamp * MILLISECOND)


def check_type(content_type: str) -> None:
    """Raise `UnsupportedMediaType` for version 2.0, or if the libraries are not installed."""
    kind, _, parameters = content_type.replace(" ", "").partition(";")
    if kind.lower() != "application/x-protobuf" or parameters not in ("", "proto=prometheus.WriteRequest"):
        raise UnsupportedMediaType(
            f"the Content-Type is {content_type or 'absent'}; remote write 1.0 is read:"
            " application/x-protobuf, or with proto=prometheus.WriteRequest"
        )
    try:
        import cramjam  # noqa: F401
        from google.protobuf import message  # noqa: F401
    except ImportError as error:
        raise UnsupportedMediaType(
            f"this gateway cannot read remote write, because {error.name} is not installed:"
            " pip install 'streamlearn[collect]'"
        ) from None
