"""A daemon on this thread, with simulated sockets and clock, that handles bursts of messages.

With real sockets, how many messages wait together depends on time. Here the test decides it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import msgpack

from streamlearn import models
from streamlearn.daemon.config import Settings
from streamlearn.daemon.daemon import Daemon
from streamlearn.daemon.runtime import Runtime
from streamlearn.kernels.stream.interrupt_words import NEVER
from streamlearn.models.batch import part
from streamlearn.recovery import recover
from streamlearn.shard.producer_arrays import POSITIONS
from streamlearn.shard.record_codec import decode_batch
from streamlearn.store.checkpoint import CheckpointStore
from streamlearn.store.fs import FS
from streamlearn.store.journal import Journal
from tests.simulation.network import Link, Network, Sockets
from tests.simulation.tasks import SelfPipe

Sent: TypeAlias = tuple[str, list[bytes]]
"""The connection, or "" for the firehose, and the frames."""
Reply: TypeAlias = tuple[str, dict[str, Any]]
"""The connection, and the header."""


class Disk(FS):
    """The real file system; a test can make it full."""

    full = False

    def pwritev(self, fd: int, buffers: Any, offset: int) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().pwritev(fd, buffers, offset)


class Clock:
    """A clock that stands still during a burst."""

    def __init__(self) -> None:
        self.now = 1_700_000_000 * 10**9


class Idle:
    """A thread, a poller and interrupts that do nothing."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def start(self) -> None: ...

    def join(self) -> None: ...

    def register(self, source: Any, flags: int = 0) -> None: ...

    def poll(self, milliseconds: int) -> None: ...

    def begin_slice(self, rows: int, pace: float) -> Any:
        return NEVER

    def waiting(self, now: int) -> bool:
        return False

    def have_read(self, now: int, unfinished_ns: int, *, batches: bool) -> None: ...


class Side:
    """A daemon. Syncs happen on this thread, after each turn. If not `fast`, batches take the general way."""

    def __init__(self, directory: Path, clock: Clock, fast: bool = True, **settings: Any) -> None:
        self.clock = clock
        for kind in ("som", "competitive", "rnn"):
            models.load_kernels(kind)  # no thread runs that could do it
        self.directory, self.disk, self.network = directory, Disk(), Network()
        self.journal = Journal.open(self.disk, directory / "journal")
        checkpoints = CheckpointStore(self.disk, directory / "checkpoints")
        self.sockets: Any = Sockets(self.network)
        parts: dict[str, Any] = dict.fromkeys(("thread", "poller", "interrupts"), Idle)
        clocks = dict.fromkeys(("wall_ns", "steady_ns"), lambda: clock.now)
        self.daemon = Daemon(
            Settings(data_dir=directory, checkpoints={"seconds": 1e9}, **settings),
            self.journal,
            checkpoints,
            recover(self.journal, checkpoints, models),
            self.sockets,
            "test",
            Runtime(**parts, **clocks, self_pipe=SelfPipe),
        )
        if not fast:
            self.daemon.loop._lane.find = lambda header, sender, identity: None  # type: ignore[method-assign]
        self.answers: list[Reply] = []
        self.network.on_reply = self._answered
        self.links: dict[str, Link] = {}

    def _answered(self, link: Link, peer: bytes, answer: list[bytes]) -> None:
        frames = answer[1:] if answer[0] == b"" else answer
        self.answers.append((link.name, msgpack.unpackb(frames[0])))

    def link(self, name: str) -> Link:
        if name not in self.links:
            self.links[name] = self.network.link(name)
            self.links[name].connect()
        return self.links[name]

    def deliver(self, burst: list[Sent]) -> None:
        """Handle the messages of a burst, which wait together."""
        for name, frames in burst:
            if name:
                peer = self.link(name).peer
                assert peer is not None
                self.sockets.requests.inbox.append([peer, *frames])
            else:
                self.sockets.firehose.inbox.append(list(frames))
        for _ in range(8):
            self.daemon.loop.turn()
            self.journal.sync()
        for _ in range(1000):
            if not self.daemon.context.shard.has_backlog and self.daemon.loop._group_commit.idle:
                return
            self.daemon.loop.turn()
            self.journal.sync()
        raise AssertionError("the burst is not handled after 1000 turns")

    def stop_at(self, message: int) -> None:
        """Stop the daemon when it receives this request, counted from now on."""
        requests = self.sockets.requests
        receive, count = requests.recv, 0

        def recv(flags: int = 0, copy: bool = True) -> Any:
            nonlocal count
            begins = not requests._frames
            frame = receive(flags, copy)
            if begins and count == message:
                self.daemon.loop.stop()
            count += begins
            return frame

        requests.recv = recv

    def outcome(self) -> dict[str, Any]:
        """Everything that must not depend on the way, except answers and records."""
        context = self.daemon.context
        hosted = {each.name: each for each in context.shard}
        return {
            "hashes": {name: each.model.state_hash() for name, each in hosted.items()},
            "counts": {name: (each.learned, each.missing_batches) for name, each in hosted.items()},
            "producers": {name: table_of(each.accepted_producers) for name, each in hosted.items()},
            "applied": {name: table_of(each.applied_producers) for name, each in hosted.items()},
            "models": {name: each.to_map() for name, each in context.metrics.models.items()},
            "errors": context.metrics.errors,
            "lost": context.metrics.firehose_lost,
            "messages": context.metrics.messages,
        }

    def records(self) -> Iterator[tuple[Any, ...]]:
        """The batches and the other records of the journal, in order, each with its lsn at the end."""
        for record in self.journal.replay():
            made = decode_batch(record, False)
            if made is None:
                yield record.model, record.kind, bytes(record.payload), record.lsn
                continue
            rows = made.rows // record.batches
            for index in range(record.batches):
                batch = part(made, index * rows, (index + 1) * rows)
                columns = tuple(None if column is None else column.tobytes() for column in batch)
                numbered = record.seq + index if record.producer else 0
                number = record.producer, record.epoch, numbered
                yield record.model, record.kind, *number, record.time, columns, record.lsn

    def recovered(self) -> dict[str, Any]:
        """States and producer tables of a new process that replays the journal."""
        checkpoints = CheckpointStore(self.disk, self.directory / "checkpoints")
        shard = recover(self.journal, checkpoints, models).shard
        return {
            each.name: (each.model.state_hash(), table_of(each.applied_producers, lsn=True)) for each in shard
        }

    def live(self) -> dict[str, Any]:
        """What `recovered` must return."""
        shard = self.daemon.context.shard
        return {
            each.name: (each.model.state_hash(), table_of(each.accepted_producers, lsn=True))
            for each in shard
        }

    def close(self) -> None:
        self.daemon.context.self_pipe.close()
        self.journal.close()


def table_of(producers: Any, lsn: bool = False) -> dict[str, Any]:
    arrays = producers.to_arrays()
    if not lsn:  # records are not the same
        arrays[POSITIONS] = arrays[POSITIONS][:, :2]
    return {name: array.tolist() for name, array in arrays.items()}
