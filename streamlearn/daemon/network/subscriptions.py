"""Subscriptions to events: who has them, and how many one connection may have.

The XPUB socket is in manual mode: a subscription has an effect only after this module has accepted it. ZeroMQ
itself reads subscriptions without a bound, so three limits work together: the socket queues few of them per
connection (`RECEIVE_HWM`), one turn of the loop reads few of them (`READ_PER_TURN`), and a connection that
sends many more than it may have is closed.

A subscriber with a key receives events under topics that begin with its public key, and may subscribe to no
others. So an event is sent once per key, to the keys that have the right at that moment. A prefix that covers
more models than the key may see (`alarm/`) reveals nothing, also of models that are created later.

ZeroMQ does not report which connection has ended. A connection is identified by its file descriptor and the
inode of its socket, which no later connection has; `sweep` forgets those that no longer exist.
"""

from __future__ import annotations

import os
import socket
from collections import Counter
from contextlib import suppress

import zmq

from streamlearn import logs
from streamlearn.daemon.limits.budget import Account
from streamlearn.daemon.security.access import Access
from streamlearn.errors import Busy, Forbidden, StreamlearnError, TooLarge
from streamlearn_client.keys import topic_prefix
from streamlearn_client.protocol import EVENT_KINDS, SUBSCRIBED, Frame, encode_error, topic

log = logs.get_logger(__name__)

RECEIVE_HWM = 2  # subscriptions of one connection that ZeroMQ queues; it reads on while there are any
READ_PER_TURN = 64
EVENTS, POLLIN = int(zmq.EVENTS), int(zmq.POLLIN)  # enums cost more in each call
LONGEST_TOPIC = max(len(topic(kind, "m" * 64)) for kind in EVENT_KINDS)  # a longer prefix matches no event
EVERYTHING = tuple(topic(kind).encode() for kind in EVENT_KINDS)  # what one without a prefix means
BYTES_PER_SUBSCRIPTION = 1024  # memory that a subscription takes, at least
BYTES_PER_CHARACTER = 96  # ZeroMQ keeps a tree of characters, in manual mode twice
FLOOD_FACTOR = 4  # a connection that sends this many times its limit in one period is closed
PERIOD_SECONDS = 1.0

_CONFIRM = SUBSCRIBED.encode()


class Subscriber:
    """One connection to the events socket."""

    __slots__ = ("bytes", "closed", "fd", "inode", "messages", "prefixes", "public", "refusal")

    def __init__(self, fd: int, inode: int, public: str) -> None:
        self.fd = fd
        self.inode = inode
        self.public = public  # its public key; empty without keys
        self.prefixes: set[bytes] = set()
        self.bytes = 0  # memory of its subscriptions
        self.messages = 0  # in this period
        self.refusal: StreamlearnError | None = None  # of a subscription that is not yet confirmed
        self.closed = False


class Subscriptions:
    """The subscriptions of all connections. Used on the loop's thread.

    Parameters
    ----------
    events
        The XPUB socket, in manual mode.
    access
        The keys and their rights.
    account
        The memory of all subscriptions.
    most
        Subscriptions that one connection may have.
    """

    def __init__(
        self,
        events: zmq.Socket[bytes],
        access: Access,
        account: Account,
        most: int,
    ) -> None:
        self._events = events
        self._access = access
        self._account = account
        self._most = most
        self._subscribers: dict[tuple[int, int], Subscriber] = {}  # by fd and inode
        self._prefixes: Counter[bytes] = Counter()  # how many connections have each
        self._keys: Counter[str] = Counter()  # how many subscriptions each public key has
        self._next_period = 0.0
        self.refused = 0
        self.closed = 0  # connections that were closed because of their subscriptions

    def to_map(self) -> dict[str, int]:
        """Return the counters, as `stats` sends them."""
        return {
            "subscribers": len(self._subscribers),
            "subscriptions": sum(len(each.prefixes) for each in self._subscribers.values()),
            "refused": self.refused,
            "closed": self.closed,
        }

    @property
    def exist(self) -> bool:
        """Whether anything is subscribed to."""
        return bool(self._keys)

    def recipients(self, model: str, kind: str) -> tuple[bytes, ...]:
        """Return the beginnings of the topics under which to send an event of a model: one per key."""
        if not self._keys:
            return ()
        name = topic(kind, model).encode()
        keys = (public for public in self._keys if self._access.identity(public).allows("subscribe", model))
        return tuple(prefix for prefix in map(topic_prefix, keys) if self._match(prefix + name))

    def _match(self, name: bytes) -> bool:
        """Whether any connection subscribed to a prefix of the topic `name`."""
        return any(name[:end] in self._prefixes for end in range(len(name) + 1))

    def close_revoked(self) -> None:
        """Close the connections whose key no longer has the right to subscribe to any model."""
        for each in self._subscribers.values():
            if not each.closed and not self._access.identity(each.public).has("subscribe"):
                self._close(each, "its key has no right to subscribe")

    def read(self) -> bool:
        """Read new and cancelled subscriptions, a bounded number. Return whether there were any."""
        if not int(self._events.get(EVENTS)) & POLLIN:  # costs less than an exception, and is the usual case
            return False
        for count in range(READ_PER_TURN):
            try:
                frame = self._events.recv(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return count > 0
            self._read_one(frame)
        return True

    def sweep(self, now: float) -> bool:
        """Forget the connections that have ended. Return whether there were any.

        `now`: seconds of a steady clock.
        """
        ended = [each for each in self._subscribers.values() if _inode(each.fd) != each.inode]
        for each in ended:
            del self._subscribers[each.fd, each.inode]
            for prefix in list(each.prefixes):
                self._remove(each, prefix)
        if now >= self._next_period:
            self._next_period = now + PERIOD_SECONDS
            for each in self._subscribers.values():
                each.messages = 0
        return bool(ended)

    def _read_one(self, frame: zmq.Frame) -> None:
        message = frame.bytes
        subscriber = self._subscriber(frame)
        if subscriber is None or subscriber.closed:
            return
        subscriber.messages += 1
        if subscriber.messages > FLOOD_FACTOR * self._most:
            self._close(subscriber, "it sends too many subscriptions")
            return
        own = topic_prefix(subscriber.public)
        prefix = message[1:]
        if prefix.startswith(_CONFIRM):
            if message[:1] == b"\x01":
                self._confirm(subscriber, prefix)
        elif not prefix.startswith(own):
            if message[:1] == b"\x01":
                self._refuse(subscriber, self._forbidden(subscriber, "topics without the own key"))
        elif message[:1] in (b"\x00", b"\x01"):
            change = self._subscribe if message[:1] == b"\x01" else self._unsubscribe
            for each in [prefix] if prefix != own else [own + kind for kind in EVERYTHING]:
                change(subscriber, each)

    def _subscriber(self, frame: zmq.Frame) -> Subscriber | None:
        """The connection that sent a message; `None` if it has ended, and ZeroMQ cancels for it."""
        try:
            fd = int(frame.get("__fd"))
        except zmq.ZMQError:
            return None
        inode = _inode(fd)
        if inode is None:
            return None
        found = self._subscribers.get((fd, inode))
        if found is None:
            public = self._access.identify(frame).public
            found = self._subscribers[fd, inode] = Subscriber(fd, inode, public)
        return found

    def _subscribe(self, subscriber: Subscriber, prefix: bytes) -> None:
        if prefix in subscriber.prefixes:
            return
        try:
            self._check(subscriber, prefix)
        except StreamlearnError as error:
            self._refuse(subscriber, error)
            return
        size = _memory(prefix)
        subscriber.prefixes.add(prefix)
        subscriber.bytes += size
        self._account.add(size)
        self._prefixes[prefix] += 1
        self._keys[subscriber.public] += 1
        self._events.setsockopt(zmq.SUBSCRIBE, prefix)

    def _refuse(self, subscriber: Subscriber, error: StreamlearnError) -> None:
        self.refused += 1
        subscriber.refusal = error
        if isinstance(error, Forbidden):
            name = self._access.identity(subscriber.public).name
            self._access.refusals.count("subscriptions", f"key {name}: no right subscribe")

    def _forbidden(self, subscriber: Subscriber, what: str) -> Forbidden:
        name = self._access.identity(subscriber.public).name
        return Forbidden(
            f"the key {name!r} does not have the right 'subscribe' to {what}; grant it in the daemon's "
            "file of rights, or use another key",
            key=name,
            right="subscribe",
        )

    def _check(self, subscriber: Subscriber, prefix: bytes) -> None:
        """Raise an error if the connection may not have this subscription too."""
        identity = self._access.identity(subscriber.public)
        inner = prefix[len(topic_prefix(subscriber.public)) :]
        model = inner.partition(b"/")[2].decode(errors="replace")
        if model and not identity.allows("subscribe", model):
            raise self._forbidden(subscriber, f"events of {model!r}")
        if not identity.has("subscribe"):
            raise self._forbidden(subscriber, "any events")
        if len(inner) > LONGEST_TOPIC:
            raise TooLarge(
                f"a subscription has {len(inner)} bytes; no topic has more than {LONGEST_TOPIC}. Subscribe "
                "to <kind>/<model>",
                limit="length of a subscription",
                most=LONGEST_TOPIC,
            )
        if len(subscriber.prefixes) >= self._most:
            raise TooLarge(
                f"this connection has {self._most} subscriptions, as many as limits.subscriptions allows; "
                "subscribe to alarm/ for the alarms of all models, or raise limits.subscriptions",
                limit="limits.subscriptions",
                most=self._most,
            )
        size = _memory(prefix)
        while not self._account.fits(size):
            largest = max(self._subscribers.values(), key=lambda each: each.bytes)
            if largest is subscriber or not largest.bytes:
                self._account.refused += 1
                raise Busy(
                    f"all subscriptions together take {self._account.used} bytes of memory, as many as "
                    "limits.memory_bytes allows for them; subscribe to fewer topics",
                    limit="limits.memory_bytes",
                    account=self._account.name,
                    most=self._account.limit,
                )
            self._close(largest, "it has the most subscriptions, and their memory is full")

    def _unsubscribe(self, subscriber: Subscriber, prefix: bytes) -> None:
        if prefix in subscriber.prefixes:
            self._remove(subscriber, prefix)
            self._events.setsockopt(zmq.UNSUBSCRIBE, prefix)

    def _remove(self, subscriber: Subscriber, prefix: bytes) -> None:
        """Count one subscription less."""
        size = _memory(prefix)
        subscriber.prefixes.discard(prefix)
        subscriber.bytes -= size
        self._account.release(size)
        self._prefixes[prefix] -= 1
        if not self._prefixes[prefix]:
            del self._prefixes[prefix]
        self._keys[subscriber.public] -= 1
        if not self._keys[subscriber.public]:
            del self._keys[subscriber.public]

    def _confirm(self, subscriber: Subscriber, name: bytes) -> None:
        """Confirm to this connection that its earlier subscriptions are in effect, or were refused."""
        if len(name) > LONGEST_TOPIC:
            return
        frames: list[Frame] = [name]
        if subscriber.refusal is not None:
            frames += encode_error(None, subscriber.refusal)
            subscriber.refusal = None
        self._events.setsockopt(zmq.SUBSCRIBE, name)
        self._events.send_multipart(frames, zmq.NOBLOCK)
        self._events.setsockopt(zmq.UNSUBSCRIBE, name)

    def _close(self, subscriber: Subscriber, reason: str) -> None:
        """Close the connection. Its subscriptions no longer count; ZeroMQ removes them when it notices."""
        subscriber.closed = True
        self.closed += 1
        name = self._access.identity(subscriber.public).name
        log.warning("closed the events connection of %s: %s", name, reason)
        for prefix in list(subscriber.prefixes):
            self._remove(subscriber, prefix)
        if _inode(subscriber.fd) == subscriber.inode:
            with suppress(OSError), socket.socket(fileno=os.dup(subscriber.fd)) as connection:
                connection.shutdown(socket.SHUT_RDWR)


def _memory(prefix: bytes) -> int:
    return BYTES_PER_SUBSCRIPTION + BYTES_PER_CHARACTER * len(prefix)


def _inode(fd: int) -> int | None:
    """The inode of an open file; `None` if the descriptor is closed."""
    try:
        return os.fstat(fd).st_ino
    except OSError:
        return None
