"""Prometheus remote write 1.0, at the path of Prometheus's own receiver."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from streamlearn.gateway.collecting.remote_write import check_type, decompress, parse_request
from streamlearn.gateway.collecting.requests import (
    CollectorIdentity,
    InfluxRoute,
    answer,
    collect,
    read_encoded,
)
from streamlearn.gateway.state import gateway_of

router = APIRouter(tags=["collectors"], route_class=InfluxRoute)

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/x-protobuf": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.post("/api/v1/write", status_code=204, openapi_extra=_BODY)
async def remote_write(request: Request, who: CollectorIdentity) -> Response:
    """Learn the samples of a request of Prometheus, and answer 204 when they are durable.

    All series of one model, key and time are one sample. Series that are wrong are refused with 400, and
    Prometheus does not send them again; all others are learned.
    """
    check_type(request.headers.get("content-type", ""))
    body = await read_encoded(request, "snappy")
    most = gateway_of(request).settings.limits.body_bytes
    message = await asyncio.to_thread(decompress, body, most)
    return answer(await collect(request, parse_request(message), "prometheus", who), "series")
