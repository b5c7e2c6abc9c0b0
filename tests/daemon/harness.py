"""A daemon in this process: real sockets and files, fake models, and a disk with faults on demand."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zmq

from streamlearn.daemon.config import Settings
from streamlearn.daemon.daemon import Daemon
from streamlearn.daemon.network.sockets import bind
from streamlearn.daemon.runtime import Runtime
from streamlearn.daemon.security.access import Access
from streamlearn.recovery import recover
from streamlearn.store.checkpoint import CheckpointStore
from streamlearn.store.fs import FS, Bytes
from streamlearn.store.journal import Journal
from streamlearn_client.keys import ClientKeys
from streamlearn_client.protocol import Learn, Reply, Request, decode_reply, encode_request
from tests.shard.fakes import Fakes, RunningSum

QUEUE_BYTES = 0  # ZeroMQ queues as few messages of a connection as possible
SECONDS = 60.0  # after which a test that waits has failed

X = np.random.default_rng(3).normal(size=(2000, 2)).astype(np.float32)


def reference(*parts: np.ndarray, **spec: Any) -> str:
    """The state hash of a model that learned `parts` in this process, with no daemon."""
    model = RunningSum(**({"dim": 2} | spec))
    for part in parts:
        model.learn(part)
    return model.state_hash()


class Disk(FS):
    """The real file system; a test can make it full, slow to sync, or broken."""

    def __init__(self) -> None:
        self.full = False
        self.broken = False
        self.syncs = threading.Event()
        self.syncs.set()

    def pwritev(self, fd: int, buffers: Sequence[Bytes], offset: int) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().pwritev(fd, buffers, offset)

    def fdatasync(self, fd: int) -> None:
        assert self.syncs.wait(SECONDS)
        if self.broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().fdatasync(fd)


class Running:
    """A daemon that serves on a thread until `stop`."""

    def __init__(
        self,
        directory: Path,
        models: Any = None,
        keys: ClientKeys | None = None,
        runtime: Runtime | None = None,
        **settings: Any,
    ) -> None:
        free = dict.fromkeys(("requests", "firehose", "events"), "tcp://127.0.0.1:*")
        # Checkpoints are taken when a test asks for one: by the clock they would come at any moment.
        settings.setdefault("checkpoints", {"seconds": 1e9})
        self.settings = Settings(data_dir=directory, endpoints=free, **settings)
        self.disk = Disk()
        self.journal = Journal.open(
            self.disk, directory / "journal", segment_bytes=self.settings.journal.segment_bytes
        )
        self.checkpoints = CheckpointStore(self.disk, directory / "checkpoints")
        self.recovered = recover(self.journal, self.checkpoints, models or Fakes())
        self.access = Access(self.settings.security)
        self.sockets = bind(
            self.settings.endpoints, self.settings.limits.frame_bytes, QUEUE_BYTES, self.access
        )
        self.endpoints = self.sockets.endpoints()
        self.daemon = Daemon(
            self.settings, self.journal, self.checkpoints, self.recovered, self.sockets, "test", runtime
        )
        self.failure: BaseException | None = None
        self._closed = False
        self.context: zmq.Context[Any] = zmq.Context()
        self._thread = threading.Thread(target=self._run, name="loop", daemon=True)
        self._thread.start()
        self.wire = self.connect(keys=keys)

    def _run(self) -> None:
        try:
            self.daemon.loop.run()
        except BaseException as error:  # noqa: BLE001 - a test looks at it
            self.failure = error

    def connect(
        self, kind: int = zmq.DEALER, endpoint: str = "requests", keys: ClientKeys | None = None
    ) -> Wire:
        socket = self.context.socket(kind)
        socket.linger = 0
        if keys is not None:
            keys.set_on(socket)
        socket.connect(self.endpoints[endpoint])
        return Wire(socket)

    def stop(self) -> None:
        """Stop like SIGTERM, unless it has ended already, and release all resources."""
        if self._closed:
            return
        self._closed = True
        self.disk.syncs.set()
        self.daemon.loop.stop()
        self.join()
        self.daemon.close()
        if self.failure is None:
            self.journal.close()
        self.sockets.close(0)
        self.context.destroy(0)

    def join(self) -> None:
        self._thread.join(SECONDS)
        assert not self._thread.is_alive(), "the loop did not end"


class Wire:
    """One client's socket, and the frames on it."""

    def __init__(self, socket: zmq.Socket[Any]) -> None:
        self.socket = socket
        self._ids = 0

    def send(self, request: Request | Learn) -> int:
        self._ids += 1
        self.socket.send_multipart(encode_request(request._replace(id=self._ids)))
        return self._ids

    def receive(self, seconds: float = SECONDS) -> Reply:
        assert self.socket.poll(int(seconds * 1000)), "no answer"
        return decode_reply(self.socket.recv_multipart())

    def silent(self) -> bool:
        """Whether no answer is here. Ask only where a later request was answered already."""
        return not self.socket.poll(0)

    def ask(self, request: Request | Learn) -> dict[str, Any]:
        """The `ok` of the answer; an error is raised."""
        number = self.send(request)
        reply = self.receive()
        assert reply.id == number
        if reply.error is not None:
            raise reply.error
        return reply.ok | ({"arrays": reply.arrays} if reply.arrays else {})

    def call(self, op: str, model: str = "", **fields: Any) -> dict[str, Any]:
        x, keys = fields.pop("x", None), fields.pop("keys", None)
        return self.ask(Request(op, None, model, fields, x, keys))

    def create(self, name: str = "m", kind: str = "sum", **spec: Any) -> dict[str, Any]:
        return self.call("create", name, kind=kind, spec={"dim": 2} | spec)

    def learn(self, x: np.ndarray | None, name: str = "m", **fields: Any) -> dict[str, Any]:
        return self.ask(Learn(name, x, **fields))

    def hash(self, name: str = "m") -> str:
        return str(self.call("describe", name)["state_hash"])
