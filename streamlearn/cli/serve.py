"""``streamlearn serve``: the daemon."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def serve(
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="settings in TOML", show_default=False)
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            "--data-dir",
            metavar="DIR",
            help="directory of the journal and checkpoints",
            show_default="streamlearn-data",
        ),
    ] = None,
    requests: Annotated[
        str | None,
        typer.Option(metavar="EP", help="endpoint for requests", show_default="tcp://127.0.0.1:7700"),
    ] = None,
    firehose: Annotated[
        str | None,
        typer.Option(metavar="EP", help="endpoint for samples without acks", show_default="…:7701"),
    ] = None,
    events: Annotated[
        str | None, typer.Option(metavar="EP", help="endpoint for event subscribers", show_default="…:7702")
    ] = None,
    http: Annotated[
        str | None,
        typer.Option(
            "--http",
            metavar="HOST:PORT",
            help="run a gateway too: HTTP, events, metrics and the web page",
            show_default="none",
        ),
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="allow endpoints beyond this machine without keys")
    ] = False,
    server_key: Annotated[
        Path | None,
        typer.Option(
            "--server-key",
            metavar="FILE",
            help="secret key of the daemon; clients then need keys",
            show_default="none",
        ),
    ] = None,
    client_keys: Annotated[
        Path | None,
        typer.Option("--client-keys", metavar="DIR", help="public keys of the clients", show_default="none"),
    ] = None,
    rights: Annotated[
        Path | None,
        typer.Option("--rights", metavar="FILE", help="rights of each key, in TOML", show_default="none"),
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="truncate a damaged journal at the damage, after copying it")
    ] = False,
) -> None:
    """Run the daemon.

    The daemon prints one line with "ready" once it serves. SIGTERM or Ctrl-C stops it cleanly. An endpoint is
    tcp://HOST:PORT (port * selects a free port) or ipc://PATH. --http starts `streamlearn gateway` beside the
    daemon, and again if it ends. The section [http] of the settings file has the gateway's other settings.
    """
    from streamlearn.daemon import process

    process.prepare()
    try:
        from streamlearn import __version__, logs
        from streamlearn.daemon import config as settings

        wanted = settings.load(
            config,
            data_dir=data_dir,
            requests=requests,
            firehose=firehose,
            events=events,
            http=http,
            insecure=insecure or None,
            server_key=server_key,
            client_keys=client_keys,
            rights=rights,
            repair=repair or None,
        )
        if sys.stderr.isatty():  # otherwise a start that fails prints one line, its error
            logs.configure(wanted.log.level, wanted.log.format)
            logs.get_logger(__name__).info("starting streamlearn %s", __version__)

        from streamlearn.daemon import lifecycle  # imports the compiler, which takes time

        raise typer.Exit(lifecycle.run(wanted))
    except process.Terminated:
        raise typer.Exit(0) from None
