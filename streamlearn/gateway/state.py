"""What the routes share: the settings, the tokens, the client of the daemon, the events and the metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from starlette.requests import HTTPConnection

if TYPE_CHECKING:
    from streamlearn.gateway.events import Hub
    from streamlearn.gateway.metrics import Metrics
    from streamlearn.gateway.settings import Settings
    from streamlearn.gateway.tokens import Tokens
    from streamlearn_client import AsyncClient


@dataclass(slots=True)
class Gateway:
    """One gateway."""

    settings: Settings
    tokens: Tokens
    client: AsyncClient
    hub: Hub
    metrics: Metrics


def gateway_of(connection: HTTPConnection) -> Gateway:
    """Return the gateway that serves a request."""
    return cast("Gateway", connection.app.state.gateway)
