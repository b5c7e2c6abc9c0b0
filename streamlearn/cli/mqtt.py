"""``streamlearn mqtt``: the bridge between an MQTT broker and a daemon."""

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


def mqtt(
    config: ConfigFile,
    check: CheckOnly = False,
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    server_key: ServerKey = None,
    key_file: KeyFile = None,
    log_level: LogLevel = "info",
    log_format: LogFormat = "text",
) -> None:
    """Carry messages of an MQTT broker to models, and alarms back to topics.

    It prints one line with "ready" once it has subscribed. SIGTERM or Ctrl-C stops it. The configuration
    says which topics belong to which models: see docs/operate/mqtt.md, and deploy/mqtt/bridge.toml for an
    example with all settings.
    """
    from streamlearn import logs
    from streamlearn.bridges.mqtt.configuration import load
    from streamlearn.cli.errors import BadUsage

    settings = load(config)
    given = settings.daemon
    connection = {
        "endpoint": given.endpoint or endpoint,
        "server_key": given.server_key or server_key,
        "key_file": given.key_file or key_file,
    }
    settings = settings.model_copy(update={"daemon": given.model_copy(update=connection)})
    if check:
        inputs, outputs = len(settings.input), len(settings.output)
        typer.echo(f"{config} is valid: {inputs} inputs, {outputs} outputs, broker {settings.broker.address}")
        return
    logs.configure(log_level, log_format)
    try:
        from streamlearn.bridges.mqtt.bridge import run
    except ImportError as error:
        raise BadUsage(
            f"the MQTT bridge needs {error.name}, which is not installed: pip install 'streamlearn[mqtt]'"
        ) from None
    run(settings)
