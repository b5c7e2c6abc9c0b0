"""Errors of tables, and of the options that select their columns."""

from __future__ import annotations

from streamlearn.errors import StreamlearnError


class BadUsage(StreamlearnError):
    """Options contradict each other, or name something that does not exist."""

    code = "USAGE"
    exit_code = 2


class BadData(StreamlearnError):
    """A row cannot be read; ``detail`` has ``file``, ``line`` and, for a field, ``column``."""

    code = "BAD_DATA"
    exit_code = 11
