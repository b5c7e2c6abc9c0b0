"""Following what happens to models."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Self

import zmq

from streamlearn_client.errors import BadValue, NoAnswer
from streamlearn_client.protocol import EVENT_KINDS, SUBSCRIBED, check_model, topic
from streamlearn_client.results import Event, read_event
from streamlearn_client.sockets import blocking, connect

__all__ = ["Subscription", "no_events", "own_topic", "topics_of"]


class Subscription:
    """An iterator of `Event`.

    Iteration ends when no event came for ``timeout`` seconds (never, for ``None``) or after `close`.
    Events are not kept for those who are not there: what happens before `Client.subscribe` returns, while
    the connection is broken, or faster than they are read, is missed; ``event.first`` and ``event.rows``
    show where output events are missing.
    """

    def __init__(
        self, endpoint: str, topics: tuple[bytes, ...], timeout: float | None, patience: float
    ) -> None:
        self.endpoint = endpoint
        self.timeout = timeout
        self._closed = False
        self._socket = connect(blocking(), zmq.SUB, endpoint)
        try:
            self._settle(topics, patience)
        except BaseException:
            self.close()
            raise

    def _settle(self, topics: tuple[bytes, ...], patience: float) -> None:
        """Subscribe, and wait until the daemon has read it."""
        own = own_topic()
        for each in (*topics, own):
            self._socket.subscribe(each)
        deadline = time.monotonic() + patience
        heard = b""
        while heard != own:
            left = deadline - time.monotonic()
            if left <= 0 or not self._socket.poll(int(left * 1000) + 1):
                raise no_events(self.endpoint, patience)
            heard = self._socket.recv_multipart()[0]
        self._socket.unsubscribe(own)

    def next_event(self, timeout: float | None = None) -> Event | None:
        """The next event; ``None`` if none comes within ``timeout`` seconds (``None``: wait for it)."""
        if self._closed or not self._socket.poll(None if timeout is None else int(timeout * 1000)):
            return None
        return read_event(self._socket.recv_multipart())

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        event = self.next_event(self.timeout)
        if event is None:
            raise StopIteration
        return event

    def close(self) -> None:
        self._closed = True
        self._socket.close(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def topics_of(model: str | None, kinds: Sequence[Any]) -> tuple[bytes, ...]:
    """The topic prefixes to subscribe to. Raises ``BadValue`` for a kind that there is not."""
    for kind in kinds:
        if kind not in EVENT_KINDS:
            raise BadValue(
                f"there are no {kind!r} events; there are: {', '.join(EVENT_KINDS)}", field="kinds"
            )
    if model is None:
        if kinds:
            raise BadValue(
                "kinds of events are chosen per model; for all models, all kinds come", field="kinds"
            )
        return (b"model/",)
    return tuple(topic(check_model(model), kind).encode() for kind in kinds or ("",))


def own_topic() -> bytes:
    """To be subscribed to last: the daemon sends it back once it has read what was subscribed to before."""
    return f"{SUBSCRIBED}{secrets.token_hex(8)}".encode()


def no_events(endpoint: str, patience: float) -> NoAnswer:
    return NoAnswer(
        f"nobody publishes at {endpoint} (tried for {patience:g} s): "
        "is `streamlearn serve` running, and is this its events endpoint?",
        endpoint=endpoint,
    )
