"""``streamlearn serve``: the daemon."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def add_to(app: typer.Typer) -> None:
    """Add the command of this module to the program."""
    app.command()(serve)


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
    insecure: Annotated[
        bool, typer.Option("--insecure", help="allow endpoints beyond this machine without authentication")
    ] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="truncate a damaged journal at the damage, after copying it")
    ] = False,
) -> None:
    """Run the daemon.

    The daemon prints one line with "ready" once it serves. SIGTERM or Ctrl-C stops it cleanly. An endpoint is
    tcp://HOST:PORT (port * selects a free port) or ipc://PATH.
    """
    from streamlearn.daemon import config as settings
    from streamlearn.daemon import lifecycle

    wanted = settings.load(
        config,
        data_dir=data_dir,
        requests=requests,
        firehose=firehose,
        events=events,
        insecure=insecure or None,
        repair=repair or None,
    )
    raise typer.Exit(lifecycle.run(wanted))
