"""``streamlearn keygen``: a key pair for the daemon or for a client."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streamlearn.cli.options import Json


def keygen(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="name of the key: of the daemon or of a client", show_default=False
        ),
    ],
    directory: Annotated[
        Path, typer.Option("--dir", "-d", metavar="DIR", help="directory of the two files")
    ] = Path(),
    as_json: Json = False,
) -> None:
    """Make a key pair: NAME.key, which stays secret, and NAME.pub, which may be given to anybody.

    An existing key is never overwritten. The daemon needs its own NAME.key and the NAME.pub of every client.
    A client needs its own NAME.key and the NAME.pub of the daemon.
    """
    from streamlearn.cli import report
    from streamlearn_client.keys import generate, write_key_pair

    pair = generate(name)
    secret, public = write_key_pair(pair, directory)
    facts = {"name": pair.name, "public": pair.public, "secret_file": str(secret), "public_file": str(public)}
    report.show(facts, as_json, f"{secret}: the secret key\n{public}: the public key, {pair.public}")
