"""What the routes share: the settings, the tokens, the client of the daemon, the events and the metrics."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, cast

from starlette.requests import HTTPConnection

if TYPE_CHECKING:
    from streamlearn.gateway.collecting.collector import Collector
    from streamlearn.gateway.events import Hub
    from streamlearn.gateway.metrics import Metrics
    from streamlearn.gateway.once import Once
    from streamlearn.gateway.settings import Settings
    from streamlearn.gateway.shared_reads import SharedReads
    from streamlearn.gateway.tokens import Tokens
    from streamlearn_client import AsyncClient

UNLIMITED: Final = "streamlearn.unlimited_body"
"""Key of a request's scope: its body is read in parts, so its size has no limit."""


@dataclass(slots=True)
class Gateway:
    """One gateway."""

    settings: Settings
    tokens: Tokens
    client: AsyncClient
    hub: Hub
    metrics: Metrics
    once: Once
    reads: SharedReads
    collector: Collector
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the gateway stops: bodies without an end are answered then."""


def gateway_of(connection: HTTPConnection) -> Gateway:
    """Return the gateway that serves a request."""
    return cast("Gateway", connection.app.state.gateway)
