"""One memory budget for the process, divided into accounts.

`limits.memory_bytes` bounds the process. The memory of interpreter, libraries and compiled kernels
is measured at the start and subtracted. The rest is divided into accounts with fixed shares, so that one use
of memory never takes the space of another. Memory is reserved before it is used, and released later. A
reservation beyond the limit raises `Busy` or `TooLarge`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from streamlearn.daemon.config import Settings
from streamlearn.daemon.limits.system_memory import default_memory_bytes, resident_bytes
from streamlearn.errors import BadConfig, Busy, TooLarge

SHARES: Final[Mapping[str, float]] = {
    "models": 0.3,  # states
    "checkpoints": 0.25,  # copies that are being written, and states that are being restored
    "queued": 0.125,  # accepted samples that are not learned yet
    "queries": 0.125,  # inputs, outputs and copies of states of queries that are being answered
    "replies": 0.1,  # answers that their clients have not read yet
    "subscriptions": 0.02,
}  # the rest, 0.08, is for events, connections and what ZeroMQ has received and the loop has not read
FRAMES = 256  # a frame has at most this part of the memory
QUEUES = 16  # what ZeroMQ queues of a connection has at most this part
LEAST_BYTES = 64 << 20  # for everything but the fixed part
LARGEST_SUBSCRIPTIONS = 64 << 20  # ZeroMQ walks through all subscriptions when a subscriber leaves


class Account:
    """The memory of one use: bytes that are reserved, and their limit."""

    __slots__ = ("limit", "name", "peak", "refused", "used")

    def __init__(self, name: str, limit: int) -> None:
        self.name = name
        self.limit = limit
        self.used = 0
        self.peak = 0
        self.refused = 0

    def fits(self, size: int) -> bool:
        """Whether `size` more bytes are within the limit."""
        return self.used + size <= self.limit

    def check(self, size: int, purpose: str, advice: str) -> None:
        """Raise `TooLarge` if `size` bytes can never fit, `Busy` if they do not fit now.

        Parameters
        ----------
        size
            Bytes to reserve.
        purpose
            What needs the memory, the subject of the message's first sentence.
        advice
            What the client can do.
        """
        if self.used + size <= self.limit:
            return
        self.refused += 1
        facts = {"limit": "limits.memory_bytes", "account": self.name, "bytes": size, "most": self.limit}
        if size > self.limit:
            raise TooLarge(
                f"{purpose} needs {size} bytes of memory, and limits.memory_bytes allows {self.limit} bytes "
                f"for {self.name}; {advice}",
                **facts,
            )
        raise Busy(
            f"{purpose} needs {size} bytes of memory; {self.used} of the {self.limit} bytes that "
            f"limits.memory_bytes allows for {self.name} are in use. Send it again later, or {advice}",
            **facts,
        )

    def reserve(self, size: int, purpose: str, advice: str) -> None:
        """Count `size` bytes as used. Raises as `check` does, and then counts nothing."""
        self.check(size, purpose, advice)
        self.add(size)

    def add(self, size: int) -> None:
        """Count `size` bytes as used, without a check."""
        self.used += size
        self.peak = max(self.peak, self.used)

    def release(self, size: int) -> None:
        """Count `size` bytes as free again."""
        self.used -= size

    def to_map(self) -> dict[str, int]:
        """Return the account as `stats` sends it."""
        return {"used": self.used, "limit": self.limit, "peak": self.peak, "refused": self.refused}


class Budget:
    """The accounts of one process.

    Parameters
    ----------
    memory_bytes
        Bytes of memory that the process may use.
    fixed_bytes
        Bytes that the process uses before it serves, models excluded.
    """

    def __init__(self, memory_bytes: int, fixed_bytes: int = 0) -> None:
        if memory_bytes - fixed_bytes < LEAST_BYTES:
            raise BadConfig(
                f"limits.memory_bytes is {memory_bytes}; the process takes {fixed_bytes} bytes before it "
                f"serves and needs at least {LEAST_BYTES} bytes more: raise limits.memory_bytes to "
                f"{fixed_bytes + LEAST_BYTES} or more"
            )
        self.memory_bytes = memory_bytes
        self.fixed_bytes = fixed_bytes
        available = memory_bytes - fixed_bytes
        limits = {name: int(share * available) for name, share in SHARES.items()}
        limits["subscriptions"] = min(limits["subscriptions"], LARGEST_SUBSCRIPTIONS)
        accounts = {name: Account(name, limit) for name, limit in limits.items()}
        self.models = accounts["models"]
        self.checkpoints = accounts["checkpoints"]
        self.queued = accounts["queued"]
        self.queries = accounts["queries"]
        self.replies = accounts["replies"]
        self.subscriptions = accounts["subscriptions"]
        self._accounts = accounts

    def to_map(self) -> dict[str, object]:
        """Return the budget and all accounts, as `stats` sends them. All numbers are bytes."""
        return {
            "limit": self.memory_bytes,
            "fixed": self.fixed_bytes,
            "resident": resident_bytes(),
            "accounts": {name: account.to_map() for name, account in self._accounts.items()},
        }


def memory_bytes(settings: Settings) -> int:
    """Return the memory that the process may use."""
    return settings.limits.memory_bytes or default_memory_bytes()


def frame_bytes(settings: Settings) -> int:
    """Return the largest frame: ZeroMQ keeps one per connection before the loop can refuse it."""
    return min(settings.limits.frame_bytes, memory_bytes(settings) // FRAMES)


def queue_bytes(settings: Settings) -> int:
    """Return what ZeroMQ may queue of a connection before the loop reads it."""
    return memory_bytes(settings) // QUEUES
