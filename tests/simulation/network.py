"""Connections between clients and the daemon, with faults, and the daemon's sockets on them.

A connection keeps the order of its messages, as TCP does; the scheduler decides when each message moves, so
messages of different clients overtake each other. A cut loses all messages in transit in both directions.
The client notices it later, and what it sends until then is lost too. Every new connection is a new peer for
the daemon, whose answers to the old one are lost.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import zmq

from streamlearn.daemon.security.access import Access

Message = list[bytes]
Sent = Callable[[Message], None]


class Answer(list[bytes]):
    """A message to a client. It is ``done``, like `zmq.MessageTracker`, when it has left the daemon."""

    done = False


class Link:
    """One client's socket. ``connected`` is what the client believes."""

    def __init__(self, network: Network, name: str) -> None:
        self.name = name
        self.owner: Any = None  # the client
        self.connected = False
        self.lost = False  # the client has a connection loss to process
        self.inbox: deque[Message] = deque()
        self.up: deque[Message] = deque()  # in transit to the daemon
        self.down: deque[Answer] = deque()  # in transit to the client
        self.peer: bytes | None = None  # the daemon's name of the connection; None: cut
        self._network = network

    def send(self, message: Sequence[Any]) -> None:
        """Send a message. It is lost if the connection was cut and the client has not noticed."""
        assert self.connected
        if self.peer is not None:
            self.up.append([bytes(frame) for frame in message])

    def connect(self) -> None:
        """A handshake succeeds."""
        self.peer = self._network.new_peer(self)
        self.connected = True

    def cut(self) -> None:
        """Lose the connection and all messages in transit. `notice` comes later."""
        if self.peer is not None:
            self._network.peers.pop(self.peer, None)
            self.peer = None
        self.up.clear()
        while self.down:
            self.down.popleft().done = True

    def notice(self) -> None:
        """The client's monitor reports the loss."""
        if self.connected:
            self.connected, self.lost = False, True

    def close(self) -> None:
        """The client is gone."""
        self.cut()
        self.connected = self.lost = False
        self.inbox.clear()
        self._network.links.remove(self)


class Frame:
    """`zmq.Frame`."""

    def __init__(self, data: bytes, more: bool) -> None:
        self.bytes = data
        self.more = more

    def __len__(self) -> int:
        return len(self.bytes)

    @property
    def buffer(self) -> memoryview:
        return memoryview(self.bytes)


class Socket:
    """A socket of the daemon that receives. Frames are read one at a time."""

    def __init__(self) -> None:
        self.inbox: deque[Message] = deque()
        self._frames: deque[bytes] = deque()

    @property
    def readable(self) -> bool:
        return bool(self.inbox or self._frames)

    def get(self, option: int) -> int:
        assert option == zmq.EVENTS
        return int(zmq.POLLIN) if self.readable else 0

    def recv(self, flags: int = 0, copy: bool = True) -> Any:
        if not self._frames:
            if not self.inbox:
                raise zmq.Again
            self._frames.extend(self.inbox.popleft())
        data = self._frames.popleft()
        return data if copy else Frame(data, bool(self._frames))


class Router(Socket):
    """The ROUTER socket: the first frame is the peer."""

    copy_threshold = 0

    def __init__(self, network: Network) -> None:
        super().__init__()
        self._network = network
        self._parts: Message = []

    def send(self, frame: Any, flags: int = 0, copy: bool = True, track: bool = False) -> Answer | None:
        if not self._parts and bytes(frame) not in self._network.peers:
            raise zmq.ZMQError(errno.EHOSTUNREACH)
        if not self._parts and self._network.refuse_reply(bytes(frame)):
            raise zmq.Again
        self._parts.append(bytes(frame))
        if not flags & zmq.SNDMORE:
            (peer, *message), self._parts = self._parts, []
            return self._network.reply(peer, Answer(message))
        return None


class Publishing(Socket):
    """The XPUB socket."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self._network = network

    def send(self, frame: Any, flags: int = 0) -> None:
        self._network.events.append([bytes(frame)])

    def send_multipart(self, frames: Sequence[Any], flags: int = 0) -> None:
        self._network.events.append([bytes(frame) for frame in frames])


class Sockets:
    """`daemon.sockets.Sockets`, of one life of the daemon."""

    def __init__(self, network: Network) -> None:
        self.requests = Router(network)
        self.firehose = Socket()
        self.events = Publishing(network)
        self.access = Access()

    def endpoints(self) -> dict[str, str]:
        return dict.fromkeys(("requests", "firehose", "events"), "tcp://127.0.0.1:1")

    def close(self, linger_ms: int = 0) -> None:
        """Nothing to close."""


class Network:
    """All connections. ``sockets`` are those of the running daemon; ``None`` while none runs."""

    def __init__(self) -> None:
        self.sockets: Sockets | None = None
        self.links: list[Link] = []
        self.peers: dict[bytes, Link] = {}
        self.firehose: deque[Message] = deque()  # in transit
        self.events: deque[Message] = deque()  # published, not yet read
        self.on_reply: Callable[[Link, bytes, Message], None] = lambda link, peer, message: None
        self.refuse_reply: Callable[[bytes], bool] = lambda peer: False
        self._next_peer = 0

    def link(self, name: str) -> Link:
        link = Link(self, name)
        self.links.append(link)
        return link

    def new_peer(self, link: Link) -> bytes:
        self._next_peer += 1
        peer = self._next_peer.to_bytes(5, "big")
        self.peers[peer] = link
        return peer

    def reply(self, peer: bytes, answer: Answer) -> Answer:
        """The daemon sends an answer."""
        link = self.peers[peer]
        self.on_reply(link, peer, answer)
        link.down.append(answer)
        return answer

    def start(self, sockets: Sockets) -> None:
        """A daemon listens."""
        self.sockets = sockets

    def stop(self) -> None:
        """The daemon is gone, and with it all connections."""
        self.sockets = None
        self.firehose.clear()
        for link in self.links:
            link.cut()

    def ways(self) -> list[tuple[deque[Any], Callable[[Any], None], Any]]:
        """Return the directions in which messages wait: the queue, what delivers the next one, the link."""
        found: list[tuple[deque[Any], Callable[[Any], None], Any]] = []
        if self.sockets is not None:
            found += [(link.up, self.deliver_up, link) for link in self.links if link.up]
        return found + [(link.down, self.deliver_down, link) for link in self.links if link.down]

    def deliver_up(self, link: Link) -> None:
        """The daemon's socket receives the client's next message."""
        assert self.sockets is not None
        assert link.peer is not None
        self.sockets.requests.inbox.append([link.peer, *link.up.popleft()])

    def deliver_down(self, link: Link) -> None:
        """The client's socket receives the daemon's next message."""
        answer = link.down.popleft()
        answer.done = True
        link.inbox.append(answer)
