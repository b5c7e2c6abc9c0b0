"""The golden vectors: the codec decodes and encodes them, and the generator reproduces the files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clients.vectors import generate
from streamlearn_client.errors import StreamlearnError, from_wire
from streamlearn_client.protocol import (
    EventMessage,
    Learn,
    Request,
    decode_event,
    decode_reply,
    decode_request,
    encode_error,
    encode_event,
    encode_reply,
    encode_request,
)

VECTORS = Path(__file__).parents[2] / "clients" / "vectors"


def load(name: str) -> list[Any]:
    entries = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))
    return [pytest.param(entry, id=entry["name"]) for entry in entries]


def frames_of(entry: dict[str, Any]) -> list[bytes]:
    return [bytes.fromhex(frame) for frame in entry["frames"]]


def number(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.removeprefix("-").isdigit() else value


def name_of(value: Any) -> Any:
    return bytes.fromhex(value["bytes"]) if isinstance(value, dict) else number(value)


def rows(values: Any) -> np.ndarray | None:
    if values is None:
        return None
    return np.array([[np.nan if v is None else v for v in row] for row in values], "<f4")


def array(entry: dict[str, Any]) -> np.ndarray:
    values = [np.nan if value is None else value for value in entry["values"]]
    return np.array(values, entry["dtype"]).reshape(entry["shape"])


def identifiers(values: Any) -> np.ndarray | None:
    return None if values is None else np.array([number(value) for value in values], "<i8")


def message_of(fields: dict[str, Any]) -> Learn | Request:
    fields = dict(fields)
    op, id, x = fields.pop("op"), name_of(fields.pop("id")), rows(fields.pop("x", None))
    keys, times = (identifiers(fields.pop(name, None)) for name in ("keys", "times"))
    channels = None if (names := fields.pop("channels", None)) is None else tuple(names)
    if op == "learn":
        texts = fields.get("key_names")
        return Learn(
            fields["model"],
            x,
            rows(fields.get("y")),
            fields.get("producer") or "",
            number(fields.get("epoch", 0)),
            number(fields.get("seq", 0)),
            fields["ack"],
            id,
            keys,
            identifiers(fields.get("ids")),
            times,
            channels,
            None if texts is None else tuple(texts),
        )
    if "key" in fields:
        fields["key"] = number(fields["key"])
    y = rows(fields.pop("y", None))
    content = None if (values := fields.pop("content", None)) is None else np.array(values, np.uint8)
    return Request(op, id, fields.pop("model", ""), fields, x, keys, times, channels, y, content)


def same(one: Any, other: Any) -> bool:
    """Return whether two messages are equal. Arrays are compared bit by bit."""
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, tuple) and isinstance(other, tuple):
        return type(one) is type(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


@pytest.mark.parametrize("entry", load("requests"))
def test_requests_are_decoded_and_encoded(entry):
    message = message_of(entry["message"])
    assert same(decode_request(frames_of(entry)), message)
    assert [bytes(frame) for frame in encode_request(message)] == frames_of(entry)


@pytest.mark.parametrize("entry", load("requests_read"))
def test_alternative_requests_are_decoded(entry):
    assert same(decode_request(frames_of(entry)), message_of(entry["message"]))


@pytest.mark.parametrize("entry", load("replies"))
def test_replies_are_decoded_and_encoded(entry):
    message = entry["message"]
    id = name_of(message["id"])
    reply = decode_reply(frames_of(entry))
    assert reply.id == id
    if "error" in message:
        assert reply.error.to_wire() == message["error"]
        frames = encode_error(id, from_wire(message["error"]))
    else:
        arrays = {name: array(each) for name, each in message["arrays"].items()}
        assert reply.error is None
        assert reply.ok == message["ok"]
        assert same(reply.arrays, arrays)
        frames = encode_reply(id, message["ok"], arrays)
    assert [bytes(frame) for frame in frames] == frames_of(entry)


@pytest.mark.parametrize("entry", load("events"))
def test_events_are_decoded_and_encoded(entry):
    fields = {name: number(value) for name, value in entry["message"].items() if name != "arrays"}
    event = EventMessage(
        **fields, arrays={name: array(each) for name, each in entry["message"]["arrays"].items()}
    )
    assert same(decode_event(frames_of(entry)), event)
    assert [bytes(frame) for frame in encode_event(event)] == frames_of(entry)


@pytest.mark.parametrize("entry", load("refused"))
def test_refusals(entry):
    with pytest.raises(StreamlearnError) as caught:
        decode_request(frames_of(entry))
    assert caught.value.code == entry["code"]
    assert caught.value.request_id == entry["id"]
    assert len(caught.value.message) < 500
    reply = decode_reply([bytes(frame) for frame in encode_error(entry["id"], caught.value)])
    assert type(reply.error) is type(caught.value)
    assert reply.error.to_wire() == caught.value.to_wire()


def test_the_files_are_what_the_generator_writes():
    for name, text in generate.files().items():
        assert (VECTORS / name).read_text(encoding="utf-8") == text, (
            f"run python -m clients.vectors.generate: {name}"
        )
