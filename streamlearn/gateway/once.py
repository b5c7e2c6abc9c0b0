"""Idempotency keys of requests that change something: a repeated request gets the first answer.

The answers are in the gateway's memory. So that a crash of the gateway changes nothing, the daemon knows the
keys too: of `learn`, and of the changes of a model's state (`change`). `create` recognises its model.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from streamlearn.errors import BadValue, Conflict
from streamlearn.gateway.access import identify
from streamlearn.gateway.answers import JsonLine
from streamlearn.gateway.state import gateway_of
from streamlearn.json_values import document

HEADER: Final = "Idempotency-Key"
MOST: Final = 1000
"""Answers that are kept."""
LONGEST: Final = 256
REPLAYED: Final = {"Idempotent-Replayed": "true"}

_PARAMETER: Final = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "schema": {"type": "string", "maxLength": LONGEST},
    "description": "a repeated request with the same key is not executed again; it gets the first answer",
}


@dataclass(slots=True)
class _Request:
    """The digest of a request, and its answer once it has one."""

    digest: bytes
    answer: asyncio.Future[Response | None]


class Once:
    """The last answers by key."""

    def __init__(self) -> None:
        self._requests: OrderedDict[str, _Request] = OrderedDict()

    async def answer(self, key: str, digest: bytes, execute: Callable[[], Awaitable[Response]]) -> Response:
        """Execute a request, or return the answer to the one before with the same key and content.

        Raises `Conflict` if the key was used for another request. An error is not kept: the next request with
        its key is executed.
        """
        while (known := self._requests.get(key)) is not None:
            if known.digest != digest:
                raise Conflict(f"the {HEADER} was used for another request; each needs its own")
            found = await asyncio.shield(known.answer)
            if found is not None:
                self._requests.move_to_end(key)
                headers = {**dict(found.headers), **REPLAYED}
                return Response(found.body, found.status_code, headers)
        request = self._requests[key] = _Request(digest, asyncio.get_running_loop().create_future())
        answer: Response | None = None
        try:
            answer = await execute()
        finally:
            if answer is None:
                del self._requests[key]
            request.answer.set_result(answer)
            while len(self._requests) > MOST and next(iter(self._requests.values())).answer.done():
                self._requests.popitem(last=False)
        return answer


async def change(request: Request, execute: Callable[[str | None], Awaitable[Mapping[str, Any]]]) -> Response:
    """Execute a change of a model's state with the request's key, and return the answer.

    The daemon executes it once for each key. If it did so for an earlier request, the answer says so.
    """
    answer = document(await execute(request.headers.get(HEADER)))
    return JsonLine(answer, headers=REPLAYED if answer.get("duplicate") else None)


class OnceRoute(APIRoute):
    """A route whose requests may have an idempotency key, unless they only read."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        if changes := not {"GET"} >= set(options.get("methods") or {"GET"}):
            extra = options.get("openapi_extra") or {}
            options["openapi_extra"] = extra | {"parameters": [_PARAMETER]}
        self._changes = changes
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request."""
        handler = super().get_route_handler()
        if not self._changes:
            return handler

        async def once(request: Request) -> Response:
            key = request.headers.get(HEADER)
            if key is None:
                return await handler(request)
            if not 0 < len(key) <= LONGEST:
                raise BadValue(f"{HEADER} must have 1 to {LONGEST} characters", field=HEADER)
            sender = identify(request).name
            content = hashlib.sha256(f"{request.method} {request.url.path}?{request.url.query}\n".encode())
            content.update(await request.body())
            execute = lambda: handler(request)  # noqa: E731
            return await gateway_of(request).once.answer(f"{sender}\n{key}", content.digest(), execute)

        return once
