"""Runs: consecutive batches of one producer that wait together become one record, with one ack or many."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest

from streamlearn.access.identity import LOCAL
from streamlearn.daemon.intake.template import Templates, integer, split
from streamlearn.errors import BadName, StreamlearnError
from streamlearn.models import create
from streamlearn_client.protocol import Learn, Request, decode_request, encode_request
from streamlearn_client.protocol.names import check_model
from tests.daemon.sides import Clock, Sent, Side

X = np.random.default_rng(8).normal(size=(600, 2)).astype(np.float32)
SPEC = {"dim": 2, "grid": [3, 3]}
HELLO = msgpack.packb({"v": 1, "id": "hello", "op": "hello", "cumulative_acks": True})
Start = Callable[..., Side]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a daemon with the model m. The connections "all" and "other" accept cumulative acks."""
    started: list[Side] = []

    def begin(**settings: Any) -> Side:
        side = Side(tmp_path / f"data{len(started)}", Clock(), **settings)
        started.append(side)
        make = Request("create", "create", "m", {"kind": "som", "spec": SPEC})
        side.deliver([("one", [bytes(frame) for frame in encode_request(make)])])
        side.deliver([("all", [HELLO]), ("other", [HELLO])])
        side.answers.clear()
        return side

    yield begin
    for side in started:
        side.close()


def batch(seq: int, connection: str = "all", rows: int = 1, **fields: Any) -> Sent:
    """Batch `seq` of producer p, with `rows` rows; its id is 100 more."""
    fields = {"producer": "p", "epoch": 1, "seq": seq, "id": 100 + seq} | fields
    x = fields.pop("x", X[seq * rows : (seq + 1) * rows])
    learn = Learn("m", x, **fields)
    return connection, [bytes(frame) for frame in encode_request(learn)]


def run(first: int, last: int, *args: Any, **fields: Any) -> list[Sent]:
    return [batch(seq, *args, **fields) for seq in range(first, last)]


def learned(side: Side, rows: int) -> bool:
    """Whether the model has learned the first rows of X, and nothing else."""
    model = create("som", SPEC)
    model.learn(X[:rows])
    return side.daemon.context.shard.hosted("m").model.state_hash() == model.state_hash()


def batches(side: Side) -> list[int]:
    """The number of batches of each record of samples."""
    return [record.batches for record in side.journal.replay() if record.rows]


def test_a_run_has_one_record_and_one_ack_for_a_client_that_accepts_it(start: Start) -> None:
    side = start()
    side.deliver(run(0, 40))
    assert batches(side) == [1, 39]  # the first one left the template
    (_, first), (_, rest) = side.answers
    assert (first["id"], rest["id"]) == (100, 139)
    assert "acks" not in first["ok"]
    assert rest["ok"] == {
        "lsn": 3,
        "durable_lsn": 3,
        "applied_lsn": 3,
        "duplicate": False,
        "rows": 1,
        "acks": 39,
    }
    assert learned(side, 40)
    assert side.recovered() == side.live()


@pytest.mark.parametrize("hello", [None, {}, {"cumulative_acks": False}])
def test_other_clients_get_one_ack_per_request(start: Start, hello: dict[str, Any] | None) -> None:
    side = start()
    if hello is not None:
        side.deliver([("old", [HELLO]), ("old", [msgpack.packb({"v": 1, "id": 1, "op": "hello"} | hello)])])
        assert [answer["ok"]["cumulative_acks"] for _, answer in side.answers] == [True, False]
        side.answers.clear()
    side.deliver(run(0, 40, "old"))
    assert batches(side) == [1, 39]
    assert [answer["id"] for _, answer in side.answers] == list(range(100, 140))
    assert [answer["ok"]["lsn"] for _, answer in side.answers] == [2] + [3] * 39
    assert not any("acks" in answer["ok"] for _, answer in side.answers)


def test_batches_without_a_producer_share_a_record_and_no_ack(start: Start) -> None:
    side = start()
    side.deliver(run(0, 20, producer="", epoch=0))
    assert batches(side) == [1, 19]
    assert [answer["id"] for _, answer in side.answers] == list(range(100, 120))
    assert learned(side, 20)


def test_a_run_ends_where_anything_differs(start: Start) -> None:
    side = start()
    side.deliver(run(0, 3))
    side.answers.clear()
    messages = [
        *run(3, 6),
        batch(6, "other"),  # another connection
        *run(7, 10, "other"),
        batch(10, rows=1, ack="written"),  # another level
        *run(11, 14),
        batch(13),  # a resend
        *run(14, 17),
        ("one", [msgpack.packb({"v": 1, "id": 1, "op": "models"})]),  # any other request
        *run(17, 20),
    ]
    side.deliver(messages)
    assert batches(side) == [1, 2, 3, 4, 1, 3, 3, 3]
    answers = [(name, a["id"], a["ok"].get("acks", 1)) for name, a in side.answers if name != "one"]
    assert sorted(answers) == sorted(
        [
            *[("all", 105, 3), ("other", 109, 4), ("all", 110, 1), ("all", 113, 3), ("all", 113, 1)],
            *[("all", 116, 3), ("all", 119, 3)],
        ]
    )
    assert learned(side, 20)


def test_each_batch_of_a_long_run_is_recognized_when_it_is_sent_again(start: Start) -> None:
    side = start()
    side.deliver(run(0, 300))
    side.answers.clear()
    changed = batch(299, x=X[:1])
    side.deliver([*run(44, 300), batch(43), changed])
    answers = [answer for _, answer in side.answers]
    assert [a["ok"]["duplicate"] for a in answers if "ok" in a] == [True] * 256
    assert [a["error"]["code"] for a in answers if "error" in a] == ["CONFLICT", "CONFLICT"]
    assert learned(side, 300)
    assert side.recovered() == side.live()


def test_a_full_disk_refuses_every_batch_of_a_run(start: Start) -> None:
    side = start()
    side.deliver(run(0, 3))
    before = side.live()
    side.answers.clear()
    side.disk.full = True
    side.deliver(run(3, 9))
    assert [answer["id"] for _, answer in side.answers] == list(range(103, 109))
    assert all(answer["error"]["code"] == "DISK_FULL" for _, answer in side.answers)
    assert side.live() == before
    side.disk.full = False
    side.answers.clear()
    side.deliver(run(3, 9))
    assert [(answer["id"], answer["ok"]["acks"]) for _, answer in side.answers] == [(108, 6)]
    assert learned(side, 9)


def test_a_full_disk_defers_every_batch_of_the_firehose(start: Start) -> None:
    side = start()
    side.deliver(run(0, 3, "", ack="none"))
    side.disk.full = True
    side.deliver(run(3, 9, "", ack="none"))
    assert learned(side, 3)
    assert not side.daemon.loop._group_commit.reads_firehose
    side.disk.full = False
    side.clock.now += 10**9
    side.deliver([])
    assert learned(side, 9)
    assert side.daemon.context.shard.hosted("m").missing_batches == 0
    side.deliver(run(9, 12, "", ack="none"))
    assert learned(side, 12)
    assert side.recovered() == side.live()


def test_a_refused_batch_of_a_run_is_refused_alone(start: Start) -> None:
    side = start()
    side.deliver(run(0, 3))
    side.answers.clear()
    side.deliver([*run(3, 6), batch(6, x=np.full((1, 2), np.inf, np.float32)), *run(7, 9)])
    codes = {answer["id"]: answer.get("error", {}).get("code", "ok") for _, answer in side.answers}
    assert codes == {103: "ok", 104: "ok", 105: "ok", 106: "BAD_VALUE", 107: "GAP", 108: "GAP"}
    assert learned(side, 6)


def test_a_run_does_not_go_beyond_the_backlog(start: Start) -> None:
    """The limit counts each batch of a run, as it counts single ones."""
    answers = []
    for fast in (True, False):
        side = start(fast=fast, learning={"backlog_bytes": 1 << 20})
        side.deliver(run(0, 40, x=np.tile(X, (20, 1))))  # 96,000 bytes each
        answers.append([(a["id"], a["error"]["code"]) for _, a in side.answers if "error" in a])
        assert max(batches(side)) == (10 if fast else 1)  # as many as the arena holds
    assert answers[0] == answers[1]
    assert 0 < len(answers[0]) < 40
    assert answers[0][0][1] == "BUSY"


def header(**fields: Any) -> bytes:
    learn = Learn("m", X[:1], producer="p", epoch=1, seq=7, id=5)
    return msgpack.packb(msgpack.unpackb(encode_request(learn)[0]) | fields)


def test_a_template_fits_headers_with_other_numbers_only() -> None:
    templates = Templates(most_bytes=100)
    learn = Learn("m", X[:1], producer="p", epoch=1, seq=7, id=5)
    templates.remember([header(), X[:1].tobytes()], learn, LOCAL)

    def fits(data: bytes) -> bool:
        found = split(data)
        return found is not None and templates.get(found.key) is not None

    assert fits(header(model="n" * 31))
    assert fits(header(model="n" * 32))
    for number in (0, 127, 128, 2**16, 2**32, 2**63 - 1):
        assert fits(header(id=number, seq=number))
    others: list[dict[str, Any]] = [
        *[{"model": 5}, {"model": ""}, {"producer": "q"}, {"epoch": 2}, {"ack": "none"}],
        *[{"id": "5"}, {"id": -1}, {"id": 1.0}, {"seq": "7"}, {"seq": -1}, {"seq": [7]}],
        *[{"x": {"dtype": "<f4", "shape": [1, 3]}}, {"y": None}],
    ]
    for fields in others:
        assert not fits(header(**fields)), fields
    whole = header(id=2**40, seq=2**40)
    for end in range(len(whole)):
        assert not fits(whole[:end])
        assert not fits(whole + b"\xc0")


def test_a_header_that_fits_a_template_says_the_same_for_the_codec() -> None:
    """Random headers, with fields in any order, names that look like fields, and damaged bytes."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    templates = Templates(most_bytes=100)
    numbers = [0, 1, 127, 128, 255, 2**16 - 1, 2**16, 2**32, 2**63 - 1]
    fitting = 0
    for _ in range(6000):
        fields: dict[str, Any] = {"v": 1, "id": chance.choice(numbers), "op": "learn"}
        model = chance.choice(["m", "id", "seq", "n" * 40, "\xa5model", "é"])
        fields |= {"model": model, "x": {"dtype": "<f4", "shape": [1, 2]}}
        if chance.random() < 0.8:
            fields |= {"producer": chance.choice(["p", "id", "seq"]), "epoch": chance.choice(numbers)}
            fields["seq"] = chance.choice(numbers)
        if chance.random() < 0.1:
            del fields["id"]
        names = list(fields)
        if chance.random() < 0.5:
            chance.shuffle(names)
        data = bytearray(msgpack.packb({name: fields[name] for name in names}))
        for _ in range(chance.choice([0, 0, 1, 2])):
            at = chance.randrange(len(data))
            data[at : at + chance.randrange(3)] = chance.randbytes(chance.randrange(3))
        frames = [bytes(data), X[:1].tobytes()]
        try:
            learn = decode_request(frames)
        except StreamlearnError:
            learn = None
        found = split(frames[0])
        template = None if found is None else templates.get(found.key)
        if found is not None and template is not None:
            fitting += 1
            _, model, id_at, seq_at = found
            seq = integer(frames[0], seq_at) if seq_at else 0
            if seq is None or seq >= 2**63:
                continue  # the lane refuses such a number
            if not isinstance(learn, Learn):  # no model has such a name
                with pytest.raises(BadName):
                    check_model(model)
                continue
            said = template.without_arrays
            assert learn.id == (integer(frames[0], id_at) if id_at else None)
            assert learn.seq == seq
            assert learn.model.encode() == (template.model or model).encode("latin-1")
            assert learn._replace(model="", x=None, id=None, seq=0) == said._replace(model="", id=None, seq=0)
            if not template.model:
                again = decode_request([template.header(learn.model, seq), X[:1].tobytes()])
                assert again._replace(x=None) == learn._replace(x=None, id=None)
        elif isinstance(learn, Learn):
            templates.remember(frames, learn, LOCAL)
    assert fitting > 500
