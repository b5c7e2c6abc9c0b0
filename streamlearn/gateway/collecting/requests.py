"""Requests of collectors: who sends them, their bodies, and errors as InfluxDB answers them."""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Callable, Coroutine, Iterable, Mapping
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import Depends, Request
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import Response

from streamlearn.access.identity import Identity
from streamlearn.errors import BadMessage, NoAnswer, StreamlearnError, TooLarge
from streamlearn.gateway.access import check_origin
from streamlearn.gateway.answers import JsonLine
from streamlearn.gateway.collecting.collector import Report
from streamlearn.gateway.collecting.points import Point, Refusal
from streamlearn.gateway.collecting.rules import Source
from streamlearn.gateway.problems import RETRY_SECONDS, STATUS, UnsupportedMediaType
from streamlearn.gateway.state import gateway_of

_SCHEME: Final = re.compile(r"(Token|Bearer|Basic)\s+(\S+)", re.IGNORECASE)
_CODES: Final = {
    400: "invalid",
    401: "unauthorized",
    403: "forbidden",
    404: "not found",
    413: "request too large",
    415: "invalid",
    503: "unavailable",
}
"""The codes of version 2 of the interface."""


def identify_collector(request: Request) -> Identity:
    """Return who sends a request of a collector. Raises `Unauthorized` or `Forbidden`.

    The token is in ``Authorization: Token …`` or ``Bearer …``, or it is the password: of ``Basic``, or the
    parameter ``p``.
    """
    check_origin(request)
    token = request.query_params.get("p")
    found = _SCHEME.fullmatch(request.headers.get("authorization", "").strip())
    if found is not None:
        token = found[2]
        if found[1].lower() == "basic":
            try:
                token = base64.b64decode(token, validate=True).decode().partition(":")[2]
            except (binascii.Error, UnicodeDecodeError):
                token = None
    return gateway_of(request).tokens.identify(token or None)


CollectorIdentity = Annotated[Identity, Depends(identify_collector)]


class InfluxRoute(APIRoute):
    """A route whose errors have the form of InfluxDB: ``error`` of version 1, ``code`` of version 2."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request."""
        handler = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handler(request)
            except StreamlearnError as error:
                return refused(STATUS.get(error.code, HTTPStatus.BAD_REQUEST), error.message)
            except HTTPException as error:
                return refused(HTTPStatus(error.status_code), str(error.detail))

        return answer


def refused(status: HTTPStatus, message: str) -> Response:
    """Return an error. A collector keeps its points after 5xx, and sends them again.

    The states of a daemon that does not answer are 503.
    """
    headers = {}
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        status = HTTPStatus.SERVICE_UNAVAILABLE
        headers["Retry-After"] = str(RETRY_SECONDS)
    text = " ".join(message.split())
    headers["X-Influxdb-Error"] = text.encode("ascii", "replace").decode()[:1000]
    document = {"code": _CODES.get(status, "invalid"), "message": text, "error": text}
    return JsonLine(document, status.value, headers)


async def collect(
    request: Request, points: Iterable[Point | Refusal], source: Source, who: Identity
) -> Report:
    """Learn points. Raises `NoAnswer` at once if the daemon does not answer: the collector keeps them."""
    gateway = gateway_of(request)
    if not gateway.hub.up:
        raise NoAnswer("the daemon does not answer; send the points again")
    return await gateway.collector.learn(points, source, who)


def answer(report: Report, place: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return 204, or what was refused. ``place``: a point of the body, for example ``line``."""
    if report.refusals:
        status = HTTPStatus.FORBIDDEN if report.forbidden else HTTPStatus.BAD_REQUEST
        return refused(status, f"partial write: {report.message(place)}")
    return Response(status_code=HTTPStatus.NO_CONTENT, headers=headers)


async def read_body(request: Request) -> bytes:
    """Return the decompressed body. Raises `TooLarge`, `BadMessage` or `UnsupportedMediaType`."""
    most = gateway_of(request).settings.limits.body_bytes
    body = await read_encoded(request, "gzip", "identity")
    if _encoding(request) != "gzip":
        return body
    decoder = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        text = decoder.decompress(body, most + 1)
    except zlib.error as error:
        raise BadMessage(f"the body is not gzip: {error}") from None
    if len(text) > most:
        raise TooLarge(f"the decompressed body is larger than {most} bytes; send it in parts")
    if not decoder.eof:
        raise BadMessage("the body is gzip without its end")
    return text


async def read_encoded(request: Request, *encodings: str) -> bytes:
    """Return the body of a request as it is. Raises `UnsupportedMediaType` for another encoding."""
    encoding = _encoding(request)
    if encoding not in encodings:
        raise UnsupportedMediaType(f"the Content-Encoding is {encoding}; read are {', '.join(encodings)}")
    return await request.body()


def _encoding(request: Request) -> str:
    return request.headers.get("content-encoding", "").strip().lower() or "identity"
