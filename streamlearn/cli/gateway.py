"""``streamlearn gateway`` and ``streamlearn token``: HTTP, events, metrics and the web page of a daemon."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streamlearn.cli.options import DEFAULT_ENDPOINT, Endpoint, Json, KeyFile, LogFormat, LogLevel, ServerKey

Tokens = Annotated[
    Path | None,
    typer.Option("--tokens", metavar="FILE", help="tokens and their rights, in TOML", show_default="none"),
]


def gateway(
    http: Annotated[
        str, typer.Option("--http", metavar="HOST:PORT", help="where to listen")
    ] = "127.0.0.1:7780",
    tokens: Tokens = None,
    rules: Annotated[
        Path | None,
        typer.Option(
            "--rules",
            metavar="FILE",
            help="which models the values of collectors (Telegraf, Prometheus) belong to, in TOML",
            show_default="the model has the name of the measurement",
        ),
    ] = None,
    certificate: Annotated[
        Path | None,
        typer.Option(
            "--certificate", metavar="FILE", help="certificate for TLS, in PEM", show_default="none"
        ),
    ] = None,
    private_key: Annotated[
        Path | None,
        typer.Option("--private-key", metavar="FILE", help="its private key", show_default="none"),
    ] = None,
    alarms: Annotated[
        Path | None,
        typer.Option(
            "--alarms",
            metavar="FILE",
            help="keeps the recent alarms, so that a restart does not forget them",
            show_default="memory only",
        ),
    ] = None,
    body_bytes: Annotated[int, typer.Option(min=1, help="largest body of a request")] = 64 * 1024**2,
    connections: Annotated[int, typer.Option(min=1, help="connections at the same time")] = 500,
    listeners: Annotated[int, typer.Option(min=1, help="listeners of events at the same time")] = 100,
    metric_models: Annotated[
        int, typer.Option(min=0, help="models with series of their own in /metrics")
    ] = 500,
    quality_models: Annotated[
        int, typer.Option(min=0, help="models, the first created, with their live quality in /metrics")
    ] = 100,
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    server_key: ServerKey = None,
    key_file: KeyFile = None,
    log_level: LogLevel = "info",
    log_format: LogFormat = "text",
    inherited: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Serve HTTP, events, metrics and the web page of a daemon.

    It prints one line with "ready" once it serves. SIGTERM or Ctrl-C stops it. GET /openapi.json describes
    all paths. If other machines reach it, clients need tokens:

        streamlearn token dashboard --file tokens.toml --right query='*' --right subscribe='*'

        streamlearn gateway --http 0.0.0.0:7780 --tokens tokens.toml
    """
    from streamlearn import logs
    from streamlearn.cli.errors import BadUsage, exit_code
    from streamlearn.errors import StreamlearnError
    from streamlearn.gateway.supervised import inherit

    logs.configure(log_level, log_format)
    listener = None if inherited is None else inherit(inherited)  # of `serve --http`
    try:
        from streamlearn.gateway.server import run
    except ImportError as error:
        raise BadUsage(
            f"the gateway needs {error.name}, which is not installed: pip install 'streamlearn[gateway]'"
        ) from None
    from streamlearn.gateway.settings import Limits, Settings, listen_address

    try:
        host, port = listen_address(http)
        limits = Limits(
            body_bytes=body_bytes,
            connections=connections,
            listeners=listeners,
            metric_models=metric_models,
            quality_models=quality_models,
        )
        settings = Settings(
            host=host,
            port=port,
            daemon=endpoint,
            server_key=server_key,
            key_file=key_file,
            tokens=tokens,
            rules=rules,
            certificate=certificate,
            private_key=private_key,
            alarms=alarms,
            limits=limits,
        )
        code = run(settings, listener)
    except StreamlearnError as error:
        if listener is None:
            raise
        logs.get_logger(__name__).error("the gateway can't serve", reason=error.message, code=error.code)
        code = exit_code(error)
    raise typer.Exit(code)


def token(
    name: Annotated[str, typer.Argument(metavar="NAME", help="name of the token", show_default=False)],
    file: Annotated[Path, typer.Option("--file", "-f", metavar="FILE", help="file of tokens")] = Path(
        "tokens.toml"
    ),
    right: Annotated[
        list[str] | None,
        typer.Option(
            "--right",
            metavar="RIGHT=GLOB",
            help="push, query, subscribe, change or admin, and the models it covers; may be repeated",
            show_default="query=* and subscribe=*",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a token for the gateway, print it once, and add its digest and its rights to a file.

    The rights are those of the daemon's keys. A running gateway reads the file again.
    """
    from streamlearn.cli import report
    from streamlearn.gateway.token_file import add_token

    secret = add_token(file, name, right or ["query=*", "subscribe=*"])
    facts = {"name": name, "token": secret, "file": str(file)}
    report.show(facts, as_json, secret)
    report.console(err=True).print(f"its digest is in {file}; the token is not stored: keep it now")
