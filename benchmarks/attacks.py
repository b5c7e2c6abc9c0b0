"""``python -m benchmarks.attacks``: attacks on the memory of a daemon, beside a client that behaves.

Each attack runs in its own process for a bounded time, over loopback only. Meanwhile another client sends one
small ``predict`` after the other. The table shows the resident memory of the daemon, the 99 % quantile of the
other client's latencies, and what the attacker got.

Options: ``--memory MIB`` (default 512), ``--seconds S`` per attack (default 10), ``--only NAME``.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import zmq
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from streamlearn_client import Client
from streamlearn_client.protocol import Learn, Limits, Request, decode_reply, encode_request

from .zmtp import Peer, message

MIB = 1 << 20
DIM = 8
SOM = {"dim": DIM, "grid": [10, 10]}
WIDE = {"readout": "adam", "dim": 1, "horizon": 200, "hidden": 2}  # one row of a prediction has 800 bytes
HEAVY = {"dim": 256, "grid": [64, 64]}  # 4 MiB of weights
ROWS = 1 << 16


class Endpoints(NamedTuple):
    requests: str
    firehose: str
    events: str


@dataclass
class Outcome:
    """What one attack did."""

    attack: str
    rss: float = 0.0  # MiB, the largest
    budget: float = 0.0  # MiB
    idle: float = 0.0  # ms, 99 % quantile of the other client
    attacked: float = 0.0
    answers: Counter[str] = field(default_factory=Counter)  # to the attacker, by code


Got = Counter[str]
Attack = Callable[[Endpoints, float], Got]


# ------------------------------------------------------------------------------------------- the attacks


def _dealer(endpoint: str, hwm: int = 1000) -> zmq.Socket[bytes]:
    socket = zmq.Context.instance().socket(zmq.DEALER)
    socket.linger = 0
    socket.sndhwm = hwm
    socket.connect(endpoint)
    return socket


def _drain(socket: zmq.Socket[bytes], got: Got, milliseconds: int = 0) -> None:
    """Count answers until none arrives for some time, for two seconds at most."""
    until = time.monotonic() + 2.0
    while time.monotonic() < until and socket.poll(milliseconds):
        reply = decode_reply(socket.recv_multipart())
        limit = "" if reply.error is None else f" ({reply.error.detail.get('limit')})"
        got["ok" if reply.error is None else reply.error.code + limit] += 1


def _pipeline(
    request: Request | Learn, endpoint: str, seconds: float, reads: bool, most: int = 100_000
) -> Got:
    """Send one request again and again; read the answers only if ``reads``."""
    socket, got = _dealer(endpoint), Counter[str]()
    frames = encode_request(request)
    until = time.monotonic() + seconds
    sent = 0
    while time.monotonic() < until and sent < most:
        with suppress(zmq.Again):
            socket.send_multipart(frames, zmq.NOBLOCK)
            sent += 1
            continue
        if reads:
            _drain(socket, got, 10)
        else:
            time.sleep(0.01)
    _drain(socket, got, 1000)
    got["sent"] = sent
    return got


def _limits(endpoints: Endpoints) -> Limits:
    with Client(endpoints.requests) as client:
        return Limits.from_map(client.hello()["limits"])


def _batch(size: int) -> NDArray[np.float32]:
    """Return samples of the heavy model of at most ``size`` bytes."""
    return np.zeros((size // (4 * HEAVY["dim"]), HEAVY["dim"]), np.float32)


def _model(endpoints: Endpoints, name: str, kind: str, spec: dict[str, Any]) -> None:
    with Client(endpoints.requests, timeout=60) as client:
        client.create(name, kind, **spec)


def unread_answers(endpoints: Endpoints, seconds: float) -> Got:
    """Ask for large answers on ten connections and read none of them."""
    _model(endpoints, "wide", "som", SOM)
    x = np.zeros((ROWS, DIM), np.float32)
    frames = encode_request(Request("predict", 1, "wide", {}, x))
    sockets = [_dealer(endpoints.requests, hwm=10) for _ in range(10)]
    until, got = time.monotonic() + seconds, Counter[str]()
    while time.monotonic() < until:
        for socket in sockets:
            with suppress(zmq.Again):
                socket.send_multipart(frames, zmq.NOBLOCK)
                got["sent"] += 1
        time.sleep(0.005)
    for socket in sockets:
        _drain(socket, got, 1000)
    return got


def large_prediction(endpoints: Endpoints, seconds: float) -> Got:
    """Ask for an answer of 200 MB: many rows, each with a long horizon."""
    _model(endpoints, "horizon", "rnn", WIDE)
    x = np.zeros((1 << 18, WIDE["dim"]), np.float32)
    return _pipeline(Request("predict", 1, "horizon", {}, x), endpoints.requests, seconds, True, 200)


def unread_descriptions(endpoints: Endpoints, seconds: float) -> Got:
    """Ask for descriptions of a model whose spec has many weights, and read no answer."""
    weights = np.zeros((100, 100, DIM)).tolist()
    _model(endpoints, "described", "som", {"dim": DIM, "grid": [100, 100], "init": weights})
    return _pipeline(Request("describe", 1, "described"), endpoints.requests, seconds, False)


def hello_flood(endpoints: Endpoints, seconds: float) -> Got:
    """Send ``hello`` as fast as possible and read no answer."""
    return _pipeline(Request("hello", 1), endpoints.requests, seconds, False, 1_000_000)


def large_batches(endpoints: Endpoints, seconds: float) -> Got:
    """Send the largest batches to a slow model on four connections, faster than it learns."""
    _model(endpoints, "slow", "som", HEAVY)
    frames = encode_request(Learn("slow", _batch(_limits(endpoints).frame_bytes), ack="received"))
    sockets = [_dealer(endpoints.requests, hwm=4) for _ in range(4)]
    until, got = time.monotonic() + seconds, Counter[str]()
    while time.monotonic() < until:
        for socket in sockets:
            with suppress(zmq.Again):
                socket.send_multipart(frames, zmq.NOBLOCK)
                got["sent"] += 1
            _drain(socket, got)
        time.sleep(0.001)
    return got


def large_firehose(endpoints: Endpoints, seconds: float) -> Got:
    """Send the largest batches that the firehose accepts to a slow model."""
    _model(endpoints, "slow", "som", HEAVY)
    frames = encode_request(Learn("slow", _batch(_limits(endpoints).firehose_frame_bytes), ack="none"))
    socket = zmq.Context.instance().socket(zmq.PUSH)
    socket.linger, socket.sndhwm = 0, 4
    socket.connect(endpoints.firehose)
    until, got = time.monotonic() + seconds, Counter[str]()
    while time.monotonic() < until:
        try:
            socket.send_multipart(frames, zmq.NOBLOCK)
            got["sent"] += 1
        except zmq.Again:
            time.sleep(0.001)
    return got


def checkpoints(endpoints: Endpoints, seconds: float) -> Got:
    """Ask for 200 checkpoints of one model again and again, without waiting."""
    _model(endpoints, "copied", "som", HEAVY)
    return _pipeline(Request("checkpoint", 1, "copied"), endpoints.requests, seconds, True, 20_000)


def restores(endpoints: Endpoints, seconds: float) -> Got:
    """Send 60 restores without waiting."""
    _model(endpoints, "restored", "som", HEAVY)
    with Client(endpoints.requests, timeout=60) as client:
        client.checkpoint("restored")
    return _pipeline(Request("restore", 1, "restored"), endpoints.requests, seconds, True, 60)


def large_models(endpoints: Endpoints, seconds: float) -> Got:
    """Create models until the daemon refuses, then models that are far too large."""
    got = Counter[str]()
    until = time.monotonic() + seconds
    socket = _dealer(endpoints.requests)
    for i in range(10_000):
        spec = HEAVY if i % 2 else {"dim": 4096, "grid": [128, 128]}
        socket.send_multipart(
            encode_request(Request("create", i, f"large-{i}", {"kind": "som", "spec": spec}))
        )
        _drain(socket, got, 1)
        if time.monotonic() > until:
            break
    _drain(socket, got, 2000)
    return got


def many_subscriptions(endpoints: Endpoints, seconds: float) -> Got:
    """Subscribe to millions of topics, on a new connection whenever the daemon closes one."""
    return _flood_events(endpoints, seconds, lambda i: b"\x01output/%d-%d" % (i % 977, i))


def changing_subscriptions(endpoints: Endpoints, seconds: float) -> Got:
    """Subscribe to one topic and cancel it, as fast as possible."""
    return _flood_events(endpoints, seconds, lambda i: bytes([i % 2 == 0]) + b"output/m")


def _flood_events(endpoints: Endpoints, seconds: float, subscription: Callable[[int], bytes]) -> Got:
    got = Counter[str]()
    until = time.monotonic() + seconds
    content = b"".join(message(subscription(i)) for i in range(50_000))
    while time.monotonic() < until:
        try:
            with Peer(endpoints.events, "SUB", seconds=1.0) as peer:
                got["connections"] += 1
                while time.monotonic() < until:
                    peer.socket.sendall(content)
                    got["subscriptions"] += 50_000
        except OSError:
            got["closed"] += 1
    return got


def slow_subscribers(endpoints: Endpoints, seconds: float) -> Got:
    """Subscribe to outputs on ten connections and read nothing, while a model learns."""
    _model(endpoints, "busy", "som", SOM)
    peers = [Peer(endpoints.events, "SUB") for _ in range(10)]
    for peer in peers:
        peer.send(b"\x01output/busy")
    x = np.zeros((ROWS, DIM), np.float32)
    got = _pipeline(Learn("busy", x, ack="received"), endpoints.requests, seconds, True)
    for peer in peers:
        peer.close()
    return got


def many_connections(endpoints: Endpoints, seconds: float) -> Got:
    """Open connections and send nothing."""
    got, peers = Counter[str](), []
    until = time.monotonic() + seconds
    while time.monotonic() < until and len(peers) < 5000:
        try:
            peers.append(Peer(endpoints.requests, "DEALER", 2.0))
            got["connections"] += 1
        except OSError:
            got["refused"] += 1
            time.sleep(0.01)
    time.sleep(1.0)
    for peer in peers:
        peer.close()
    return got


ATTACKS: dict[str, Attack] = {
    each.__name__: each
    for each in (
        unread_answers,
        large_prediction,
        unread_descriptions,
        hello_flood,
        large_batches,
        large_firehose,
        checkpoints,
        restores,
        large_models,
        many_subscriptions,
        changing_subscriptions,
        slow_subscribers,
        many_connections,
    )
}


# --------------------------------------------------------------------------------------- the measurement


@contextmanager
def daemon(directory: Path, memory: int) -> Iterator[tuple[Endpoints, int]]:
    """Run a daemon with a memory budget on free ports; yield its endpoints and its process id."""
    ports = dict.fromkeys(("requests", "firehose", "events"), "tcp://127.0.0.1:*")
    options = [part for name, endpoint in ports.items() for part in (f"--{name}", endpoint)]
    command = [sys.executable, "-m", "streamlearn", "serve", "--data-dir", str(directory), *options]
    environment = os.environ | {
        "STREAMLEARN_LIMITS__MEMORY_BYTES": str(memory),
        "STREAMLEARN_LOG__LEVEL": "error",
    }
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            ready = next((line for line in process.stdout if "ready" in line), "")
            found = dict(re.findall(r"(\w+)=(\S+)", ready))
            yield Endpoints(found["requests"], found["firehose"], found["events"]), process.pid
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def resident(process: int) -> int:
    """Return the resident memory of a process in bytes."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def run(name: str, memory: int, seconds: float, settle: float = 2.0) -> Outcome:
    """Run one attack on a new daemon."""
    outcome = Outcome(name, budget=memory / MIB)
    with tempfile.TemporaryDirectory() as directory, daemon(Path(directory), memory) as (endpoints, process):
        with Client(endpoints.requests, timeout=60) as client:
            client.create("other", "som", **SOM)
        idle, attacked, stop = [], [], threading.Event()
        with _watch(process, stop) as peak:
            _latencies(endpoints.requests, idle, settle)
            attack, answers = _start(name, endpoints, seconds)
            _latencies(endpoints.requests, attacked, seconds)
            outcome.answers = answers.get()
            attack.join()
        outcome.rss = max(peak) / MIB
        outcome.idle, outcome.attacked = (
            1e3 * float(np.percentile(times, 99)) if times else float("inf") for times in (idle, attacked)
        )
    return outcome


def _start(name: str, endpoints: Endpoints, seconds: float) -> tuple[Any, Any]:
    context = multiprocessing.get_context("spawn")
    answers = context.SimpleQueue()
    attack = context.Process(target=_attack, args=(name, endpoints, seconds, answers), daemon=True)
    attack.start()
    return attack, answers


def _attack(name: str, endpoints: Endpoints, seconds: float, answers: Any) -> None:
    os.nice(19)  # its own work must not slow the daemon down: a real attacker has its own processors
    try:
        answers.put(ATTACKS[name](endpoints, seconds))
    except BaseException as error:
        answers.put(Counter({f"failed: {error}": 1}))
        raise


@contextmanager
def _watch(process: int, stop: threading.Event) -> Iterator[list[int]]:
    """Record the resident memory of a process every 10 ms."""
    peak = [resident(process)]

    def watch() -> None:
        while not stop.wait(0.01):
            with suppress(OSError):
                peak[0] = max(peak[0], resident(process))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()


def _latencies(endpoint: str, durations: list[float], seconds: float) -> None:
    """Send one ``predict`` after the other, with a millisecond between them."""
    x = np.zeros((1, DIM), np.float32)
    with Client(endpoint, timeout=60) as client:
        client.predict("other", x)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            began = time.perf_counter()
            client.predict("other", x)
            durations.append(time.perf_counter() - began)
            time.sleep(0.001)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attacks", description=__doc__)
    parser.add_argument("--memory", type=int, default=512, help="limits.memory_bytes in MiB (default 512)")
    parser.add_argument("--seconds", type=float, default=10.0, help="duration of an attack (default 10)")
    parser.add_argument("--only", choices=ATTACKS, action="append")
    options = parser.parse_args()
    table = Table("attack", "peak RSS / budget", "p99 idle", "p99 attacked", "ratio", "the attacker got")
    for name in options.only or ATTACKS:
        outcome = run(name, options.memory * MIB, options.seconds)
        answers = ", ".join(f"{count} {code}" for code, count in outcome.answers.most_common())
        table.add_row(
            name.replace("_", " "),
            f"{outcome.rss:.0f} / {outcome.budget:.0f} MiB",
            f"{outcome.idle:.2f} ms",
            f"{outcome.attacked:.2f} ms",
            f"{outcome.attacked / outcome.idle:.1f}×",
            answers,
        )
        print(name, outcome, file=sys.stderr, flush=True)
    console = Console()
    Console(width=None if console.is_terminal else 150).print(table)


if __name__ == "__main__":
    main()
