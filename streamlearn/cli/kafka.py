"""``streamlearn kafka``: from topics of Kafka to models."""

from __future__ import annotations

import typer

from streamlearn.cli.options import (
    DEFAULT_ENDPOINT,
    CheckOnly,
    ConfigFile,
    Endpoint,
    KeyFile,
    LogFormat,
    LogLevel,
    ServerKey,
)


def kafka(
    config: ConfigFile,
    check: CheckOnly = False,
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    server_key: ServerKey = None,
    key_file: KeyFile = None,
    log_level: LogLevel = "info",
    log_format: LogFormat = "text",
) -> None:
    """Carry messages of Kafka to models. Each message is learned once.

    It prints one line with "ready" once it has partitions. SIGTERM or Ctrl-C stops it. The configuration
    says which topics belong to which models: see docs/guides/kafka.md.
    """
    from streamlearn import logs
    from streamlearn.bridges.kafka.settings import load
    from streamlearn.cli.errors import BadUsage

    settings = load(config)
    if check:
        servers = settings.kafka["bootstrap.servers"]
        typer.echo(f"{config} is valid: {len(settings.topic)} topics, servers {servers}")
        return
    logs.configure(log_level, log_format)
    try:
        from streamlearn.bridges.kafka.bridge import run
    except ImportError as error:
        raise BadUsage(
            f"the Kafka bridge needs {error.name}, which is not installed: pip install 'streamlearn[kafka]'"
        ) from None
    run(settings, endpoint, server_key, key_file)
