"""The cost of keys: two daemons on the loopback interface, one with CURVE keys and one without."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from streamlearn_client import Client
from streamlearn_client.keys import generate, write_key_pair

from .daemon import BATCH, DIM, SPEC, daemon
from .timing import Comparison, compare

PEER = "without keys"
RIGHTS = "".join(f'{right} = ["*"]\n' for right in ("push", "query", "subscribe", "change"))


def comparisons(rounds: int, seed: int) -> Iterator[Comparison]:
    samples = np.random.default_rng(seed).random((100 * BATCH, DIM), dtype=np.float32)
    with ExitStack() as stack:
        keys, options = make_keys(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        clients = []
        for with_keys in (True, False):
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            requests, _ = stack.enter_context(daemon(directory, options if with_keys else ()))
            client = stack.enter_context(Client(requests, **(keys if with_keys else {})))
            client.create("bench", kind="som", **SPEC)
            clients.append(client)

        def pair(measure: Callable[[Client, np.ndarray], int], name: str) -> Comparison:
            ours, theirs = (lambda client=client: measure(client, samples) for client in clients)
            return compare(name, PEER, ours, theirs, rounds)

        yield pair(predict, "keys: predict of 1 sample, one at a time")
        yield pair(push, f"keys: samples in a stream of batches of {BATCH}, ack received")
        yield pair(push_single, "keys: samples in a stream of batches of 1, ack received")
        yield pair(connect, "keys: new connections, each with one hello")


def make_keys(directory: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the arguments of a client and the options of a daemon."""
    server, own = generate("server"), generate("bench")
    write_key_pair(server, directory)
    (directory / "clients.toml").write_text(f'bench = "{own.public}"\n')
    (directory / "rights.toml").write_text(f"[bench]\n{RIGHTS}")
    files = {"server-key": "server.key", "client-keys": "clients.toml", "rights": "rights.toml"}
    options = tuple(part for name, file in files.items() for part in (f"--{name}", str(directory / file)))
    return {"server_key": server.public, "key": own.secret}, options


def predict(client: Client, samples: np.ndarray) -> int:
    for _ in range(1000):
        client.predict("bench", samples[:1])
    return 1000


def push(client: Client, samples: np.ndarray) -> int:
    with client.stream("bench", batch=BATCH, ack="received") as stream:
        stream.push_many(samples)
    return len(samples)


def push_single(client: Client, samples: np.ndarray) -> int:
    with client.stream("bench", batch=1, ack="received") as stream:
        stream.push_many(samples[:2000])
    return 2000


def connect(client: Client, samples: np.ndarray) -> int:
    keys = client._keys
    named = {"server_key": keys.server, "key": keys.secret} if keys is not None else {}
    for _ in range(50):
        with Client(client.endpoint, **named) as other:
            other.hello()
    return 50
