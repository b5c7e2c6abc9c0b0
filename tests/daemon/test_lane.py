"""The fast lane and the general way side by side: the same messages give the same answers and the same state.

Two daemons read the same random messages, burst by burst. One of them has no templates, so that every batch
takes the general way. The disk is full at times. In the middle of one of the last bursts, both are stopped.
"""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest

from streamlearn_client.protocol import Learn, Request, encode_request
from tests.daemon.sides import Clock, Reply, Sent, Side

SPECS: dict[str, tuple[str, dict[str, Any]]] = {
    "map": ("som", {"dim": 2, "grid": [3, 3], "scale": "standard"}),
    "other": ("som", {"dim": 2, "grid": [2, 2]}),
    "clock": (
        "competitive",
        {"dim": 3, "units": 4, "learning_rate": {"start": 0.5, "end": 0.05, "tau": 10, "unit": "seconds"}},
    ),
    "symbols": ("rnn", {"readout": "adam", "dim": 1, "hidden": 2, "symbols": 3, "loss": "cross_entropy"}),
    "late": (
        "rnn",
        {
            "readout": "adam",
            "dim": 2,
            "hidden": 2,
            "keys": 3,
            "target": "later",
            "outputs": 1,
            "delay": 8,
            "tbptt": [1, 3],
        },
    ),
}
BURSTS = 180
BURSTS_AFTER_STOP = 4


class Script:
    """Random bursts of messages. The numbers of the producers go on from burst to burst."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.ids = 0
        self.epoch = 5
        self.seqs: Counter[tuple[str, str]] = Counter()  # by model and producer
        self.before: list[tuple[str, Learn]] = []
        self.streams: dict[tuple[Any, ...], list[int]] = {}  # ids of requests by connection and stream
        self.single: dict[int, Learn] = {}

    def burst(self) -> list[Sent]:
        messages: list[Sent] = []
        for _ in range(self.random.randint(1, 6)):
            messages += self.random.choices(
                [self._run, self._mixed, self._in_turn, self._resend, self._wrong, self._other],
                [8, 2, 2, 2, 2, 1],
            )[0]()
        return messages

    def _batch(self, model: str, rows: int, epoch: int | None = None, producer: str | None = None) -> Learn:
        random = self.random
        dim = SPECS[model][1]["dim"]
        x = np.array([[random.choice([random.gauss(0, 1), np.nan]) for _ in range(dim)] for _ in range(rows)])
        columns: dict[str, Any] = {}
        if model == "symbols":
            x = np.array([[random.randrange(3)] for _ in range(rows)])
        elif model == "late":
            columns["keys"] = np.array([random.randrange(4) for _ in range(rows)], np.int64)
            if producer in ("a", "b"):
                columns["ids"] = np.array([random.randrange(99) for _ in range(rows)], np.int64)
            if producer in ("b", "c"):
                columns["y"] = np.array([[random.random()] for _ in range(rows)], np.float32)
        if random.random() < 0.3:
            columns["times"] = np.array([random.randrange(10**18) for _ in range(rows)], np.int64)
        if producer is None:
            return Learn(model, x.astype(np.float32), ack="durable", **columns)
        number = self.seqs[model, producer]
        self.seqs[model, producer] += 1
        return Learn(
            model,
            x.astype(np.float32),
            producer=producer,
            epoch=self.epoch if epoch is None else epoch,
            seq=number,
            window=300 if producer == "c" else 0,
            **columns,
        )

    def _send(self, connection: str, learn: Learn, level: str = "durable") -> Sent:
        self.before = [*self.before[-40:], (connection, learn)]
        if not connection:
            return "", [bytes(frame) for frame in encode_request(learn._replace(ack="none"))]
        self.ids += 1
        learn = learn._replace(id=self.ids, ack=level)
        if level != "none":
            stream = connection, learn.model, learn.producer, learn.epoch
            self.streams.setdefault(stream, []).append(self.ids)
            self.single[self.ids] = learn
        return connection, [bytes(frame) for frame in encode_request(learn)]

    def _where(self) -> tuple[str, str, str | None, str]:
        random = self.random
        return (
            random.choice(["", "one", "one", "two", "two"]),
            random.choice([*SPECS, "map"]),
            random.choice(["a", "b", "c", "~d", None]),
            random.choice(["durable", "durable", "written", "received", "none"]),
        )

    def _run(self) -> list[Sent]:
        """Batches of one producer with equally many rows."""
        connection, model, producer, level = self._where()
        rows = self.random.choice([1, 1, 2, 5])
        count = self.random.choice([1, 2, 5, 12])
        return [
            self._send(connection, self._batch(model, rows, producer=producer), level) for _ in range(count)
        ]

    def _mixed(self) -> list[Sent]:
        """Batches of several producers and models, one after another in turn."""
        places = [self._where() for _ in range(2)]
        return [
            self._send(connection, self._batch(model, 1, producer=producer), level)
            for _ in range(4)
            for connection, model, producer, level in places
        ]

    def _in_turn(self) -> list[Sent]:
        """Single samples of one producer for all models in turn."""
        connection, _, producer, level = self._where()
        return [
            self._send(connection, self._batch(model, 1, producer=producer), level)
            for _ in range(3)
            for model in SPECS
        ]

    def _resend(self) -> list[Sent]:
        """An earlier batch again, or another one with its number."""
        if not self.before:
            return []
        connection, learn = self.random.choice(self.before)
        if self.random.random() < 0.3 and learn.x is not None:
            learn = learn._replace(x=learn.x + np.float32(1.0) if learn.model != "symbols" else 2 - learn.x)
        return [self._send(connection, learn)] * 1

    def _wrong(self) -> list[Sent]:
        """A batch that is refused, or is not what its header says, and perhaps the next ones."""
        random = self.random
        connection, model, producer, level = self._where()
        good = [self._batch(model, 1, producer=producer) for _ in range(3)]
        learn, x = good[1], good[1].x
        assert x is not None
        choice = random.randrange(10)
        frames: list[bytes] | None = None
        if choice == 0:
            good[1] = learn._replace(x=np.full_like(x, np.inf))
        elif choice == 1:
            good[1] = learn._replace(x=np.repeat(x, 2, axis=1))
        elif choice == 2:
            self.seqs[model, producer or ""] += producer is not None
            good[2] = good[2]._replace(seq=good[2].seq + (producer is not None))  # a gap
        elif choice == 3:
            good[1] = learn._replace(epoch=random.choice([0, self.epoch - 1, self.epoch + 1]))
        elif choice == 4:
            good[1] = learn._replace(model="absent")
        elif choice == 5:
            good[1] = learn._replace(keys=np.array([1], np.int64))
        elif choice == 6 and model == "symbols":
            good[1] = learn._replace(x=np.full_like(x, 7))
        sent = [self._send(connection, each, level) for each in good]
        if choice >= 7:
            frames = sent[1][1]
            if choice == 7:
                frames[1] = frames[1][: random.choice([0, len(frames[1]) - 1])]
            elif choice == 8:
                frames.append(b"more")
            else:
                del frames[1:]
        return sent

    def _other(self) -> list[Sent]:
        """Other requests, other forms of a batch, and a larger epoch."""
        random = self.random
        connection, model, producer, _ = self._where()
        connection = connection or "one"
        choice = random.randrange(8)
        self.ids += 1
        if choice == 0:
            requests = [Request("delete", self.ids, model)]
            self.ids += 1
            requests.append(
                Request("create", self.ids, model, {"kind": SPECS[model][0], "spec": SPECS[model][1]})
            )
            for name in list(self.seqs):
                if name[0] == model:
                    del self.seqs[name]
            if random.random() < 0.3:
                requests.pop()
            return [(connection, encode_request(each)) for each in requests]  # type: ignore[misc]
        if choice == 1:
            spec = {"kind": SPECS[model][0], "spec": SPECS[model][1]}
            return [(connection, encode_request(Request("create", self.ids, model, spec)))]  # type: ignore[list-item]
        if choice == 2:
            self.epoch += 1
            self.seqs.clear()
            return []
        if choice == 3:  # numbers in the header
            learn = self._batch(model, 1, producer=producer)
            assert learn.x is not None
            header = msgpack.unpackb(encode_request(learn._replace(id=self.ids))[0])
            header["x"] = [[None if np.isnan(v) else float(v) for v in row] for row in learn.x]
            for name in ("y", "keys", "ids", "times"):
                array = learn.arrays.get(name)
                if array is not None:
                    header[name] = array.tolist()
            return [(connection, [msgpack.packb(header)])]
        if choice == 4:  # an empty frame, as a REQ socket sends it
            learn = self._batch(model, 1, producer=producer)._replace(id=self.ids)
            return [(connection, [b"", *map(bytes, encode_request(learn))])]
        if choice == 5:  # an id that is a text
            learn = self._batch(model, 1, producer=producer)._replace(id=f"text-{self.ids}")
            return [(connection, [bytes(frame) for frame in encode_request(learn)])]
        if choice == 6 and model == "late":
            late = self._batch("late", 2, producer=producer)
            ids = np.array([random.randrange(99) for _ in range(2)], np.int64)
            y = np.array([[0.25], [np.nan]], np.float32)
            return [self._send(connection, late._replace(x=None, ids=ids, y=y, times=None))]
        return [(connection, [bytes(f) for f in encode_request(Request("describe", self.ids, model))])]


def expanded(script: Script, answers: list[Reply]) -> list[Reply]:
    """Replace each cumulative ack by the acks that it stands for."""
    found = []
    for name, answer in answers:
        acks = answer["ok"].pop("acks", 1) if "ok" in answer else 1
        if acks == 1:
            found.append((name, answer))
            continue
        assert name == "two", "only this connection accepts cumulative acks"
        learn = script.single[answer["id"]]
        ids = script.streams[name, learn.model, learn.producer, learn.epoch]
        last = ids.index(answer["id"])
        found += [(name, answer | {"id": number}) for number in ids[last + 1 - acks : last + 1]]
    return found


def comparable(answers: list[Reply]) -> list[str]:
    """The answers without what depends on the division into records."""
    found = []
    for name, answer in answers:
        answer = dict(answer)
        ok = answer.get("ok")
        if ok is not None:
            hidden = ("lsn", "durable_lsn", "applied_lsn", "create_lsn", "instance", "checkpoints")
            answer["ok"] = {key: value for key, value in ok.items() if key not in hidden}
        found.append(f"{name} {answer}".replace("/fast/", "/").replace("/general/", "/"))
    return sorted(found)


def check_acks(script: Script, answers: list[Reply], side: Side) -> None:
    """An ack names the record of its batch, which is durable if the ack says so."""
    lsns = {record[:5]: record[-1] for record in side.records() if len(record) == 8}
    for _, answer in answers:
        learn = script.single.get(answer["id"])
        if learn is None or "ok" not in answer or not learn.producer:
            continue
        ok = answer["ok"]
        assert ok["rows"] == learn.rows
        assert learn.ack != "durable" or ok["lsn"] <= ok["durable_lsn"]
        number = learn.model, 1 if learn.x is not None else 5, learn.producer, learn.epoch, learn.seq
        assert ok["duplicate"] or lsns.get(number, ok["lsn"]) >= ok["lsn"]


@pytest.mark.parametrize("case", range(4))
def test_random_messages_have_the_same_effect_both_ways(tmp_path: Path, case: int) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    clock, script = Clock(), Script(seed)
    sides = [Side(tmp_path / name, clock, fast) for name, fast in (("fast", True), ("general", False))]
    fast, general = sides
    hello = msgpack.packb({"v": 1, "id": 0, "op": "hello", "cumulative_acks": True})
    first: list[Sent] = [("two", [hello])]
    for name, (kind, spec) in SPECS.items():
        frames = encode_request(Request("create", f"create {name}", name, {"kind": kind, "spec": spec}))
        first.append(("one", [bytes(frame) for frame in frames]))
    cumulative = 0
    for number in range(BURSTS):
        burst = script.burst() if number else first
        full = number > 5 and script.random.random() < 0.1
        if number == BURSTS - BURSTS_AFTER_STOP - 1:
            stop = script.random.randrange(10)
            for side in sides:
                side.stop_at(stop)
        for side in sides:
            side.disk.full = full
            side.answers.clear()
            side.deliver(burst)
        if full:
            clock.now += 10**9  # the retry of what the firehose deferred
            for side in sides:
                side.disk.full = False
                side.deliver([])
        cumulative += sum("acks" in answer.get("ok", {}) for _, answer in fast.answers)
        assert not any("acks" in answer.get("ok", {}) for _, answer in general.answers)
        answers = expanded(script, fast.answers)
        assert comparable(answers) == comparable(general.answers), number
        assert fast.outcome() == general.outcome(), number
        clock.now += 10**8
        if number % 20 == 19 or number == BURSTS - 1:
            check_acks(script, answers, fast)
            flat = [sorted((r[:-1] for r in side.records()), key=lambda r: r[0]) for side in sides]
            assert flat[0] == flat[1]
            for side in sides:
                assert side.recovered() == side.live()
    longest = max(record.batches for record in fast.journal.replay())
    assert longest > 5, "no long run: this test proves less than it says"
    assert cumulative > 5, "too few cumulative acks: this test proves less than it says"
    assert max(record.batches for record in general.journal.replay()) == 1
    for side in sides:
        side.close()


@pytest.mark.parametrize("at", [0, 7])
def test_a_stop_refuses_batches_both_ways(tmp_path: Path, at: int) -> None:
    """At the first request of a burst, or in the middle of a run."""
    clock = Clock()
    spec = {"kind": "som", "spec": SPECS["map"][1]}
    x = np.ones((1, 2), np.float32)
    bursts: list[list[Sent]] = [
        [("one", [bytes(f) for f in encode_request(Request("create", 1, "map", spec))])]
    ]
    for first in (0, 10, 20):
        learns = [Learn("map", x, None, "p", 1, seq, id=seq) for seq in range(first, first + 10)]
        bursts.append([("one", [bytes(frame) for frame in encode_request(learn)]) for learn in learns])
    for fast in (True, False):
        side = Side(tmp_path / str(fast), clock, fast)
        for burst in bursts[:2]:
            side.deliver(burst)
        assert max(record.batches for record in side.journal.replay()) == (9 if fast else 1)
        side.answers.clear()
        side.stop_at(at)
        for burst in bursts[2:]:
            side.deliver(burst)
        acks = sorted(answer["id"] for _, answer in side.answers if "ok" in answer)
        refused = sorted(answer["id"] for _, answer in side.answers if "error" in answer)
        assert acks == list(range(10, 10 + at))
        assert refused == list(range(10 + at, 30))
        assert {a["error"]["code"] for _, a in side.answers if "error" in a} == {"SHUTTING_DOWN"}
        assert side.daemon.context.shard.hosted("map").learned == 10 + at
        side.close()


def test_the_firehose_keeps_its_limit_for_headers_that_a_request_had(tmp_path: Path) -> None:
    """ZeroMQ delivers frames up to twice the limit, so the daemon has to refuse them."""
    clock = Clock()
    spec = {"kind": "som", "spec": SPECS["map"][1]}
    x = np.ones((10_000, 2), np.float32)  # 80 000 bytes; the firehose allows 65 536
    batch = [bytes(frame) for frame in encode_request(Learn("map", x, ack="none"))]
    create = [bytes(frame) for frame in encode_request(Request("create", 1, "map", spec))]
    for fast in (True, False):
        side = Side(tmp_path / str(fast), clock, fast, limits={"frame_bytes": 1 << 20})
        side.deliver([("one", create), ("one", batch), ("one", batch)])
        side.deliver([("", batch), ("", batch)])
        assert side.daemon.context.shard.hosted("map").learned == 20_000
        assert side.daemon.context.metrics.firehose_lost == 2
        side.close()
