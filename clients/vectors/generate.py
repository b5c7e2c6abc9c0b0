"""Write the golden vectors into this folder: ``python clients/vectors/generate.py``.

The headers are written out here, so the vectors do not depend on a codec.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack

HERE = Path(__file__).parent
NAN = float("nan")
EPOCH = 1_700_000_000_000_000_000
TOP = 2**63 - 1


def f4(*rows: list[float]) -> bytes:
    values = [value for row in rows for value in row]
    return struct.pack(f"<{len(values)}f", *values)


def i4(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}i", *values)


def i8(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}q", *values)


def identifier(name: str) -> int:
    """Return the integer that a name stands for as a key or an id."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little", signed=True)


def described(*shape: int, dtype: str = "<f4") -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape)}


def numbers(count: int) -> dict[str, Any]:
    return described(count, dtype="<i8")


def request(name: str, header: dict[str, Any], *buffers: bytes, **message: Any) -> dict[str, Any]:
    """Return a vector. Its message has the header's fields, with arrays as rows or integers (``message``)."""
    meaning = {key: value for key, value in header.items() if key != "v"} | message
    return {"name": name, "frames": [msgpack.packb(header), *buffers], "message": meaning}


def learn(id: Any, model: str, **fields: Any) -> dict[str, Any]:
    return {"v": 1, "id": id, "op": "learn", "model": model, **fields}


def op(id: Any, op: str, **fields: Any) -> dict[str, Any]:
    return {"v": 1, "id": id, "op": op, **fields}


ROWS = [[0.0, 1.0, -1.5], [0.25, -0.0, 2.0**127]]


def requests() -> Iterator[dict[str, Any]]:
    numbered = {"producer": "press-7", "epoch": EPOCH, "seq": 41}
    yield request(
        "learn, numbered", learn(7, "pump", **numbered, ack="durable", x=described(2, 3)), f4(*ROWS), x=ROWS
    )
    yield request(
        "learn with a missing value",
        learn(8, "pump", **numbered, ack="written", x=described(1, 2)),
        f4([NAN, 2.0]),
        x=[[NAN, 2.0]],
    )
    yield request(
        "learn with targets",
        learn(9, "oven.zone-2", **numbered, ack="received", x=described(2, 1), y=described(2, 2)),
        f4([1.0], [2.0]),
        f4([0.5, 0.25], [-0.5, -0.25]),
        x=[[1.0], [2.0]],
        y=[[0.5, 0.25], [-0.5, -0.25]],
    )
    yield request(
        "learn, not numbered", learn("r-1", "_", ack="durable", x=described(1, 1)), f4([1.0]), x=[[1.0]]
    )
    yield request(
        "learn on the firehose, at the largest numbers",
        learn(None, "pump", producer="ü", epoch=TOP, seq=TOP, ack="none", x=described(1, 1)),
        f4([-2.0]),
        x=[[-2.0]],
    )
    yield request(
        "learn with keys, ids and targets",
        learn(
            11, "fleet", **numbered, ack="durable", x=described(2, 1), y=described(2, 1), keys=numbers(2),
            ids=numbers(2),
        ),
        f4([1.0], [2.0]),
        f4([NAN], [0.5]),
        i8(-7, identifier("press 7")),
        i8(10, TOP),
        x=[[1.0], [2.0]],
        y=[[NAN], [0.5]],
        keys=[-7, identifier("press 7")],
        ids=[10, TOP],
    )  # fmt: skip
    yield request(
        "learn targets that come later",
        learn(12, "oven.zone-2", **numbered, ack="durable", y=described(2, 2), ids=numbers(2)),
        f4([0.5, 0.25], [NAN, -0.25]),
        i8(3, -1),
        x=None,
        y=[[0.5, 0.25], [NAN, -0.25]],
        ids=[3, -1],
    )
    yield request(
        "learn targets that come later, of keys",
        learn(13, "fleet", ack="written", y=described(1, 1), keys=numbers(1), ids=numbers(1)),
        f4([2.0]),
        i8(4),
        i8(5),
        x=None,
        y=[[2.0]],
        keys=[4],
        ids=[5],
    )
    yield request("predict", op(10, "predict", model="pump", x=described(2, 3)), f4(*ROWS), x=ROWS)
    yield request(
        "predict with keys",
        op(10, "predict", model="fleet", x=described(2, 3), keys=numbers(2)),
        f4(*ROWS),
        i8(1, 2),
        x=ROWS,
        keys=[1, 2],
    )
    yield request("forecast", op(14, "forecast", model="flow", steps=24))
    yield request("forecast of a key", op(15, "forecast", model="fleet", steps=24, key=-7))
    yield request("sample", op(16, "sample", model="text", n=80))
    yield request(
        "sample of a key, with all fields",
        op(17, "sample", model="text", n=80, temperature=0.5, seed=3, key=identifier("press 7")),
    )
    yield request("reheat", op(18, "reheat", model="pump"))
    yield request("reheat by half", op(19, "reheat", model="pump", heat=0.5))
    yield request("hello", op(1, "hello"))
    yield request("hello, cumulative acks", op(1, "hello", cumulative_acks=True))
    spec = {
        "dim": 8,
        "grid": [10, 10],
        "learning_rate": {"start": 0.5, "end": 0.02, "tau": 5000},
        "scale": None,
    }
    yield request("create", op(2, "create", model="pump", kind="som", spec=spec))
    yield request("delete, with an id of bytes", op(b"\x00\xff", "delete", model="pump"))
    yield request("models", op(-3, "models"))
    yield request("models after a name", op(3, "models", after="pump"))
    yield request("describe", op(2**64 - 1, "describe", model="pump"))
    yield request("checkpoint", op(4, "checkpoint", model="pump"))
    yield request("checkpoints", op(5, "checkpoints", model="pump"))
    yield request("restore the newest", op(6, "restore", model="pump"))
    yield request("restore one", op(7, "restore", model="pump", lsn=1234567890123))
    name = "before-overhaul"
    yield request("checkpoint with a name", op(4, "checkpoint", model="pump", name=name))
    yield request("unpin", op(5, "unpin", model="pump", name=name))
    yield request("restore into another", op(7, "restore", model="pump", name=name, into="pump-before"))
    yield request("backup", op(8, "backup", directory="/backup/monday"))
    yield request("stats of all", op(8, "stats"))
    yield request("stats of one", op(9, "stats", model="pump"))
    yield request("stats of the models after a name", op(9, "stats", after="pump"))
    yield request("position", op(10, "position", model="pump", producer="press-7"))
    generated = "~0123456789abcdef"
    yield request("position of a generated producer", op(10, "position", model="pump", producer=generated))


def requests_read() -> Iterator[dict[str, Any]]:
    ack = {"ack": "durable"}
    yield request(
        "nested numbers", learn(1, "pump", x=[[1, 2.5], [-3, None]]), x=[[1.0, 2.5], [-3.0, NAN]], **ack
    )
    yield request("one sample as flat numbers", learn(1, "pump", x=[1, 2, 3]), x=[[1.0, 2.0, 3.0]], **ack)
    yield request(
        "one sample as a flat frame",
        learn(1, "pump", x=described(3)),
        f4([1, 2, 3]),
        x=[[1.0, 2.0, 3.0]],
        **ack,
    )
    yield request(
        "a flat y is one target per sample", learn(1, "pump", x=[[1], [2]], y=[3, 4]),
        x=[[1.0], [2.0]], y=[[3.0], [4.0]], **ack,
    )  # fmt: skip
    yield request(
        "a flat y of one sample is all its targets", learn(1, "pump", x=[1], y=described(2)), f4([3, 4]),
        x=[[1.0]], y=[[3.0, 4.0]], **ack,
    )  # fmt: skip
    yield request(
        "fields that are nil count as absent",
        learn(1, "pump", x=[1], y=None, producer=None),
        x=[[1.0]],
        y=None,
        producer=None,
        **ack,
    )
    yield request(
        "one name as the key of all samples", learn(1, "fleet", x=[[1], [2]], keys="press 7"),
        x=[[1.0], [2.0]], keys=[identifier("press 7")] * 2, **ack,
    )  # fmt: skip
    yield request(
        "one key for all, an integer in the header", learn(1, "fleet", x=described(2, 1), keys=7),
        f4([1.0], [2.0]), x=[[1.0], [2.0]], keys=[7, 7], **ack,
    )  # fmt: skip
    yield request(
        "keys and ids as lists of numbers and names",
        learn(1, "fleet", x=[[1], [2], [3]], keys=["a", 1, "1"], ids=[-1, "ü", ""]),
        x=[[1.0], [2.0], [3.0]],
        keys=[identifier("a"), 1, identifier("1")],
        ids=[-1, identifier("ü"), identifier("")],
        **ack,
    )
    yield request(
        "a target that comes later, with all values in the header", learn(1, "oven", y=[3, 4], ids="batch 5"),
        x=None, y=[[3.0, 4.0]], ids=[identifier("batch 5")], **ack,
    )  # fmt: skip
    yield request(
        "targets that come later, a flat y", learn(1, "oven", x=None, y=[3, 4], ids=[1, 2], keys=0),
        x=None, y=[[3.0], [4.0]], ids=[1, 2], keys=[0, 0], **ack,
    )  # fmt: skip
    yield request(
        "predict with the key's name", op(1, "predict", model="fleet", x=[1], keys="a"),
        x=[[1.0]], keys=[identifier("a")],
    )  # fmt: skip
    yield request(
        "forecast of a key by its name",
        op(1, "forecast", model="fleet", steps=1, key="a"),
        key=identifier("a"),
    )
    yield request("an integer for a number", op(1, "reheat", model="pump", heat=1))
    yield request("no id", {"op": "models", "v": 1}, id=None)


def replies() -> Iterator[dict[str, Any]]:
    def reply(name: str, id: Any, ok: dict[str, Any], *buffers: bytes, **arrays: Any) -> dict[str, Any]:
        header: dict[str, Any] = {"v": 1, "id": id, "ok": ok}
        if arrays:
            entries = arrays.items()
            header["arrays"] = [{"name": n, "dtype": a["dtype"], "shape": a["shape"]} for n, a in entries]
        frames = [msgpack.packb(header), *buffers]
        return {"name": name, "frames": frames, "message": {"id": id, "ok": ok, "arrays": arrays}}

    def refusal(
        name: str, id: Any, code: str, text: str, detail: dict[str, Any], retryable: bool
    ) -> dict[str, Any]:
        error = {"code": code, "message": text, "detail": detail, "retryable": retryable}
        return {
            "name": name,
            "frames": [msgpack.packb({"v": 1, "id": id, "error": error})],
            "message": {"id": id, "error": error},
        }

    lsns = {"lsn": 12, "durable_lsn": 12, "applied_lsn": 11}
    yield reply("ack", 7, {**lsns, "duplicate": False, "rows": 256})
    yield reply("ack of 40 requests", 7, {**lsns, "duplicate": False, "rows": 256, "acks": 40})
    yield reply("ack of a resend", 7, {**lsns, "duplicate": True, "rows": 256})
    counts = {"rows": 3, "matched": 2, "unmatched": 1}
    yield reply("ack of late targets", 7, {**lsns, "duplicate": False, **counts})
    yield reply(
        "outputs of a SOM",
        "p",
        {"applied_lsn": 12, "samples": 5000},
        i4(11, -1),
        i4(1, 1, -1, -1),
        f4([0.5, NAN]),
        winner={"dtype": "<i4", "shape": [2], "values": [11, -1]},
        coords={"dtype": "<i4", "shape": [2, 2], "values": [1, 1, -1, -1]},
        distance={"dtype": "<f4", "shape": [2], "values": [0.5, NAN]},
    )
    yield reply(
        "outputs of a recurrent net without rows",
        8,
        {"applied_lsn": 0, "samples": 0},
        b"",
        prediction={"dtype": "<f4", "shape": [0, 3], "values": []},
    )
    yield refusal("gap", 9, "GAP", "batch 9 came where 5 was expected", {"expected_seq": 5}, False)
    yield refusal("conflict", 9, "CONFLICT", "batch 3 has other content", {"expected_seq": 5}, False)
    yield refusal("unknown producer", 9, "UNKNOWN_PRODUCER", "begin a new epoch", {"epoch": 8}, False)
    largest = {"field": "epoch", "largest": 8}
    yield refusal("an epoch ahead of the clock", 9, "BAD_VALUE", "use 8 at most", largest, False)
    yield refusal("busy", 9, "BUSY", "too much is waiting", {}, True)
    errors = [{"field": "dim", "message": "must be at least 1"}, {"field": "grdi", "message": "unknown"}]
    yield refusal("bad spec", b"\x01", "BAD_SPEC", "2 things are wrong", {"errors": errors}, False)
    yield refusal(
        "a refusal of a request without a readable id",
        None,
        "BAD_MESSAGE",
        "the header is not a map",
        {},
        False,
    )


def events() -> Iterator[dict[str, Any]]:
    for kind in ("created", "checkpoint", "restored", "deleted", "reheated"):
        header = {"v": 1, "model": "pump", "lsn": 3, "first": 0, "rows": 0, "time": EPOCH, "arrays": []}
        message = {key: value for key, value in header.items() if key not in ("v", "arrays")}
        yield {
            "name": kind,
            "frames": [f"model/pump/{kind}".encode(), msgpack.packb(header)],
            "message": {"kind": kind, **message, "arrays": {}},
        }

    def outputs(kind: str, first: int, arrays: dict[str, dict[str, Any]], *buffers: bytes) -> dict[str, Any]:
        entries = arrays.items()
        described = [{"name": n, "dtype": a["dtype"], "shape": a["shape"]} for n, a in entries]
        rows = described[0]["shape"][0]
        about = {"model": "pump", "lsn": 9, "first": first, "rows": rows, "time": EPOCH}
        header = {"v": 1, **about, "arrays": described}
        return {
            "name": kind,
            "frames": [f"model/pump/{kind}".encode(), msgpack.packb(header), *buffers],
            "message": {"kind": kind, **about, "arrays": arrays},
        }

    winner = {"dtype": "<i4", "shape": [2], "values": [3, 4]}
    score = {"dtype": "<f4", "shape": [2], "values": [0.75, 0.5]}
    yield outputs("output", 512, {"winner": winner, "score": score}, i4(3, 4), f4([0.75, 0.5]))
    error = {"dtype": "<f4", "shape": [3], "values": [0.5, NAN, 2.0]}
    sample = {"dtype": "<i8", "shape": [3], "values": [500, -1, 7]}
    yield outputs("targets", 514, {"error": error, "sample": sample}, f4([0.5, NAN, 2.0]), i8(500, -1, 7))


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
    yield refusal("more frames than a request may have", "BAD_MESSAGE", good, *[data] * 5, id=5)
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
    forecast = op(5, "forecast", model="flow", steps=3)
    yield refusal("a list for a single key", "BAD_DTYPE", {**forecast, "key": [1]}, id=5)
    yield refusal("steps that is not an integer", "BAD_MESSAGE", {**forecast, "steps": 1.5}, id=5)
    yield refusal("negative steps", "BAD_VALUE", {**forecast, "steps": -1}, id=5)
    yield refusal("heat that is text", "BAD_MESSAGE", op(5, "reheat", model="pump", heat="1"), id=5)
    yield refusal("a header of learn that is too long", "TOO_LARGE", learn(5, "pump", x=[[0.5] * 512]), id=5)


def to_json(value: Any) -> Any:
    """Return ``value`` as an exact JSON value (see README.md)."""
    if isinstance(value, dict):
        return {key: to_json(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [to_json(entry) for entry in value]
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, float) and value != value:
        return None
    if type(value) is int and abs(value) > 2**53:
        return str(value)
    return value


def files() -> dict[str, str]:
    """Return the content of all files by name."""
    makers = (requests, requests_read, replies, events, refused)
    content = {}
    for make in makers:
        entries = []
        for vector in make():
            frames = [frame.hex() for frame in vector.pop("frames")]
            entries.append({"name": vector.pop("name"), "frames": frames, **to_json(vector)})
        content[f"{make.__name__}.json"] = json.dumps(entries, indent=1, ensure_ascii=False) + "\n"
    return content


if __name__ == "__main__":
    for name, text in files().items():
        (HERE / name).write_text(text, encoding="utf-8")
