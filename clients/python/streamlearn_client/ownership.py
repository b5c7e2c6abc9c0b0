"""Objects with sockets or threads belong to the process that created them.

ZeroMQ sockets and threads do not survive a fork. A child process that uses an inherited client would wait
forever or disturb its parent. So every method checks the process first, and closing an inherited object does
nothing.
"""

from __future__ import annotations

import os
from typing import Final

from streamlearn_client.errors import WrongProcess

__all__ = ["Owner"]

_forks: Final = [0]
"""How many forks are between this process and the one that imported this module. Reading it costs less than
asking the system for the number of the process."""


def _count_fork() -> None:
    _forks[0] += 1


os.register_at_fork(after_in_child=_count_fork)


class Owner:
    """The process that created an object. ``noun`` names the object in the error message."""

    __slots__ = ("_forks", "_noun", "_pid")

    def __init__(self, noun: str) -> None:
        self._noun = noun
        self._pid = os.getpid()
        self._forks = _forks[0]

    @property
    def inherited(self) -> bool:
        """Whether this process inherited the object by a fork."""
        return self._forks != _forks[0]

    def check(self) -> None:
        """Raise ``WrongProcess`` in a process that inherited the object."""
        if self._forks != _forks[0]:
            raise WrongProcess(
                f"this {self._noun} was created by process {self._pid} and inherited by a fork; "
                f"create a new {self._noun} in this process",
                pid=self._pid,
            )
