"""Keys and ids in a CSV or on a command line."""

from __future__ import annotations

from typing import Annotated

import typer

_INT64 = range(-(2**63), 2**63)


def parse_identifier(text: str) -> int | str:
    """Parse a canonical 64-bit integer as a number and any other text as a name (``007`` is a name)."""
    try:
        number = int(text)
    except ValueError:
        return text
    return number if str(number) == text and number in _INT64 else text


KeyOption = Annotated[
    str | None,
    typer.Option(
        "--key", metavar="COLUMN", help="column of the keys, for a model with keys", show_default="none"
    ),
]
OneKey = Annotated[
    str | None,
    typer.Option(
        "--key",
        metavar="KEY",
        help="the stream, for a model with keys: a number or a name",
        show_default="none",
    ),
]
