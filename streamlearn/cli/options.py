"""Options that several commands share, and the client that they lead to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from streamlearn_client import Client

DEFAULT_ENDPOINT = "tcp://127.0.0.1:7700"

Endpoint = Annotated[
    str,
    typer.Option(
        "--endpoint",
        "-e",
        metavar="EP",
        show_default=False,
        help="where the daemon takes requests; before STREAMLEARN_ENDPOINT",
    ),
]
Timeout = Annotated[
    float, typer.Option("--timeout", metavar="SECONDS", min=0.001, help="how long to wait for the daemon")
]
Json = Annotated[bool, typer.Option("--json", help="for programs: JSON on standard output")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="do not ask")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="the model's name", show_default=False)]
ModelOption = Annotated[str, typer.Option("--model", "-m", metavar="NAME", help="the model's name")]


def connect(endpoint: str, timeout: float) -> Client:
    """A client of the daemon at ``endpoint``. It connects when it is first used."""
    from streamlearn_client import Client

    return Client(endpoint, timeout=timeout)


def confirm(question: str, yes: bool) -> None:
    """Go on if the answer is yes. Raises ``Declined``; ``Unconfirmed`` where there is nobody to ask."""
    import sys

    from streamlearn.cli.errors import Declined, Unconfirmed

    if yes:
        return
    if not sys.stdin.isatty():
        raise Unconfirmed(f"{question} Nobody is here to answer: say --yes to do it")
    if not typer.confirm(question, err=True):
        raise Declined("nothing was changed")
