"""Objects with sockets or threads belong to the process that created them.

ZeroMQ sockets and threads do not survive a fork. A child process that uses an inherited client would wait
forever or disturb its parent. So every method checks the process first, and closing an inherited object does
nothing.
"""

from __future__ import annotations

import os

from streamlearn_client.errors import WrongProcess

__all__ = ["Owner"]


class Owner:
    """The process that created an object. ``noun`` names the object in the error message."""

    __slots__ = ("_noun", "_pid")

    def __init__(self, noun: str) -> None:
        self._noun = noun
        self._pid = os.getpid()

    @property
    def inherited(self) -> bool:
        """Whether this process inherited the object by a fork."""
        return os.getpid() != self._pid

    def check(self) -> None:
        """Raise ``WrongProcess`` in a process that inherited the object."""
        if self.inherited:
            raise WrongProcess(
                f"this {self._noun} was created by process {self._pid} and inherited by a fork; "
                f"create a new {self._noun} in this process",
                pid=self._pid,
            )
