"""Frames that are not a valid request."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgpack

from .headers import described, f4, i8, learn, numbers, op


def refused() -> Iterator[dict[str, Any]]:
    def refusal(name: str, code: str, header: Any, *buffers: bytes, id: Any = None) -> dict[str, Any]:
        packed = header if isinstance(header, bytes) else msgpack.packb(header)
        return {"name": name, "frames": [packed, *buffers], "code": code, "id": id}

    good = learn(5, "pump", x=described(1, 2))
    data = f4([1.0, 2.0])
    yield refusal("an empty header", "BAD_MESSAGE", b"", data)
    yield refusal("not MessagePack", "BAD_MESSAGE", b"\xc1\xc1")
    yield refusal("cut off after the id", "BAD_MESSAGE", msgpack.packb(good)[:9], data, id=5)
    yield refusal("bytes after the header", "BAD_MESSAGE", msgpack.packb(good) + b"\x00", data, id=5)
    yield refusal("a list instead of a header", "BAD_MESSAGE", [1, 2])
    yield refusal("no version", "BAD_MESSAGE", {"id": 5, "op": "hello"}, id=5)
    yield refusal("another version", "UNSUPPORTED_VERSION", {"v": 2, "id": 5, "op": "hello"}, id=5)
    yield refusal(
        "a version of another type", "UNSUPPORTED_VERSION", {"v": True, "id": 5, "op": "hello"}, id=5
    )
    yield refusal("an id that is a list", "BAD_MESSAGE", op([1], "hello"))
    yield refusal("an id that is too long", "BAD_MESSAGE", op("x" * 65, "hello"))
    yield refusal("no op", "UNKNOWN_OP", {"v": 1, "id": 5}, id=5)
    yield refusal("an unknown op", "UNKNOWN_OP", op(5, "forget"), id=5)
    yield refusal("an unknown field", "BAD_MESSAGE", op(5, "restore", model="pump", LSN=4), id=5)
    yield refusal("an unknown field of learn", "BAD_MESSAGE", {**good, "axk": "durable"}, data, id=5)
    yield refusal("a missing field", "BAD_MESSAGE", op(5, "create", model="pump"), id=5)
    yield refusal("a field of another type", "BAD_MESSAGE", op(5, "restore", model="pump", lsn="4"), id=5)
    yield refusal(
        "a spec that is not a map", "BAD_MESSAGE", op(5, "create", model="pump", kind="som", spec=[1]), id=5
    )
    yield refusal("a negative lsn", "BAD_VALUE", op(5, "restore", model="pump", lsn=-1), id=5)
    yield refusal("no model", "BAD_NAME", learn(5, None, x=described(1, 2)), data, id=5)
    yield refusal("a model's name with a slash", "BAD_NAME", op(5, "describe", model="../pump"), id=5)
    yield refusal("a model's name that is too long", "BAD_NAME", op(5, "describe", model="m" * 65), id=5)
    numbered = {**good, "epoch": 1, "seq": 0}
    yield refusal(
        "a producer's name that is too long", "BAD_NAME", {**numbered, "producer": "ü" * 33}, data, id=5
    )
    yield refusal("a producer without numbers", "BAD_MESSAGE", {**good, "producer": "p"}, data, id=5)
    yield refusal(
        "a negative sequence number", "BAD_VALUE", {**numbered, "producer": "p", "seq": -1}, data, id=5
    )
    yield refusal(
        "a number beyond 2^63 - 1", "BAD_VALUE", {**numbered, "producer": "p", "epoch": 2**63}, data, id=5
    )
    yield refusal(
        "a boolean as a sequence number", "BAD_VALUE", {**numbered, "producer": "p", "seq": True}, data, id=5
    )
    yield refusal("an unknown ack level", "BAD_VALUE", {**good, "ack": "maybe"}, data, id=5)
    yield refusal("no samples", "BAD_MESSAGE", learn(5, "pump"), id=5)
    yield refusal("samples that are text", "BAD_MESSAGE", learn(5, "pump", x="1,2"), id=5)
    yield refusal("samples that are a list of text", "BAD_DTYPE", learn(5, "pump", x=["1", "2"]), id=5)
    yield refusal("samples of unequal length", "BAD_SHAPE", learn(5, "pump", x=[[1, 2], [3]]), id=5)
    yield refusal("a number beyond float32", "BAD_VALUE", learn(5, "pump", x=[[1e39]]), id=5)
    float64 = {"dtype": "<f8", "shape": [1, 1]}
    yield refusal("a frame of float64", "BAD_DTYPE", learn(5, "pump", x=float64), bytes(8), id=5)
    yield refusal("a shape without rows", "BAD_SHAPE", learn(5, "pump", x=described(0, 2)), b"", id=5)
    yield refusal("a shape of three axes", "BAD_SHAPE", learn(5, "pump", x=described(1, 1, 2)), data, id=5)
    yield refusal(
        "a shape that the frame does not fill", "BAD_SHAPE", learn(5, "pump", x=described(2, 2)), data, id=5
    )
    yield refusal("a missing frame", "BAD_MESSAGE", good, id=5)
    yield refusal("an extra frame", "BAD_MESSAGE", good, data, data, id=5)
    yield refusal("more frames than a request may have", "BAD_MESSAGE", good, *[data] * 6, id=5)
    unequal = {**good, "y": described(2, 1)}
    yield refusal("different numbers of targets and samples", "BAD_SHAPE", unequal, data, data, id=5)
    flat = learn(5, "pump", x=[[1], [2]])
    yield refusal("different numbers of keys and samples", "BAD_SHAPE", {**flat, "keys": [1, 2, 3]}, id=5)
    yield refusal(
        "different numbers of ids and samples", "BAD_SHAPE", {**flat, "ids": numbers(1)}, i8(1), id=5
    )
    yield refusal("keys of two axes", "BAD_SHAPE", {**flat, "keys": [[1, 2]]}, id=5)
    yield refusal("keys of unequal length", "BAD_SHAPE", {**flat, "keys": [[1], [2, 3]]}, id=5)
    yield refusal("keys that are not integers", "BAD_DTYPE", {**flat, "keys": [1.5, 2.0]}, id=5)
    yield refusal("a key that is nil", "BAD_DTYPE", {**flat, "keys": [1, None]}, id=5)
    yield refusal("a key beyond 2^63 - 1", "BAD_VALUE", {**flat, "keys": [1, 2**63]}, id=5)
    yield refusal("a boolean for keys", "BAD_MESSAGE", {**flat, "keys": True}, id=5)
    yield refusal("a frame of float32 for keys", "BAD_DTYPE", {**flat, "keys": described(2)}, data, id=5)
    yield refusal("a frame of keys that is missing", "BAD_MESSAGE", {**flat, "keys": numbers(2)}, id=5)
    yield refusal("a frame of keys of another size", "BAD_SHAPE", {**flat, "keys": numbers(2)}, data, id=5)
    yield refusal("different numbers of times and samples", "BAD_SHAPE", {**flat, "times": [1, 2, 3]}, id=5)
    yield refusal("times that are no integers", "BAD_MESSAGE", {**flat, "times": [1.5, 2.5]}, id=5)
    yield refusal("a time that is text", "BAD_MESSAGE", {**flat, "times": "2024-01-01"}, id=5)
    yield refusal("a boolean for times", "BAD_MESSAGE", {**flat, "times": True}, id=5)
    yield refusal("a time beyond 2^63 - 1", "BAD_VALUE", {**flat, "times": 2**63}, id=5)
    nat = -(2**63)
    yield refusal("a missing time", "BAD_VALUE", {**flat, "times": numbers(2)}, i8(1, nat), id=5)
    yield refusal("a frame of float32 for times", "BAD_DTYPE", {**flat, "times": described(2)}, data, id=5)
    late = learn(5, "oven", y=[[1]], ids=[1])
    yield refusal("late targets with times", "BAD_MESSAGE", {**late, "times": [1]}, id=5)
    yield refusal("late targets with channels", "BAD_MESSAGE", {**late, "channels": ["a"]}, id=5)
    yield refusal("channels that are one text", "BAD_MESSAGE", {**flat, "channels": "a"}, id=5)
    yield refusal("channels that are numbers", "BAD_MESSAGE", {**flat, "channels": [1]}, id=5)
    yield refusal("no channels at all", "BAD_MESSAGE", {**flat, "channels": []}, id=5)
    yield refusal("targets without samples or ids", "BAD_MESSAGE", learn(5, "oven", y=[[1]]), id=5)
    yield refusal("ids without samples or targets", "BAD_MESSAGE", learn(5, "oven", ids=[1]), id=5)
    yield refusal(
        "different numbers of ids and targets",
        "BAD_SHAPE",
        learn(5, "oven", y=[[1], [2]], ids=[1, 2, 3]),
        id=5,
    )
    yield refusal("no ids at all", "BAD_SHAPE", learn(5, "oven", y=[[1]], ids=[]), id=5)
    yield refusal(
        "different numbers of keys and samples of predict",
        "BAD_SHAPE",
        op(5, "predict", model="m", x=[[1]], keys=[1, 2]),
        id=5,
    )
    yield refusal(
        "different numbers of targets and samples of explain",
        "BAD_SHAPE",
        op(5, "explain", model="m", x=[[1]], y=[[1], [2]]),
        id=5,
    )
    forecast = op(5, "forecast", model="flow", steps=3)
    yield refusal("a list for a single key", "BAD_DTYPE", {**forecast, "key": [1]}, id=5)
    yield refusal("steps that is not an integer", "BAD_MESSAGE", {**forecast, "steps": 1.5}, id=5)
    yield refusal("negative steps", "BAD_VALUE", {**forecast, "steps": -1}, id=5)
    yield refusal("heat that is text", "BAD_MESSAGE", op(5, "reheat", model="pump", heat="1"), id=5)
    yield refusal("a header of learn that is too long", "TOO_LARGE", learn(5, "pump", x=[[0.5] * 512]), id=5)
