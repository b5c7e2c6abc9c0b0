"""Line protocol, at the paths of InfluxDB 1 and 2."""

from __future__ import annotations

import re
import time
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from streamlearn import __version__
from streamlearn.errors import BadMessage, BadValue
from streamlearn.gateway.access import check_origin
from streamlearn.gateway.answers import JsonLine
from streamlearn.gateway.collecting.lineprotocol import PRECISIONS, parse_lines
from streamlearn.gateway.collecting.requests import CollectorIdentity, InfluxRoute, answer, collect, read_body
from streamlearn.gateway.state import gateway_of

router = APIRouter(tags=["collectors"], route_class=InfluxRoute)

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "text/plain": {
                "schema": {"type": "string"},
                "example": "pump,host=p1 flow=12.5,pressure=3i 1772622720000000000\n",
            }
        },
    }
}
_CREATE_DATABASE: Final = re.compile(r"\s*CREATE\s+DATABASE\s.*", re.IGNORECASE | re.DOTALL)
_VERSION: Final = {"X-Influxdb-Version": f"streamlearn-{__version__}"}


@router.post("/write", status_code=204, openapi_extra=_BODY)
@router.post("/api/v2/write", status_code=204, openapi_extra=_BODY)
async def write(
    request: Request,
    who: CollectorIdentity,
    precision: Annotated[str, Query(description="unit of the times: ns, us, ms or s")] = "ns",
) -> Response:
    """Learn the samples of a body of line protocol, and answer 204 when they are durable.

    Lines that are wrong are refused with 400; all others are learned. The other parameters of InfluxDB
    (``org``, ``bucket``, ``db``, ``rp``) are ignored.
    """
    unit = PRECISIONS.get(precision)
    if unit is None:
        raise BadValue(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}")
    try:
        text = (await read_body(request)).decode()
    except UnicodeDecodeError as error:
        raise BadMessage(f"the body is not UTF-8: {error}") from None
    points = parse_lines(text, unit, time.time_ns())
    return answer(await collect(request, points, "line", who), "line", _VERSION)


@router.get("/query")
@router.post("/query")
async def query(request: Request, who: CollectorIdentity) -> JsonLine:
    """Accept ``CREATE DATABASE``, which changes nothing. Refuse all other queries."""
    who.require("learn", "")
    sent = request.query_params.get("q")
    if sent is None and request.method == "POST":
        sent = str((await _form(request)).get("q", ""))
    if not _CREATE_DATABASE.fullmatch(sent or ""):
        raise BadValue("this is no database; GET /openapi.json describes how to query models")
    return JsonLine({"results": [{"statement_id": 0}]}, headers=_VERSION)


async def _form(request: Request) -> dict[str, str]:
    from urllib.parse import parse_qsl

    return dict(parse_qsl((await request.body()).decode("utf-8", "replace")))


@router.head("/ping", status_code=204)
@router.get("/ping", status_code=204)
async def ping(request: Request) -> Response:
    """Answer as long as the gateway runs. Needs no token."""
    check_origin(request)
    return Response(status_code=HTTPStatus.NO_CONTENT, headers=_VERSION)


@router.get("/health")
async def health(request: Request) -> JsonLine:
    """Answer 200 if the daemon answers, else 503. Needs no token."""
    check_origin(request)
    up = gateway_of(request).hub.up
    return JsonLine(
        {
            "name": "streamlearn",
            "status": "pass" if up else "fail",
            "message": "ready for writes" if up else "the daemon does not answer",
            "version": __version__,
        },
        200 if up else 503,
    )
