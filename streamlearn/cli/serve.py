"""``streamlearn serve``: the daemon."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def add_to(app: typer.Typer) -> None:
    app.command()(serve)


def serve(
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="settings, in TOML", show_default=False)
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            "--data-dir", metavar="DIR", help="journal and checkpoints", show_default="streamlearn-data"
        ),
    ] = None,
    requests: Annotated[
        str | None, typer.Option(metavar="EP", help="for requests", show_default="tcp://127.0.0.1:7700")
    ] = None,
    firehose: Annotated[
        str | None,
        typer.Option(metavar="EP", help="for samples that nobody acknowledges", show_default="…:7701"),
    ] = None,
    events: Annotated[
        str | None, typer.Option(metavar="EP", help="for those who subscribe", show_default="…:7702")
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="listen beyond this machine although nobody is authenticated")
    ] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="cut a damaged journal where the damage begins; a copy is kept")
    ] = False,
) -> None:
    """Run the daemon.

    It prints one line with "ready" in it when, and only when, it serves. SIGTERM or Ctrl-C stops it cleanly.
    An endpoint is tcp://HOST:PORT (port * takes a free one) or ipc://PATH.
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
