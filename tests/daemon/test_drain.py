"""The compiled drain of the firehose beside the reader without it: the same messages have the same effect.

Two daemons get the same random script: long runs of batches, with gaps, resends, other operations, damaged
headers, frames of wrong sizes and numbers of every width between them.
"""

from __future__ import annotations

import ctypes
import random
from collections.abc import Callable
from socket import socketpair
from types import SimpleNamespace
from typing import Any

import msgpack
import numpy as np
import pytest
import zmq

from streamlearn.access.identity import LOCAL
from streamlearn.daemon.intake import drain as drain_module
from streamlearn.daemon.intake.drain import SYNC_WAIT_NS, WAIT_NS, Drain
from streamlearn.daemon.intake.run import Arena, Run
from streamlearn.daemon.intake.template import Templates, split
from streamlearn.daemon.self_pipe import SelfPipe
from streamlearn.kernels.stream import receiving_words as words
from streamlearn.store.record import RecordKind
from streamlearn_client.protocol import Learn, decode_request, encode_request
from tests.daemon.harness import Running, X
from tools.waiting import wait_for

EDGES = [0, 0x7F, 0xFF, 0xFFFF, 0xFFFFFFFF, 2**48]
"""The largest integers with 1, 2, 3, 5 and 9 bytes in MessagePack, and a larger one."""
TURNS = 10  # models that take turns


class Script:
    """Random messages of the producers `a` and `b` to the model `m`, and of `c` to `keyed`, with keys.

    Between them models get single samples in turn, and now and then an odd message.

    As requests, batches after a gap are refused. So numbers begin at 0 and are used again after odd messages.
    """

    def __init__(self, seed: int, requests: bool = False) -> None:
        self.random = random.Random(seed)
        self.requests = requests
        self.next_seq = {name: self.random.choice(EDGES) - self.random.randint(0, 3) for name in "abc"}
        if requests:
            self.next_seq = dict.fromkeys("abc", 0)
        self.level = "none"
        self.messages: list[list[bytes]] = []
        self.in_turn = dict.fromkeys([f"turn{n}" for n in range(TURNS)] + ["n" * 40], 0)
        for _ in range(40):
            self._add()
            self._add_in_turn()

    def _header(self, name: str, rows: int, **fields: Any) -> dict[str, Any]:
        random = self.random
        seq = max(0, self.next_seq[name])
        self.next_seq[name] = seq + 1
        ids: list[Any] = [None, random.choice(EDGES), 2**64 - 1]
        header = {"v": 1, "id": random.choice(ids), "op": "learn", "model": "m", "producer": name, "epoch": 1}
        header |= {"seq": seq, "ack": self.level, "x": {"dtype": "<f4", "shape": [rows, 2]}}
        return header | fields

    def _batch(self, name: str, rows: int) -> list[bytes]:
        values = np.array([self.random.gauss(0, 1) for _ in range(2 * rows)], "<f4")
        if name != "c":
            return [msgpack.packb(self._header(name, rows)), values.tobytes()]
        described = {"dtype": "<i8", "shape": [rows]}
        header = self._header(name, rows, model="keyed", keys=described)
        return [msgpack.packb(header), values.tobytes(), np.arange(rows, dtype="<i8").tobytes()]

    def _add(self) -> None:
        random, name = self.random, self.random.choice("abc")
        rows = random.choice([1, 1, 3])
        burst = [self._batch(name, rows) for _ in range(random.choice([1, 2, 40, 300]))]
        odd = self._batch(name, rows)
        if self.requests:
            self.next_seq[name] -= 1
            self.level = random.choice(["none", "written", "durable"])
        burst.append(random.choice(ODD)(random, odd))
        self.messages += burst

    def _add_in_turn(self) -> None:
        random = self.random
        for model in random.sample(list(self.in_turn), random.choice([2, TURNS])) * random.choice([1, 3]):
            seq = self.in_turn[model]
            self.in_turn[model] = seq + 1
            batch = changed(self._batch("b", 1), model=model, seq=seq)
            self.next_seq["b"] -= 1
            if random.random() < 0.05:
                odd = random.choice(ODD)(random, batch)
                self.messages += [odd, batch] if self.requests else [odd]
            else:
                self.messages.append(batch)


def changed(frames: list[bytes], **fields: Any) -> list[bytes]:
    return [msgpack.packb(msgpack.unpackb(frames[0]) | fields), *frames[1:]]


def without(frames: list[bytes], *names: str) -> list[bytes]:
    header = {name: value for name, value in msgpack.unpackb(frames[0]).items() if name not in names}
    return [msgpack.packb(header), *frames[1:]]


ODD: list[Callable[[random.Random, list[bytes]], list[bytes]]] = [
    lambda random, frames: frames,
    lambda random, frames: changed(frames, seq=msgpack.unpackb(frames[0])["seq"] + random.randint(1, 9)),
    lambda random, frames: changed(frames, seq=max(0, msgpack.unpackb(frames[0])["seq"] - 1)),
    lambda random, frames: changed(frames, seq=2**63 - 1 + random.randint(0, 1)),
    lambda random, frames: changed(frames, seq=-1),
    lambda random, frames: changed(frames, id=-5),
    lambda random, frames: changed(frames, id="text"),
    lambda random, frames: changed(frames, id=b"x" * 65),
    lambda random, frames: changed(frames, epoch=random.choice([0, 2])),
    lambda random, frames: changed(frames, model="other"),
    lambda random, frames: changed(frames, unknown=1),
    lambda random, frames: changed(frames, x={"dtype": "<f4", "shape": [1, 3]}),
    lambda random, frames: without(frames, "id"),
    lambda random, frames: without(frames, "producer", "epoch", "seq"),
    lambda random, frames: without(frames, "seq"),
    lambda random, frames: [msgpack.packb({"v": 1, "id": "stats", "op": "stats"})],
    lambda random, frames: [frames[0]],
    lambda random, frames: [*frames, b""],
    lambda random, frames: [*frames, b"more", b"and more"],
    lambda random, frames: [*frames[:-1], frames[-1][:-1]],
    lambda random, frames: [*frames[:-1], frames[-1] + b"\0"],
    lambda random, frames: [*frames[:-1], b""],
    lambda random, frames: [frames[0], frames[1] + b"1234", *frames[2:]],
    lambda random, frames: [b"", *frames[1:]],
    lambda random, frames: [frames[0][:-3], *frames[1:]],
    lambda random, frames: [frames[0] + b"\0", *frames[1:]],
    lambda random, frames: [random.randbytes(len(frames[0])), *frames[1:]],
    lambda random, frames: [frames[0] + bytes(9000), *frames[1:]],
]


def answers(running: Running, socket: Any) -> list[str]:
    """All answers on a socket that has sent its last message, without what depends on the records."""
    wait_for(lambda: running.daemon.loop._group_commit.idle)
    socket.send(msgpack.packb({"v": 1, "id": "end", "op": "hello"}))
    found: list[dict[str, Any]] = []
    while not found or found[-1]["id"] != "end":
        assert socket.poll(60_000)
        found.append(msgpack.unpackb(socket.recv_multipart()[-1]))
    for answer in found:
        for field in ("lsn", "durable_lsn", "applied_lsn"):
            answer.get("ok", {}).pop(field, None)
    return sorted(str(answer) for answer in found[:-1] if answer["id"] != "stats")


def effect(running: Running, script: Script) -> dict[str, Any]:
    """Send the script and return everything that it changed."""
    kind = (zmq.DEALER, "requests") if script.requests else (zmq.PUSH, "firehose")
    push = running.connect(*kind)
    for frames in script.messages:
        push.socket.send_multipart(frames)
    push.send(Learn("m", X[:1], None, "last", 1, ack="none"))
    wait_for(lambda: running.wire.call("position", "m", producer="last")["next_seq"])
    models = running.wire.call("stats")["models"]
    wait_for(lambda: running.wire.call("stats")["backlog_rows"] == 0)
    metrics = running.daemon.context.metrics
    records = [record for record in running.journal.replay() if record.kind is RecordKind.LEARN]
    return {
        "answers": answers(running, push.socket) if script.requests else [],
        "errors": dict(metrics.errors),
        "lost": metrics.firehose_lost,
        "models": {
            name: [model[field] for field in ("received", "refused", "duplicates", "missing_batches")]
            for name, model in sorted(models.items())
        },
        "hashes": [
            running.wire.call("describe", name)["state_hash"] for name in ("m", "keyed", *script.in_turn)
        ],
        "positions": [
            running.wire.call("position", model, producer=name) | {"lsn": 0}  # the records differ
            for model, names in (("m", "ab"), ("keyed", "c"), *((model, "b") for model in script.in_turn))
            for name in names
        ],
        "batches": sorted(
            (record.model, record.producer, record.epoch, record.seq + index, record.rows // record.batches)
            for record in records
            for index in range(record.batches)
        ),
    }


@pytest.mark.parametrize("requests", [False, True], ids=["firehose", "requests"])
@pytest.mark.parametrize("seed", range(3))
def test_with_and_without_the_drain(tmp_path, seed, requests, monkeypatch):
    print("seed", seed)
    drained = in_turn = 0
    receive, receive_any = Drain.receive, Drain.receive_any

    def counted_in_turn(self: Drain, template: Any, arena: Any) -> Any:
        nonlocal in_turn
        models, *rest = receive_any(self, template, arena)
        in_turn += len(models)
        return models, *rest

    def counted(self: Drain, run: Any, wait_ns: int) -> Any:
        nonlocal drained
        batches, frames, empty = receive(self, run, wait_ns)
        drained += batches
        return batches, frames, empty

    monkeypatch.setattr(Drain, "receive", counted)
    monkeypatch.setattr(Drain, "receive_any", counted_in_turn)
    effects = []
    for available in (True, False):
        if not available:
            monkeypatch.setattr(drain_module, "_libzmq", lambda: None)
            drained = in_turn = 0
        running = Running(tmp_path / str(available))
        try:
            running.wire.create()
            running.wire.create("keyed", kind="ledger")
            script = Script(seed, requests)
            for model in script.in_turn:
                running.wire.create(model)
            effects.append(effect(running, script))
        finally:
            running.stop()
        assert (drained > 0) == available
        assert (in_turn > 0) == (available and not requests)
    assert effects[0] == effects[1]
    assert effects[0]["errors"]
    assert len(effects[0]["answers"]) >= 100 * requests


class FakeMessages:
    """libzmq with a queue of frames in this process. ``None`` in the queue is an error."""

    def __init__(self, frames: list[tuple[bytes, bool] | None]) -> None:
        self.queue = frames
        self.kept: dict[int, tuple[Any, bool]] = {}  # content of each zmq_msg_t
        pointer, integer = ctypes.c_void_p, ctypes.c_int
        self.zmq_msg_init = ctypes.CFUNCTYPE(integer, pointer)(lambda message: 0)
        self.zmq_msg_recv = ctypes.CFUNCTYPE(integer, pointer, pointer, integer)(self._receive)
        self.zmq_msg_data = ctypes.CFUNCTYPE(pointer, pointer)(lambda at: ctypes.addressof(self.kept[at][0]))
        self.zmq_msg_more = ctypes.CFUNCTYPE(integer, pointer)(lambda at: self.kept[at][1])

    def _receive(self, at: int, socket: int, flags: int) -> int:
        assert (socket, flags) == (5, zmq.DONTWAIT)
        frame = self.queue.pop(0) if self.queue else None
        if frame is None:
            return -1
        self.kept[at] = ctypes.create_string_buffer(frame[0], max(1, len(frame[0]))), frame[1]
        return len(frame[0])


def fake_drain(frames: list[tuple[bytes, bool] | None], *descriptors: int) -> Drain:
    return Drain(SimpleNamespace(underlying=5), FakeMessages(frames), (*descriptors, -1, -1)[:2])


@pytest.mark.parametrize("sender", [b"", b"\0peer"])
@pytest.mark.parametrize("arrays", [0, 1])
def test_an_error_in_the_middle_of_a_message(arrays, sender):
    """The frames that were received are returned; the reader receives the rest."""
    random = Script(0)
    batches = [random._batch("c", 2) for _ in range(3)]
    if sender:
        batches = [changed(batch, id=70 + n) for n, batch in enumerate(batches)]
    first = msgpack.unpackb(batches[0][0])["seq"]
    learn = decode_request(batches[0])
    templates = Templates(1 << 16)
    templates.remember(batches[0], learn, LOCAL)
    run = Run(templates.get(split(batches[0][0]).key), "keyed", sender, Arena(), first, 100)
    batches = [[sender, *batch] if sender else batch for batch in batches]
    frames = [(frame, frame is not batch[-1]) for batch in batches for frame in batch]
    size = len(batches[0])
    cut = frames[: 3 * size - 2 + arrays]
    drain = fake_drain([*cut, None, *frames[len(cut) :]])
    count, rest, empty = drain.receive(run, WAIT_NS)
    assert not empty
    assert (count, run.batches, run.next_seq) == (2, 2, first + 2)
    assert [(frame.bytes, frame.more) for frame in rest] == cut[2 * size :]
    assert run.ids == ([70, 71] if sender else [])
    received = run.learn()
    expected = [decode_request(batch[bool(sender) :]).x for batch in batches[:2]]
    assert np.array_equal(received.x, np.concatenate(expected))
    assert np.array_equal(received.keys, [0, 1, 0, 1])
    assert fake_drain([]).receive(run, WAIT_NS) == (0, [], True)


def bursts(sizes: list[int], sender: bytes) -> tuple[list[tuple[bytes, bool] | None], Run]:
    """Frames of single samples, and their run. ``sizes``: after so many, no message has arrived yet."""
    frames: list[tuple[bytes, bool] | None] = []
    x = np.zeros((1, 2), np.float32)
    for size in sizes:
        for _ in range(size):
            seq = sum(frame is not None and not frame[1] for frame in frames)
            learn = Learn("m", x, producer="a", epoch=1, seq=seq, id=seq)
            header, samples = map(bytes, encode_request(learn))
            frames += ([(sender, True)] if sender else []) + [(header, True), (samples, False)]
        frames.append(None)
    first = [frame[0] for frame in frames[bool(sender) : 2 + bool(sender)] if frame]
    templates = Templates(1 << 16)
    templates.remember(first, decode_request(first), LOCAL)
    return frames, Run(templates.get(split(first[0]).key), "m", sender, Arena(), 0, 1000)


@pytest.mark.parametrize("sender", [b"", b"\0peer"])
@pytest.mark.parametrize(
    ("sizes", "waits", "readable", "received"),
    [
        ([5, 8, 2, 9], True, True, 15),  # after 2 it does not wait
        ([3, 8], True, True, 3),
        ([5, 8], False, True, 5),
        ([5, 8], True, False, 5),  # nothing arrives while it waits
        ([4] * 40, True, True, 4 * (drain_module.MOST_WAITS + 1)),
    ],
)
def test_the_wait_for_the_next_messages_of_a_burst(sizes, waits, readable, received, sender):
    frames, run = bursts(sizes, sender)
    here, there = socketpair()
    with here, there:
        if readable:
            there.send(b"!")
        drain = fake_drain(frames, here.fileno())
        assert drain.receive(run, WAIT_NS if waits else 0) == (received, [], True)
    assert run.ids == (list(range(run.batches)) if sender else [])


def test_after_a_wait_in_vain_the_next_calls_do_not_wait():
    pause = drain_module.CALLS_WITHOUT_WAIT
    frames, run = bursts([5] * (pause + 3), b"")
    here, there = socketpair()
    with here, there:
        drain = fake_drain(frames, here.fileno())
        found = [drain.receive(run, WAIT_NS)[0]]
        there.send(b"!")
        found += [drain.receive(run, WAIT_NS)[0] for _ in range(pause + 1)]
    assert found == [5] * (pause + 1) + [10]


def test_after_a_wait_for_a_sync_the_next_call_waits_too():
    frames, run = bursts([5] * 4, b"")
    here, there = socketpair()
    with here, there:
        drain = fake_drain(frames, here.fileno())
        found = [drain.receive(run, SYNC_WAIT_NS)[0]]
        there.send(b"!")
        found.append(drain.receive(run, SYNC_WAIT_NS)[0])
    assert found == [5, 15]


@pytest.mark.parametrize(("ack", "waited"), [("durable", SYNC_WAIT_NS), ("written", WAIT_NS)])
def test_the_drain_waits_longer_while_the_acks_wait_for_a_sync(tmp_path, monkeypatch, ack, waited):
    asked, waits = [], []
    receive = Drain.receive

    def observed(self: Drain, run: Any, wait_ns: int) -> Any:
        received = receive(self, run, wait_ns)
        asked.append(wait_ns)
        waits.append(int(self._patience[words.TIMEOUT + 1]))
        return received

    monkeypatch.setattr(Drain, "receive", observed)
    running = Running(tmp_path)
    try:
        running.wire.create()
        flusher = running.daemon.context.flusher
        running.disk.syncs.clear()
        running.wire.send(Learn("m", X[:1], None, "held", 1))  # its header is not that of the others
        running.wire.send(Learn("m", X[:1], None, "a", 1, 0, ack=ack))
        learned = running.connect()
        wait_for(lambda: learned.call("describe", "m")["samples"] == 2)
        assert flusher.busy
        running.wire.send(Learn("m", X[:1], None, "a", 1, 1, ack=ack))
        wait_for(lambda: len(asked) == 1)
        running.disk.syncs.set()
        journal = running.daemon.context.journal
        wait_for(lambda: journal.durable_lsn == 4 and not flusher.busy)  # `create` and three batches
        running.wire.send(Learn("m", X[:1], None, "a", 1, 2, ack=ack))
        wait_for(lambda: len(asked) == 2)
    finally:
        running.stop()
    assert asked == [SYNC_WAIT_NS, WAIT_NS]
    assert waits == [waited, WAIT_NS]


def test_a_libzmq_with_hidden_functions_gives_no_drain(monkeypatch):
    monkeypatch.setattr(drain_module, "FUNCTIONS", ("zmq_msg_recv", "no_such_function"))
    with zmq.Context() as context, context.socket(zmq.PULL) as socket:
        assert Drain.of(socket, SelfPipe()) is None
