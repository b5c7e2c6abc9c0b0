"""The application: routes, errors, headers and metrics around one gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streamlearn import __version__
from streamlearn.errors import StreamlearnError
from streamlearn.gateway import problems
from streamlearn.gateway.alarm_file import AlarmFile
from streamlearn.gateway.alarm_history import AlarmHistory
from streamlearn.gateway.answers import JsonLine
from streamlearn.gateway.collecting.collector import Collector
from streamlearn.gateway.collecting.rules import Rules
from streamlearn.gateway.events import Hub
from streamlearn.gateway.metrics import Metrics
from streamlearn.gateway.once import Once
from streamlearn.gateway.routes import (
    alarms,
    checkpoints,
    events,
    health,
    models,
    remote_write,
    samples,
    write,
)
from streamlearn.gateway.settings import Settings
from streamlearn.gateway.shared_reads import SharedReads
from streamlearn.gateway.state import UNLIMITED, Gateway
from streamlearn.gateway.tokens import Tokens
from streamlearn_client import AsyncClient
from streamlearn_client.keys import client_keys

PAGE: Final = Path(__file__).parent / "page"
HEADERS: Final = {
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'",
}


def create_app(settings: Settings) -> FastAPI:
    """Return the application of a gateway. It connects to the daemon when it starts. Raises `BadConfig`."""
    tokens = Tokens(settings.tokens)
    history = AlarmHistory(
        settings.limits.kept_alarms, AlarmFile(settings.alarms) if settings.alarms else None
    )
    rules = Rules(settings.rules)
    client_keys(settings.server_key, None, settings.key_file)  # an error of the start

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        client = AsyncClient(
            settings.daemon,
            timeout=settings.timeout,
            server_key=settings.server_key,
            key_file=settings.key_file,
        )
        async with client:
            metrics = Metrics(settings.limits.metric_models)
            hub = Hub(client, settings.limits, history, metrics.observe)
            app.state.gateway = Gateway(
                settings,
                tokens,
                client,
                hub,
                metrics,
                Once(),
                SharedReads(),
                Collector(client, rules, metrics.registry),
            )
            async with hub.running():
                yield

    app = FastAPI(
        title="streamlearn",
        version=__version__,
        summary="Models that learn from sensor streams, sample by sample.",
        lifespan=lifespan,
        default_response_class=JsonLine,
        docs_url=None,  # its pages load scripts from other hosts
        redoc_url=None,
    )
    app.mount("/page", StaticFiles(directory=PAGE))
    app.add_api_route("/", _page, methods=["GET", "HEAD"], include_in_schema=False)
    for module in (models, samples, checkpoints, alarms, events, health, write, remote_write):
        app.include_router(module.router)
    app.add_exception_handler(StreamlearnError, problems.on_error)
    app.add_exception_handler(HTTPException, problems.on_http_error)
    app.add_exception_handler(RequestValidationError, problems.on_invalid)
    app.add_exception_handler(Exception, problems.on_fault)
    app.add_middleware(Frame, body_bytes=settings.limits.body_bytes)
    return app


async def _page() -> FileResponse:
    """The page. Its views are behind ``#``."""
    return FileResponse(PAGE / "index.html")


class Frame:
    """Limits the body of a request, adds the headers that protect the page, and counts requests by route."""

    def __init__(self, app: ASGIApp, body_bytes: int) -> None:
        self._app, self._most = app, body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        announced = headers.get("content-length", "")
        size, unread = 0, announced not in ("", "0") or "transfer-encoding" in headers

        async def limited() -> Message:
            nonlocal size, unread
            limits = not scope.get(UNLIMITED)
            if limits and announced.isdecimal() and int(announced) > self._most:
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            message = await receive()
            size += len(message.get("body", b""))
            unread = message.get("more_body", False)
            if limits and size > self._most:
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return message

        async def finish(message: Message) -> None:
            if message["type"] == "http.response.start":
                answered = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    answered.setdefault(name, value)
                if unread:
                    answered["Connection"] = "close"  # what is left of the body is not read
                route = getattr(scope.get("route"), "path", "unknown")
                gateway: Gateway = scope["app"].state.gateway
                gateway.metrics.requests.labels(route, scope["method"], str(message["status"])).inc()
            await send(message)

        await self._app(scope, limited, finish)
