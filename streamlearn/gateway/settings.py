"""The settings of a gateway, and the checks between them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from streamlearn.access.hosts import host_and_port, is_local
from streamlearn.errors import BadConfig

MiB = 1024**2


@dataclass(frozen=True, slots=True)
class Limits:
    """What one gateway accepts."""

    body_bytes: int = 64 * MiB  # of a request
    connections: int = 500  # at the same time
    listeners: int = 100  # of events, at the same time
    queued_events: int = 1000  # of one listener; then it loses the oldest
    stalled_seconds: float = 30.0  # a listener that takes nothing for so long is disconnected
    kept_alarms: int = 10_000  # of all models, for pages that are opened later
    metric_models: int = 500  # models with metrics of their own
    quality_models: int = 100  # models with their live quality among the metrics


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the gateway listens, whom it serves, and its daemon.

    Raises
    ------
    BadConfig
        If others than this machine reach the gateway without tokens, or only one of certificate and key is
        given.
    """

    host: str = "127.0.0.1"
    port: int = 7780
    daemon: str = "tcp://127.0.0.1:7700"
    server_key: str | None = None
    key_file: Path | None = None
    tokens: Path | None = None
    rules: Path | None = None  # of collectors
    certificate: Path | None = None
    private_key: Path | None = None
    alarms: Path | None = None  # where alarms are kept, so that a restart does not forget them
    timeout: float = 10.0  # seconds to wait for the daemon
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        if self.tokens is None and not self.is_local:
            raise BadConfig(
                f"{self.host} can be reached from other machines, so clients need tokens: make one with"
                " `streamlearn token NAME` and set --tokens tokens.toml, or listen on 127.0.0.1"
            )
        if (self.certificate is None) != (self.private_key is None):
            raise BadConfig("TLS needs both --certificate and --private-key")

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches the gateway."""
        return is_local(self.host)

    @property
    def scheme(self) -> str:
        """``http``, or ``https`` with a certificate."""
        return "http" if self.certificate is None else "https"


def listen_address(text: str) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT``; of an IPv6 address ``[::1]:7780``. Raises `BadConfig`."""
    try:
        return host_and_port(text)
    except ValueError as problem:
        raise BadConfig(str(problem)) from None
