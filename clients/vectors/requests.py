"""Valid requests: those that an encoder writes, and others that a decoder accepts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .headers import EPOCH, NAN, TOP, described, f4, i8, identifier, learn, numbers, op, request

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
    yield request(
        "learn with times of the sender and names of channels",
        op(
            14, "learn", model="fleet", channels=["flow", "level ü"], **numbered, ack="durable",
            x=described(2, 2), keys=numbers(2), times=numbers(2),
        ),
        f4([1.0, NAN], [2.0, 3.0]),
        i8(-7, 4),
        i8(EPOCH, -1),
        x=[[1.0, NAN], [2.0, 3.0]],
        keys=[-7, 4],
        times=[EPOCH, -1],
    )  # fmt: skip
    yield request(
        "learn with a time on the firehose",
        learn(None, "pump", ack="none", x=described(1, 1), times=numbers(1)),
        f4([1.5]),
        i8(EPOCH),
        x=[[1.5]],
        times=[EPOCH],
    )
    yield request(
        "learn with the text of a key",
        learn(24, "fleet", key_names=["press 7"], ack="received", x=described(2, 1), keys=numbers(2)),
        f4([1.5], [2.5]),
        i8(identifier("press 7"), 4),
        x=[[1.5], [2.5]],
        keys=[identifier("press 7"), 4],
    )
    yield request(
        "predict with times and names of channels",
        op(10, "predict", model="pump", channels=["a", "b", "c"], x=described(2, 3), times=numbers(2)),
        f4(*ROWS),
        i8(EPOCH, EPOCH + 1),
        x=ROWS,
        times=[EPOCH, EPOCH + 1],
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
    yield request(
        "explain with targets and keys",
        op(20, "explain", model="fleet", x=described(2, 3), y=described(2, 1), keys=numbers(2)),
        f4(*ROWS),
        f4([0.5], [NAN]),
        i8(1, 2),
        x=ROWS,
        y=[[0.5], [NAN]],
        keys=[1, 2],
    )
    yield request("read", op(21, "read", model="pump", what=["weights", "u_matrix", "quality"]))
    yield request(
        "upload a part of a file",
        op(
            22, "upload", model="pump", upload="0f", bytes=9, offset=4,
            content={"dtype": "|u1", "shape": [5]},
        ),
        b"state",
        content=[*b"state"],
    )  # fmt: skip
    yield request(
        "create from an upload", op(23, "create", model="pump", kind="som", state="0f", sha256="00")
    )
    yield request(
        "create a network from parameters",
        op(24, "create", model="net", kind="rnn", spec={"scale": None}, parameters="0f"),
    )
    yield request("label of a unit", op(28, "label", model="pump", label="bearing worn", unit=12))
    yield request("label of a sample", op(29, "label", model="pump", label="ok", key=-7))
    yield request(
        "label by values",
        op(30, "label", model="pump", label="ok", x=described(1, 3)),
        f4([1.0, NAN, 0.5]),
        x=[[1.0, NAN, 0.5]],
    )
    yield request("export", op(25, "export", model="pump"))
    yield request("export, a later part", op(26, "export", model="pump", export="e1", offset=4194304))
    yield request("clone", op(27, "clone", model="pump", into="pump-2"))
    yield request("forecast", op(14, "forecast", model="flow", steps=24))
    yield request(
        "forecast with times",
        op(25, "forecast", model="flow", steps=2, times=numbers(2)),
        i8(EPOCH, EPOCH + 1),
        times=[EPOCH, EPOCH + 1],
    )
    yield request("forecast of a key", op(15, "forecast", model="fleet", steps=24, key=-7))
    yield request("sample", op(16, "sample", model="text", n=80))
    yield request(
        "sample of a key, with all fields",
        op(17, "sample", model="text", n=80, temperature=0.5, seed=3, key=identifier("press 7")),
    )
    yield request("reheat", op(18, "reheat", model="pump"))
    yield request("pause", op(18, "pause", model="pump"))
    yield request("resume", op(19, "resume", model="pump"))
    yield request("reheat by half", op(19, "reheat", model="pump", heat=0.5))
    yield request("feedback by number", op(20, "feedback", model="pump", verdict="normal", sample=12))
    yield request(
        "feedback by values",
        op(21, "feedback", model="pump", verdict="fault", name="bearing ü", x=described(1, 3)),
        f4([0.0, NAN, -1.5]),
        x=[[0.0, NAN, -1.5]],
    )
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
        x=[[1.0], [2.0]], keys=[identifier("press 7")] * 2, key_names=["press 7"], **ack,
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
        key_names=["a", "1"],
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
        "times as a list in the header", learn(1, "pump", x=[[1], [2]], times=[-1, EPOCH]),
        x=[[1.0], [2.0]], times=[-1, EPOCH], **ack,
    )  # fmt: skip
    yield request(
        "one time for all samples", learn(1, "pump", x=[[1], [2]], times=EPOCH),
        x=[[1.0], [2.0]], times=[EPOCH, EPOCH], **ack,
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
