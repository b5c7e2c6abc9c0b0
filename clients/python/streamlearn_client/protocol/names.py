"""Names of models and producers, and the topics of events."""

from __future__ import annotations

import re
from typing import Final

from streamlearn_client.errors import BadName

__all__ = ["EVENT_KINDS", "SUBSCRIBED", "check_model", "check_producer", "topic"]

EVENT_KINDS: Final = (
    "output",
    "targets",
    "drift",
    "checkpoint",
    "created",
    "deleted",
    "restored",
    "reheated",
)
SUBSCRIBED: Final = "subscribed/"
"""What topics begin with that tell a subscriber that its subscriptions are in effect."""
NAME_BYTES: Final = 64

_model = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}").fullmatch


def check_model(name: object) -> str:
    """``name`` if it may name a model, else ``BadName``.

    Names are file names too, hence letters, digits and ``_ . -`` only, 1 to 64 of them, the first
    neither a dot nor a dash.
    """
    if type(name) is str and _model(name):
        return name
    raise BadName(
        f"{_shown(name)} can't name a model: a name is 1 to 64 letters, digits, '_', '.' or '-', "
        "and starts with a letter, a digit or '_'",
        name=_shown(name),
    )


def check_producer(name: object) -> str:
    """``name`` if it may name a producer (printable text of 1 to 64 bytes in UTF-8), else ``BadName``."""
    if (
        type(name) is str
        and name.isprintable()
        and 0 < len(name) <= NAME_BYTES
        and (name.isascii() or len(name.encode()) <= NAME_BYTES)
    ):
        return name
    raise BadName(
        f"{_shown(name)} can't name a producer: a name is printable text of 1 to {NAME_BYTES} bytes in UTF-8",
        name=_shown(name),
    )


def topic(model: str, kind: str) -> str:
    """The topic of a model's events of one kind, ``model/<name>/<kind>``; with no kind, their prefix."""
    return f"model/{model}/{kind}"


def _shown(name: object) -> str:
    text = repr(name)
    return text if len(text) <= 80 else f"{text[:77]}..."
