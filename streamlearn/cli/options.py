"""Options shared by several commands, and the client made from them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

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
        help="the daemon's endpoint for requests; overrides STREAMLEARN_ENDPOINT",
    ),
]
# A secret key is no option: other users can see the arguments of a process.
ServerKey = Annotated[
    str | None,
    typer.Option(
        "--server-key",
        metavar="KEY",
        show_default=False,
        help="the daemon's public key, or its .pub file; overrides STREAMLEARN_SERVER_KEY",
    ),
]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--key-file",
        metavar="FILE",
        show_default=False,
        help="your .key file; overrides STREAMLEARN_KEY_FILE",
    ),
]


def parse_timeout(text: str) -> float:
    """Return the seconds of ``--timeout``; infinity for no limit."""
    from streamlearn.errors import BadValue
    from streamlearn_client.timeouts import check_timeout

    try:
        return check_timeout(float(text))
    except (BadValue, ValueError):
        raise typer.BadParameter(f"{text} is not a number of seconds above 0; inf means no limit") from None


Timeout = Annotated[
    float,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        parser=parse_timeout,
        help="how long to wait for the daemon; inf: no limit",
    ),
]
ConfigFile = Annotated[
    Path,
    typer.Option("--config", "-c", metavar="FILE", help="configuration in TOML", show_default=False),
]
CheckOnly = Annotated[bool, typer.Option("--check", help="only check the configuration")]
LogLevel = Annotated[
    Literal["debug", "info", "warning", "error"], typer.Option(help="least level of what is logged")
]
LogFormat = Annotated[Literal["text", "json"], typer.Option(help="form of a line of the log")]
Json = Annotated[bool, typer.Option("--json", help="print JSON")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="do not ask for confirmation")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="the model's name", show_default=False)]
ModelOption = Annotated[str, typer.Option("--model", "-m", metavar="NAME", help="the model's name")]


def connect(
    endpoint: str, timeout: float, server_key: str | None = None, key_file: Path | None = None
) -> Client:
    """Return a client of the daemon at ``endpoint``. It connects on first use."""
    from streamlearn_client import Client

    return Client(endpoint, timeout=timeout, server_key=server_key, key_file=key_file)


def confirm(question: str, yes: bool) -> None:
    """Ask for confirmation. Raises ``Declined`` on no, ``Unconfirmed`` without a terminal."""
    import sys

    from streamlearn.cli.errors import Declined, Unconfirmed

    if yes:
        return
    if not sys.stdin.isatty():
        raise Unconfirmed(f"{question} Standard input is not a terminal: confirm with --yes")
    if not typer.confirm(question, err=True):
        raise Declined("nothing was changed")
