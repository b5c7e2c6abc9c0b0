"""Names of models and producers, and the topics of events."""

from __future__ import annotations

import re
import secrets
from typing import Final, Literal, TypeAlias, get_args

from streamlearn_client.errors import BadName

__all__ = [
    "EVENT_KINDS",
    "GENERATED",
    "SUBSCRIBED",
    "EventKind",
    "check_checkpoint",
    "check_model",
    "check_producer",
    "generated_producer",
    "producer_name",
    "topic",
]

EventKind: TypeAlias = Literal[
    "output",
    "targets",
    "drift",
    "alarm",
    "checkpoint",
    "created",
    "deleted",
    "restored",
    "reheated",
    "paused",
    "resumed",
    "judged",
    "labelled",
]
"""A kind of event."""
EVENT_KINDS: Final[tuple[str, ...]] = get_args(EventKind)
SUBSCRIBED: Final = "subscribed/"
"""Prefix of the topics that confirm a subscriber's subscriptions."""
GENERATED: Final = "~"
"""First character of generated producer names. The daemon bounds them apart from names that users give."""
NAME_BYTES: Final = 64

_model = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}").fullmatch


def check_model(name: object) -> str:
    """Return a valid model name.

    Model names are also file names. So they consist of letters, digits and ``_ . -`` only.

    Parameters
    ----------
    name : object
        The name to check.

    Returns
    -------
    str
        The name.

    Raises
    ------
    BadName
        If ``name`` is not 1 to 64 of these characters, or starts with a dot or a dash.
    """
    if type(name) is str and _model(name):
        return name
    raise _bad_name(name, "model")


def check_checkpoint(name: object) -> str:
    """Return a valid name of a checkpoint.

    Parameters
    ----------
    name : object
        The name to check. It has the form of a model's name.

    Returns
    -------
    str
        The name.

    Raises
    ------
    BadName
        If ``name`` is not 1 to 64 of the characters of model names.
    """
    if type(name) is str and _model(name):
        return name
    raise _bad_name(name, "checkpoint")


def check_producer(name: object) -> str:
    """Return a valid producer name.

    Parameters
    ----------
    name : object
        The name to check.

    Returns
    -------
    str
        The name.

    Raises
    ------
    BadName
        If ``name`` is not printable text of 1 to 64 bytes in UTF-8.
    """
    if (
        type(name) is str
        and name.isprintable()
        and 0 < len(name) <= NAME_BYTES
        and (name.isascii() or len(name.encode()) <= NAME_BYTES)
    ):
        return name
    raise BadName(
        f"{_short_repr(name)} is not a valid producer name: "
        f"use printable text of 1 to {NAME_BYTES} bytes in UTF-8",
        name=_short_repr(name),
    )


def generated_producer() -> str:
    """Return a new random producer name, for a sender without a name.

    Returns
    -------
    str
        ``~`` and 16 hexadecimal digits.
    """
    return GENERATED + secrets.token_hex(8)


def producer_name(name: object) -> str:
    """Return the producer name that a user gave, or a generated one.

    Parameters
    ----------
    name : str or None
        The user's name. ``None``: generate one.

    Returns
    -------
    str
        The name.

    Raises
    ------
    BadName
        If ``name`` is not a valid producer name, or starts with ``~``.
    """
    if name is None:
        return generated_producer()
    if type(name) is str and name.startswith(GENERATED):
        raise BadName(
            f"producer name {_short_repr(name)} starts with {GENERATED!r}, which marks generated names: "
            "use another first character, or leave the name out",
            name=_short_repr(name),
        )
    return check_producer(name)


def topic(kind: str, model: str = "") -> str:
    """Return the topic of the events of one kind of a model.

    Parameters
    ----------
    kind : str
        Kind of the events.
    model : str, default ""
        Name of the model. Empty: the prefix of the topics of all models.

    Returns
    -------
    str
        ``<kind>/<model>``.
    """
    return f"{kind}/{model}"


def _bad_name(name: object, what: str) -> BadName:
    """Return the error for a name that cannot be a file name."""
    return BadName(
        f"{_short_repr(name)} is not a valid {what} name: use 1 to 64 letters, digits, '_', '.' or '-', "
        "and start with a letter, a digit or '_'",
        name=_short_repr(name),
    )


def _short_repr(name: object) -> str:
    text = repr(name)
    return text if len(text) <= 80 else f"{text[:77]}..."
