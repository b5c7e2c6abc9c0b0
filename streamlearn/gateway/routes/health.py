"""Health and metrics."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from streamlearn.errors import StreamlearnError
from streamlearn.gateway.access import Who, check_origin
from streamlearn.gateway.answers import JsonLine
from streamlearn.gateway.metrics import read_qualities
from streamlearn.gateway.state import gateway_of
from streamlearn.json_values import document

router = APIRouter(tags=["operation"])


@router.get("/healthz")
@router.head("/healthz", include_in_schema=False)
async def healthz(request: Request) -> dict[str, str]:
    """Answer as long as the gateway runs. Needs no token."""
    check_origin(request)
    return {"status": "ok"}


@router.get("/readyz")
@router.head("/readyz", include_in_schema=False)
async def readyz(request: Request) -> JsonLine:
    """Answer 200 if the daemon answers, else 503. Needs no token."""
    check_origin(request)
    up = gateway_of(request).hub.up
    return JsonLine({"status": "ready" if up else "the daemon does not answer"}, 200 if up else 503)


@router.get("/metrics", response_class=Response)
async def metrics(request: Request, who: Who) -> Response:
    """Return metrics in the form that Prometheus scrapes."""
    who.require("stats", "")
    gateway = gateway_of(request)
    stats, qualities = None, {}
    with suppress(StreamlearnError):
        stats = await gateway.client.stats()
        qualities = await read_qualities(gateway.client, gateway.settings.limits.quality_models)
    gateway.metrics.listeners.set(len(gateway.hub))
    return Response(gateway.metrics.exposition(stats, qualities), media_type=CONTENT_TYPE_LATEST)


@router.get("/v1/stats")
async def stats(request: Request, who: Who) -> dict[str, Any]:
    """Return the counters of the daemon and of the models that the token sees."""
    who.require("stats", "")
    found = await gateway_of(request).client.stats()
    found["models"] = {name: each for name, each in found["models"].items() if who.sees(name)}
    return document(found)
