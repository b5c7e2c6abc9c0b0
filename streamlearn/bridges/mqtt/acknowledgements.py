"""Acknowledgements to the broker: in the order of the messages, each only when all of its samples are
durable.

Within a session, the broker sends each message that it has no acknowledgement of again, with the same packet
identifier and the flag ``DUP``. Such a message is recognised by its identifier and its content, and its
samples are not sent to the daemon again. The bridge remembers identifiers in memory only. So this holds until
the bridge ends; after that, only numbers of the source recognise a message.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

from streamlearn.bridges.mqtt.messages import Message

REMEMBERED: Final = 70_000
"""Acknowledged messages whose identity is remembered: more than there are packet identifiers."""


class Receipt:
    """A message that waits for its samples. It is done when as many parts are finished as were begun."""

    __slots__ = ("_changed", "_followers", "_left", "content", "generation", "mid")

    def __init__(self, mid: int, generation: int, content: bytes, changed: Callable[[], None]) -> None:
        self.mid, self.generation, self.content = mid, generation, content
        self._left = 1  # the reading of the message itself
        self._changed = changed
        self._followers: list[Callable[[], None]] = []

    @property
    def done(self) -> bool:
        """Whether everything that the message taught is durable."""
        return self._left == 0

    def begin(self) -> Callable[[], None]:
        """Add a part. Return what is to be called when it is durable."""
        self._left += 1
        return self.finish

    def finish(self) -> None:
        """Finish a part."""
        self._left -= 1
        if not self._left:
            for each in self._followers:
                each()
            self._changed()

    def follow(self, earlier: Receipt) -> None:
        """Add a part that is finished when ``earlier`` is done."""
        if not earlier.done:
            earlier._followers.append(self.begin())


class Acknowledgements:
    """The receipts of a session.

    Parameters
    ----------
    acknowledge
        Sends the acknowledgement of a message, given its generation and its packet identifier.
    """

    def __init__(self, acknowledge: Callable[[int, int], None]) -> None:
        self._acknowledge = acknowledge
        self._pending: deque[Receipt] = deque()
        self._sent: OrderedDict[int, Receipt] = (
            OrderedDict()
        )  # acknowledged on this connection, by identifier
        self._earlier: dict[int, Receipt] = {}  # of earlier connections of the session

    def __len__(self) -> int:
        return len(self._pending)

    def connected(self, same_session: bool) -> None:
        """Begin a new connection. The broker sends everything again that it has no acknowledgement of."""
        if same_session:
            self._earlier |= self._sent
            self._earlier |= {each.mid: each for each in self._pending}
        else:
            self._earlier = {}
        self._sent = OrderedDict()
        self._pending = deque()

    def receive(self, message: Message) -> tuple[Receipt, bool]:
        """Return the receipt of a message, and whether it repeats a message of this session.

        The caller begins its parts, and then finishes the receipt itself.
        """
        if not message.qos:
            return Receipt(0, 0, b"", _nothing), False
        named = message.topic.encode() + b"\0" + message.payload
        content = hashlib.blake2b(named, digest_size=16).digest()
        receipt = Receipt(message.mid, message.generation, content, self._advance)
        self._pending.append(receipt)
        earlier = self._earlier.pop(message.mid, None)
        repeated = message.dup and earlier is not None and earlier.content == content
        if repeated and earlier is not None:
            receipt.follow(earlier)
        return receipt, repeated

    def _advance(self) -> None:
        """Acknowledge the messages that are done, up to the first one that is not."""
        while self._pending and self._pending[0].done:
            receipt = self._pending.popleft()
            self._acknowledge(receipt.generation, receipt.mid)
            self._sent[receipt.mid] = receipt
            self._sent.move_to_end(receipt.mid)
            if len(self._sent) > REMEMBERED:
                self._sent.popitem(last=False)


def _nothing() -> None:
    """Do nothing: a message with QoS 0 has no acknowledgement."""
