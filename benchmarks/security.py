"""The cost of keys: two daemons on the loopback interface, one with CURVE keys and one without."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from streamlearn_client import Client
from streamlearn_client.keys import generate, write_key_pair

from .processes import daemon
from .timing import Contestant, Row, Settings, compare

BATCH, DIM = 256, 8
SPEC = {"dim": DIM, "grid": [10, 10], "sigma": 2.0, "learning_rate": 0.1}
PEER = "without keys"
RIGHTS = "".join(f'{right} = ["*"]\n' for right in ("push", "query", "subscribe", "change"))


def rows(settings: Settings) -> Iterator[Row]:
    samples = np.random.default_rng(settings.seed).random((8 * BATCH, DIM), dtype=np.float32)
    with ExitStack() as stack:
        keys, options = make_keys(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        clients = []
        for with_keys in (True, False):
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            started = stack.enter_context(daemon(directory, options if with_keys else ()))
            client = stack.enter_context(Client(started.requests, **(keys if with_keys else {})))
            client.create("bench", kind="som", **SPEC)
            clients.append(client)

        def pair(measure: Callable[[Client, np.ndarray, int], None], name: str, step: int) -> Iterator[Row]:
            ours, theirs = (
                Contestant(side, partial(measure, client, samples), time.perf_counter, step)
                for side, client in zip(("with keys", PEER), clients, strict=True)
            )
            yield from compare(name, ours, [theirs], settings)

        yield from pair(predict, "keys: predict of 1 sample, one at a time", 1)
        yield from pair(push, f"keys: stream of batches of {BATCH}, ack received", BATCH)
        yield from pair(push_single, "keys: stream of batches of 1, ack received", 1)
        for row in pair(connect, "keys: new connections, each with one hello", 1):
            yield replace(row, unit="connections/s")


def make_keys(directory: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the arguments of a client and the options of a daemon."""
    server, own = generate("server"), generate("bench")
    write_key_pair(server, directory)
    (directory / "clients.toml").write_text(f'bench = "{own.public}"\n')
    (directory / "rights.toml").write_text(f"[bench]\n{RIGHTS}")
    files = {"server-key": "server.key", "client-keys": "clients.toml", "rights": "rights.toml"}
    options = tuple(part for name, file in files.items() for part in (f"--{name}", str(directory / file)))
    return {"server_key": server.public, "key": own.secret}, options


def predict(client: Client, samples: np.ndarray, n: int) -> None:
    for _ in range(n):
        client.predict("bench", samples[:1])


def push(client: Client, samples: np.ndarray, n: int) -> None:
    with client.stream("bench", batch=BATCH, ack="received") as stream:
        for _ in range(n // len(samples)):
            stream.push_many(samples)
        stream.push_many(samples[: n % len(samples)])


def push_single(client: Client, samples: np.ndarray, n: int) -> None:
    with client.stream("bench", batch=1, ack="received") as stream:
        for k in range(n):
            stream.push(samples[k % len(samples)])


def connect(client: Client, samples: np.ndarray, n: int) -> None:
    keys = client._keys
    named = {"server_key": keys.server, "key": keys.secret} if keys is not None else {}
    for _ in range(n):
        with Client(client.endpoint, **named) as other:
            other.hello()
