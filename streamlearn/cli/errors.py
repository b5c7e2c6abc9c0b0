"""Errors of the command line itself, and the exit code of every error.

| code | meaning |
|---|---|
| 0 | done |
| 1 | the daemon refused the request, or the command failed |
| 2 | the command line or the configuration is wrong |
| 3 … 9 | ``serve`` could not start, continue or stop cleanly: see ``streamlearn.errors`` |
| 10 | no answer from a daemon, or the connection was lost for too long |
| 11 | a CSV has a bad row; the rows before it are learned |
| 12 | ``verify`` found damage with which a start serves; otherwise it ends with the code of the start |
| 13 | ``demo`` found a broken promise |
| 130 | interrupted |
"""

from __future__ import annotations

from typing import ClassVar

from streamlearn.errors import NoAnswer, StreamlearnError, StreamLost
from streamlearn.tabular.errors import BadData, BadUsage

__all__ = [
    "BadData",
    "BadUsage",
    "CommandError",
    "Damaged",
    "Declined",
    "NothingMatched",
    "PromiseBroken",
    "Unconfirmed",
    "exit_code",
]


class CommandError(StreamlearnError):
    """A command failed."""

    code = "COMMAND"
    exit_code: ClassVar[int] = 1


class Declined(CommandError):
    """The user answered no to a confirmation."""


class Unconfirmed(BadUsage):
    """A command that cannot be undone needs ``--yes``."""


class NothingMatched(CommandError):
    """``push --targets`` sent only targets without a sample."""

    code = "NOTHING_MATCHED"


class Damaged(CommandError):
    """``verify`` found damage with which a start serves without loss."""

    code = "DAMAGED"
    exit_code = 12


class PromiseBroken(CommandError):
    """``demo`` found a broken promise."""

    code = "PROMISE_BROKEN"
    exit_code = 13


NO_ANSWER = 10


def exit_code(error: StreamlearnError) -> int:
    """Return the exit code of the process after ``error``."""
    if isinstance(error, NoAnswer):
        return NO_ANSWER
    if isinstance(error, StreamLost):
        return 1 if "cause" in error.detail else NO_ANSWER  # a cause means that the daemon refused
    return int(getattr(error, "exit_code", 1))
