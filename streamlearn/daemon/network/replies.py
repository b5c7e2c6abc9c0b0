"""Replies on the ROUTER socket, and the fields that several replies share."""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import zmq
from numpy.typing import NDArray

from streamlearn import logs
from streamlearn.access.identity import LOCAL, Identity
from streamlearn.daemon.limits.budget import Account
from streamlearn.daemon.metrics import Metrics
from streamlearn.errors import Busy, FatalError, Internal, StreamlearnError, TooLarge, UnknownModel
from streamlearn.shard import HostedModel
from streamlearn.store.checkpoint import CheckpointInfo
from streamlearn_client.protocol import Frame, Id, encode_error, encode_replies, encode_reply

log = logs.get_logger(__name__)

ZERO_COPY_BYTES = 1 << 18  # larger frames are not copied: the copy would cost more than the rest of the reply
ADVICE = "ask for fewer samples or steps at a time"
SMALL_BYTES = 4096  # smaller replies are never refused
MARK_BYTES = 1 << 16  # bytes of replies after which one is tracked
MOST_CUMULATIVE = 1 << 16  # connections that are known to accept cumulative acks
MORE, LAST = int(zmq.NOBLOCK | zmq.SNDMORE), int(zmq.NOBLOCK)  # flags of frames; enums cost more in each call
OVERHEAD = 128  # bytes of memory that a reply takes in addition to its content, about


class ReplyAddress(NamedTuple):
    """Where a reply goes: the routing frames of the client, its id of the request, and who it is."""

    envelope: list[Frame]
    id: Id
    identity: Identity = LOCAL


class _Connection:
    """What was sent to one client and not read yet.

    ZeroMQ sends the replies of a connection in order. So only some replies are tracked: when ZeroMQ frees a
    tracked one, it has sent all replies before it.
    """

    __slots__ = ("active", "marks", "unmarked", "unread")

    def __init__(self) -> None:
        self.unread = 0  # bytes up to the last tracked reply
        self.unmarked = 0  # bytes after it
        self.marks: deque[tuple[zmq.MessageTracker, int]] = deque()
        self.active = True  # since the last tick


class Replies:
    """Send replies. A client that has left, or does not read, costs one dropped reply and no delay.

    A large reply is refused with `Busy` if the client has not read enough of the earlier ones. A client with
    half of `most` bytes to read gets `Busy` for every request, before it is executed. The other half is for
    the small replies to what was accepted before, and for these errors. What exceeds it is dropped.

    Parameters
    ----------
    socket
        The ROUTER socket.
    metrics
        Counts errors and dropped replies.
    account
        The memory of all unread replies.
    most
        Bytes of unread replies of one connection.
    """

    def __init__(self, socket: zmq.Socket[bytes], metrics: Metrics, account: Account, most: int) -> None:
        self._socket = socket
        self._socket.copy_threshold = 0  # this class decides what is copied
        self._metrics = metrics
        self._account = account
        self._most = min(most, account.limit // 2)
        self._connections: dict[bytes, _Connection] = {}  # by routing id
        self._cumulative: dict[bytes, None] = {}  # routing ids of connections, the newest last

    def ok(
        self,
        reply_to: ReplyAddress,
        fields: Mapping[str, Any],
        arrays: Mapping[str, NDArray[Any]] | None = None,
    ) -> None:
        """Send a successful reply, or `TooLarge` or `Busy` if it does not fit."""
        frames = encode_reply(reply_to.id, fields, arrays)
        size = sum(map(len, frames))
        if size > SMALL_BYTES:
            try:
                self.check(reply_to, size)
            except StreamlearnError as error:
                self.error(reply_to, error)
                return
        self._send(reply_to.envelope, frames, size)

    def run_ok(
        self, reply_to: ReplyAddress, ids: Sequence[Id], fields: Mapping[str, Any], cumulative: bool
    ) -> None:
        """Send the acks of a run: one for all requests, or one for each.

        Parameters
        ----------
        reply_to
            Where the acks go; its id is that of the last request.
        ids
            The ids of all requests.
        fields
            The fields of each ack.
        cumulative
            Whether one ack is enough, if the client accepts it (`accept_cumulative`).
        """
        if cumulative and bytes(reply_to.envelope[0]) in self._cumulative:
            self.ok(reply_to, {**fields, "acks": len(ids)})
            return
        for header in encode_replies(ids, fields):
            self._send(reply_to.envelope, [header], len(header))

    def accept_cumulative(self, reply_to: ReplyAddress, accepted: bool) -> None:
        """Note whether a connection accepts one ack for a run. A forgotten one gets one ack per request."""
        name = bytes(reply_to.envelope[0])
        self._cumulative.pop(name, None)
        if accepted:
            self._cumulative[name] = None
            if len(self._cumulative) > MOST_CUMULATIVE:
                del self._cumulative[next(iter(self._cumulative))]

    def error(self, reply_to: ReplyAddress, error: StreamlearnError) -> None:
        """Send an error reply and count it."""
        self._metrics.count_error(error.code)
        frames = encode_error(reply_to.id, reply_to.identity.visible(error))
        self._send(reply_to.envelope, frames, len(frames[0]))

    def exception(self, reply_to: ReplyAddress, error: Exception) -> None:
        """Send any exception as an error reply. Raises a `FatalError`, since it concerns the whole daemon."""
        self.error(reply_to, as_typed(error))

    def check(self, reply_to: ReplyAddress, size: int, advice: str = ADVICE) -> None:
        """Raise `TooLarge` or `Busy` if a reply of `size` bytes may not be sent now."""
        if size > self._most:
            raise TooLarge(
                f"the answer has {size} bytes, and limits.unread_bytes allows {self._most}; {advice}",
                limit="limits.unread_bytes",
                bytes=size,
                most=self._most,
            )
        connection = self._connections.get(bytes(reply_to.envelope[0])) if reply_to.envelope else None
        if connection is not None:
            self._reap(connection)
            unread = connection.unread + connection.unmarked
            if unread + size > self._most:
                raise Busy(
                    f"this connection has {unread} bytes of answers that it has not read, and "
                    f"limits.unread_bytes allows {self._most}; read them, then send this request again",
                    limit="limits.unread_bytes",
                    unread=unread,
                    most=self._most,
                )
        if not self._account.fits(size):
            for other in self._connections.values():
                self._reap(other)
        self._account.check(size, "the answer", advice)

    def check_unread(self, reply_to: ReplyAddress) -> None:
        """Raise `Busy` if the client has half of `limits.unread_bytes` to read."""
        if self.is_behind(bytes(reply_to.envelope[0])):
            self.check(reply_to, self._most // 2)

    def is_behind(self, connection_id: bytes) -> bool:
        """Whether the client of a connection has half of `limits.unread_bytes` to read."""
        connection = self._connections.get(connection_id)
        if connection is None or connection.unread <= self._most // 2:
            return False
        self._reap(connection)
        return connection.unread > self._most // 2

    def tick(self) -> None:
        """Release what clients have read, and forget connections without replies."""
        for name, connection in list(self._connections.items()):
            self._reap(connection)
            if not connection.marks and not connection.active:
                self._account.release(connection.unmarked)
                del self._connections[name]
            connection.active = False

    def _send(self, envelope: list[Frame], frames: list[Frame], size: int) -> None:
        name = bytes(envelope[0]) if envelope else b""
        connection = self._connections.get(name)
        if connection is None:
            connection = self._connections[name] = _Connection()
        size += OVERHEAD
        if self._is_too_far_behind(connection, size):
            self._metrics.replies_dropped += 1
            return
        track = connection.unmarked + size > MARK_BYTES
        try:
            for frame in envelope:
                self._socket.send(frame, MORE)
            for frame in frames[:-1]:
                self._socket.send(frame, MORE, len(frame) < ZERO_COPY_BYTES)
            last = frames[-1]
            tracker = self._socket.send(last, LAST, not track, track)
        except zmq.ZMQError as error:
            if error.errno not in (zmq.EAGAIN, errno.EHOSTUNREACH):
                raise
            self._metrics.replies_dropped += 1
            return
        connection.active = True
        connection.unmarked += size
        self._account.add(size)
        if track:
            assert tracker is not None
            connection.marks.append((tracker, connection.unmarked))
            connection.unread += connection.unmarked
            connection.unmarked = 0

    def _is_too_far_behind(self, connection: _Connection, size: int) -> bool:
        """Whether even a small reply has to be dropped. ZeroMQ's queue has no limit of its own."""
        unread = connection.unread + connection.unmarked
        if unread <= MARK_BYTES or (unread + size <= self._most and self._account.fits(size)):
            return False
        self._reap(connection)
        unread = connection.unread + connection.unmarked
        return unread > MARK_BYTES and (unread + size > self._most or not self._account.fits(size))

    def _reap(self, connection: _Connection) -> None:
        """Release the replies that ZeroMQ has sent."""
        marks = connection.marks
        while marks and marks[0][0].done:
            size = marks.popleft()[1]
            connection.unread -= size
            self._account.release(size)


def as_typed(error: Exception) -> StreamlearnError:
    """Return the error that a client gets. Logs an unexpected one, and raises a `FatalError`."""
    if isinstance(error, FatalError):
        raise error
    if isinstance(error, StreamlearnError):
        return error
    log.error("a request failed with an unexpected error", exc_info=error)
    return Internal("the daemon failed to serve this request; its log has the details")


def model_fields(hosted: HostedModel) -> dict[str, Any]:
    """A model as `models` lists it."""
    return {
        "name": hosted.name,
        "kind": hosted.model.kind,
        "dim": hosted.model.dim,
        "samples": hosted.model.samples,
        "applied_lsn": hosted.applied_lsn,
        "create_lsn": hosted.create_lsn,
        "paused": hosted.model.paused,
        "quarantined": quarantine_fields(hosted),
    }


def quarantine_fields(hosted: HostedModel) -> dict[str, Any] | None:
    """Why a model is set aside; `None` if it is not."""
    aside = hosted.set_aside
    return None if aside is None else {"lsn": aside.lsn, "reason": aside.reason, "time": aside.time}


def checkpoint_fields(info: CheckpointInfo, now: int) -> dict[str, Any]:
    """A checkpoint as `checkpoints` lists it. `now` is the time in ns since 1970."""
    return {
        "lsn": info.lsn,
        "name": info.name or None,
        "pinned": info.pinned,
        "bytes": info.bytes,
        "time": info.time,
        "age_seconds": max(0.0, (now - info.time) / 1e9),
    }


def deleted_while_waiting() -> UnknownModel:
    """The error for a request that was waiting when its model was deleted."""
    return UnknownModel("the model was deleted while this request waited")
