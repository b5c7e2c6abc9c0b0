"""Keys and ids as they stand in a CSV or on a command line."""

from __future__ import annotations

from typing import Annotated

import typer

_INT64 = range(-(2**63), 2**63)


def identified(text: str) -> int | str:
    """A whole number of 64 bits, written as usual, is that number; all else is a name (``007`` is one)."""
    try:
        number = int(text)
    except ValueError:
        return text
    return number if str(number) == text and number in _INT64 else text


KeyOption = Annotated[
    str | None,
    typer.Option(
        "--key", metavar="COLUMN", help="where the keys are, for a keyed model", show_default="none"
    ),
]
OneKey = Annotated[
    str | None,
    typer.Option(
        "--key",
        metavar="KEY",
        help="of which stream, for a keyed model: a number or a name",
        show_default="none",
    ),
]
