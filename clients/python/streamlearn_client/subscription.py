"""Subscriptions to the events of models."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from types import TracebackType
from typing import Any, NamedTuple, Self

import zmq

from streamlearn_client.errors import BadValue, NoAnswer
from streamlearn_client.keys import ClientKeys
from streamlearn_client.ownership import Owner
from streamlearn_client.protocol import EVENT_KINDS, SUBSCRIBED, check_model, topic
from streamlearn_client.replies import protocol_error, read_reply
from streamlearn_client.results import Event, read_event
from streamlearn_client.sockets import Connection, blocking_context, receive
from streamlearn_client.timeouts import Deadline, check_timeout
from streamlearn_client.wakeup import Wakeup

__all__ = ["Selection", "Subscription", "confirmation_topic", "is_confirmed", "no_publisher", "selection"]


class Subscription:
    """An iterator of `Event`, created by `Client.subscribe`.

    Iteration ends when no event arrives for ``timeout`` seconds (never, for ``None``), or after `close`.

    The daemon does not store events. A subscription misses events that happen before `Client.subscribe`
    returns, events during a connection loss, and events that arrive faster than the program reads them. Gaps
    in ``event.first`` and ``event.rows`` show missed ``output`` events.

    Examples
    --------
    >>> with client.subscribe("pump", "output") as events:  # doctest: +SKIP
    ...     for event in events:
    ...         print(event.first, event.outputs.score.max())
    """

    def __init__(
        self,
        endpoint: str,
        selection: Selection,
        timeout: float | None,
        connect_timeout: float,
        announced_by: str | None = None,
        connection_keys: ClientKeys | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.timeout = timeout
        check_timeout(timeout, zero=True)
        self._owner = Owner("subscription")
        self._closed = False
        self._selection = selection
        self._turn = threading.Lock()
        self._prefix = b"" if connection_keys is None else connection_keys.topic_prefix
        self._connection = Connection(
            blocking_context(), zmq.SUB, endpoint, connection_keys, announced_by=announced_by
        )
        self._socket = self._connection.socket
        self._wakeup = Wakeup()
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._connection.monitor, zmq.POLLIN)
        self._poller.register(self._wakeup.reader, zmq.POLLIN)
        try:
            self._subscribe(selection.topics, connect_timeout)
        except BaseException:
            self.close()
            raise

    def _subscribe(self, topics: tuple[bytes, ...], connect_timeout: float) -> None:
        """Subscribe, and wait until the subscriptions are in effect."""
        confirmation = confirmation_topic()
        for prefix in (*(self._prefix + name for name in topics), confirmation):
            self._socket.subscribe(prefix)
        deadline = Deadline(connect_timeout)
        while not is_confirmed(self._receive(deadline), confirmation, self.endpoint):
            if not deadline.remaining():
                raise no_publisher(self.endpoint, connect_timeout, self._connection.handshakes.hint())
        self._socket.unsubscribe(confirmation)

    def next_event(self, timeout: float | None = None) -> Event | None:
        """Return the next event.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait; 0: do not wait. By default wait without a limit.

        Returns
        -------
        Event or None
            The event; ``None`` if no event arrived in time or the subscription is closed.

        Raises
        ------
        ProtocolError
            If the message is not an event of this protocol.
        Forbidden
            If the connection was lost, and the daemon refuses the key of this client when it connects again.
        BadValue
            If ``timeout`` is not a valid timeout.
        """
        deadline = Deadline(check_timeout(timeout, zero=True))
        self._owner.check()
        closed = self._closed
        if closed:
            return None
        try:
            with self._turn:
                while (frames := self._receive(deadline)) is not None:
                    event = read_event(frames, self.endpoint, self._prefix)
                    if self._selection.has(event):
                        return event
        finally:
            if self._closed:
                self.close()
        return None

    def _receive(self, deadline: Deadline) -> list[bytes] | None:
        """Return the next message; ``None`` after the deadline or after `close`."""
        while not self._closed:
            frames = receive(self._socket)
            if frames is not None:
                return frames
            self._connection.check()
            if not deadline.remaining():
                return None
            self._poller.poll(deadline.wait_ms())
        return None

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        event = self.next_event(self.timeout)
        if event is None:
            raise StopIteration
        return event

    def close(self) -> None:
        """Close the subscription. An iteration in another thread ends."""
        if self._owner.inherited:
            return
        self._closed = True
        if self._turn.acquire(blocking=False):
            try:
                self._connection.close()
                self._wakeup.close()
            finally:
                self._turn.release()
        else:  # another thread waits for an event; it closes the socket
            self._wakeup.wake()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Selection(NamedTuple):
    """Which events to receive: prefixes of topics, and the models; ``None``: all.

    A prefix that ends in the name of a model also matches longer names.
    """

    topics: tuple[bytes, ...]
    models: frozenset[str] | None = None

    def has(self, event: Event) -> bool:
        """Return whether the event is one of them."""
        return self.models is None or event.model in self.models


def selection(
    model: str | None, kinds: Sequence[Any], kind: Any = None, models: Iterable[str] | None = None
) -> Selection:
    """Return the selection of events. Raise ``BadValue`` for an unknown kind of event."""
    chosen = [*kinds, *([] if kind is None else [kind] if isinstance(kind, str) else kind)]
    for each in chosen:
        if each not in EVENT_KINDS:
            raise BadValue(f"no {each!r} events exist; use one of: {', '.join(EVENT_KINDS)}", field="kind")
    if isinstance(models, str):
        raise BadValue(
            f"models must be a list of names, not {models!r}; for one name use model", field="models"
        )
    names = [check_model(name) for name in [*([] if model is None else [model]), *(models or ())]]
    if not names:
        if models is not None:
            raise BadValue(
                "models is empty; leave it out to receive the events of all models", field="models"
            )
        return Selection(tuple(topic(each).encode() for each in chosen or EVENT_KINDS))
    pairs = product(chosen or EVENT_KINDS, dict.fromkeys(names))
    return Selection(tuple(topic(each, name).encode() for each, name in pairs), frozenset(names))


def confirmation_topic() -> bytes:
    """Return a unique topic. The daemon sends it back after it has read all earlier subscriptions."""
    return f"{SUBSCRIBED}{secrets.token_hex(8)}".encode()


def is_confirmed(frames: list[bytes] | None, confirmation: bytes, endpoint: str) -> bool:
    """Return whether a message confirms the subscriptions. Raise its error if one was refused."""
    if frames is None or frames[0] != confirmation:
        return False
    if len(frames) > 1:
        error = read_reply(frames[1:], endpoint).error
        raise error or protocol_error(endpoint, "it confirms a subscription with frames that are no error")
    return True


def no_publisher(endpoint: str, timeout: float, hint: str) -> NoAnswer:
    """Return the error for an events endpoint that confirms no subscription."""
    return NoAnswer(
        f"no daemon publishes at {endpoint} (tried for {timeout:g} s): "
        f"check that `streamlearn serve` is running and that this is its events endpoint{hint}",
        endpoint=endpoint,
    )
