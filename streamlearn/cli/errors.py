"""Errors of the command line itself, and the exit code of every error.

| code | means |
|---|---|
| 0 | done |
| 1 | the daemon refused it, or something failed |
| 2 | the command line or the configuration is wrong |
| 3 … 8 | ``serve`` could not start or go on: see ``streamlearn.errors`` |
| 10 | no daemon answered, or it stopped answering |
| 11 | a CSV has a bad row; those before it are learned |
| 12 | ``verify`` found damage |
| 13 | the demo saw a promise broken |
| 130 | interrupted |
"""

from __future__ import annotations

from typing import ClassVar

from streamlearn.errors import NoAnswer, StreamlearnError, StreamLost


class CommandError(StreamlearnError):
    """A command can't do what was asked."""

    code = "COMMAND"
    exit_code: ClassVar[int] = 1


class BadUsage(CommandError):
    """Options that don't go together, or that name what is not there."""

    code = "USAGE"
    exit_code = 2


class Declined(CommandError):
    """The answer to "are you sure?" was no."""


class Unconfirmed(BadUsage):
    """Something that can't be undone needs ``--yes``."""


class BadData(CommandError):
    """A row of a CSV can't be read; ``detail`` has ``file``, ``line`` and, for a field, ``column``."""

    code = "BAD_DATA"
    exit_code = 11


class Damaged(CommandError):
    """``verify`` found damage."""

    code = "DAMAGED"
    exit_code = 12


class PromiseBroken(CommandError):
    """The demo saw the software do other than it says."""

    code = "PROMISE_BROKEN"
    exit_code = 13


NO_ANSWER = 10


def exit_code(error: StreamlearnError) -> int:
    """What the process exits with after ``error``."""
    if isinstance(error, NoAnswer):
        return NO_ANSWER
    if isinstance(error, StreamLost):
        return 1 if "cause" in error.detail else NO_ANSWER  # there is a cause if the daemon refused it
    return int(getattr(error, "exit_code", 1))
