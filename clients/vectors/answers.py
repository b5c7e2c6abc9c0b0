"""Replies and events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgpack
import numpy as np

from .headers import EPOCH, NAN, f4, i4, i8


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
    yield reply(
        "explanation of a sample with a missing value",
        8,
        {"applied_lsn": 12, "samples": 5000},
        f4([4.0, 0.5]),
        f4([1.0, 0.0]),
        f4([0.75]),
        expected={"dtype": "<f4", "shape": [1, 2], "values": [4.0, 0.5]},
        contribution={"dtype": "<f4", "shape": [1, 2], "values": [1.0, 0.0]},
        score={"dtype": "<f4", "shape": [1], "values": [0.75]},
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
    for kind in (
        "created",
        "checkpoint",
        "restored",
        "deleted",
        "reheated",
        "paused",
        "resumed",
        "judged",
        "labelled",
    ):
        header = {"v": 1, "model": "pump", "lsn": 3, "first": 0, "rows": 0, "time": EPOCH, "arrays": []}
        message = {key: value for key, value in header.items() if key not in ("v", "arrays")}
        yield {
            "name": kind,
            "frames": [f"{kind}/pump".encode(), msgpack.packb(header)],
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
            "frames": [f"{kind}/pump".encode(), msgpack.packb(header), *buffers],
            "message": {"kind": kind, **about, "arrays": arrays},
        }

    winner = {"dtype": "<i4", "shape": [2], "values": [3, 4]}
    score = {"dtype": "<f4", "shape": [2], "values": [0.75, 0.5]}
    key = {"dtype": "<i8", "shape": [2], "values": [-7, 4]}
    time = {"dtype": "<i8", "shape": [2], "values": [EPOCH, EPOCH + 1]}
    yield outputs(
        "output",
        512,
        {"winner": winner, "score": score, "key": key, "time": time},
        i4(3, 4),
        f4([0.75, 0.5]),
        i8(-7, 4),
        i8(EPOCH, EPOCH + 1),
    )
    arrays = {
        "alarm": ("|i1", [1]), "cause": ("|i1", [0]), "sample": ("<i8", [520]), "first": ("<i8", [520]),
        "last": ("<i8", [520]), "peak": ("<i8", [520]), "samples": ("<i8", [1]), "score": ("<f4", [0.75]),
        "evidence": ("<f4", [14.5]), "channel": ("<i4", [1]), "time": ("<i8", [EPOCH]),
    }  # fmt: skip
    alarm = {
        name: {"dtype": dtype, "shape": [1], "values": values} for name, (dtype, values) in arrays.items()
    }
    alarm["contribution"] = {"dtype": "<f4", "shape": [1, 2], "values": [0.25, 0.75]}
    name = list(b"bearing".ljust(32, b"\0"))
    alarm["expected"] = {"dtype": "<f4", "shape": [1, 2], "values": [1.5, -2.0]}
    alarm["name"] = {"dtype": "|u1", "shape": [1, 32], "values": name}
    alarm["seconds"] = {"dtype": "<f8", "shape": [1], "values": [0.0]}
    for unit in ("from", "to"):
        alarm[f"{unit}_unit"] = {"dtype": "<i4", "shape": [1], "values": [-1]}
        alarm[f"{unit}_label"] = {"dtype": "|u1", "shape": [1, 32], "values": [0] * 32}
    alarm["usual"] = {"dtype": "<f4", "shape": [1], "values": [0.0]}
    alarm["probability"] = {"dtype": "<f4", "shape": [1], "values": [0.0]}
    buffers = [np.array(each["values"], each["dtype"]).tobytes() for each in alarm.values()]
    yield outputs("alarm", 512, alarm, *buffers)
    error = {"dtype": "<f4", "shape": [3], "values": [0.5, NAN, 2.0]}
    sample = {"dtype": "<i8", "shape": [3], "values": [500, -1, 7]}
    yield outputs("targets", 514, {"error": error, "sample": sample}, f4([0.5, NAN, 2.0]), i8(500, -1, 7))
