"""Options for keys."""

from __future__ import annotations

from typing import Annotated

import typer

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
