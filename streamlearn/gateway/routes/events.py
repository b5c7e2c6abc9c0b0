"""Events, as server-sent events and over a WebSocket."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, WebSocket, WebSocketDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from streamlearn.access.identity import Identity
from streamlearn.errors import BadValue, Busy, Forbidden, StreamlearnError
from streamlearn.gateway.access import SUBPROTOCOL, Who, identify
from streamlearn.gateway.events import Listener, Wanted
from streamlearn.gateway.state import Gateway, gateway_of
from streamlearn_client.protocol import EVENT_KINDS

router = APIRouter(tags=["events"])

HEARTBEAT_SECONDS: Final = 15.0

Models = Annotated[list[str] | None, Query(description="names or globs; default: all that the token may see")]
Full = Annotated[
    list[str] | None, Query(description="models whose output events have all outputs; default: all")
]
Kinds = Annotated[list[str] | None, Query(description="kinds of events, for example alarm; default: all")]


@router.get("/v1/events", response_class=Response, responses={200: {"content": {"text/event-stream": {}}}})
async def events(
    request: Request, who: Who, model: Models = None, kind: Kinds = None, full: Full = None
) -> Response:
    """Stream events as they come (server-sent events). `output` events are thinned for display."""
    return EventStream(gateway_of(request), _wanted(who, model, kind, full))


@router.websocket("/v1/events/ws")
async def socket(websocket: WebSocket, model: Models = None, kind: Kinds = None, full: Full = None) -> None:
    """The same events, one JSON text each. A browser sends its token as the subprotocol ``bearer.TOKEN``."""
    gateway = gateway_of(websocket)
    try:
        wanted = _wanted(identify(websocket), model, kind, full)
        listening = gateway.hub.listen(wanted)
        listener = listening.__enter__()
    except StreamlearnError as error:
        await websocket.close(1013 if isinstance(error, Busy) else 1008, error.message[:120])
        return
    offered = websocket.scope.get("subprotocols", [])
    chosen = next((each for each in offered if not each.startswith(SUBPROTOCOL)), None)
    try:
        await websocket.accept(chosen)
        await _until_closed(websocket, gateway, listener)
    finally:
        listening.__exit__(None, None, None)


async def _until_closed(websocket: WebSocket, gateway: Gateway, listener: Listener) -> None:
    closed = asyncio.create_task(_closed(websocket))
    try:
        while not (closed.done() or listener.closed):
            message = await listener.get(HEARTBEAT_SECONDS)
            if message is not None:
                sending = websocket.send_text(json.dumps(message))
                await asyncio.wait_for(sending, gateway.settings.limits.stalled_seconds)
    except (TimeoutError, WebSocketDisconnect):
        pass  # a stalled reader, or one that has left
    finally:
        closed.cancel()


async def _closed(websocket: WebSocket) -> None:
    """Return when the client has closed the connection. What it sends is ignored."""
    while (await websocket.receive())["type"] != "websocket.disconnect":
        pass


def _wanted(
    who: Identity, models: list[str] | None, kinds: list[str] | None, full: list[str] | None
) -> Wanted:
    require_events(who)
    for kind in kinds or ():
        if kind not in EVENT_KINDS:
            raise BadValue(
                f"no {kind[:40]!r} events exist; use one of: {', '.join(EVENT_KINDS)}", field="kind"
            )
    everything = ("*",)
    return Wanted(who, tuple(models or everything), tuple(kinds or ()), tuple(full or everything))


def require_events(who: Identity) -> None:
    """Raise `Forbidden` if a client may see no events at all."""
    if not who.has("subscribe"):
        raise Forbidden(f"{who.name!r} does not have the right 'subscribe'", right="subscribe")


class EventStream(Response):
    """A stream of server-sent events that ends if the client stalls or leaves."""

    media_type = "text/event-stream"

    def __init__(self, gateway: Gateway, wanted: Wanted) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._gateway, self._wanted = gateway, wanted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until the client leaves."""
        with self._gateway.hub.listen(self._wanted) as listener:
            await send(
                {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            )
            left = asyncio.create_task(_left(receive))
            try:
                while not (left.done() or listener.closed):
                    message = await listener.get(HEARTBEAT_SECONDS)
                    part = {"type": "http.response.body", "body": _encode(message), "more_body": True}
                    await asyncio.wait_for(send(part), self._gateway.settings.limits.stalled_seconds)
                if not left.done():  # the gateway stops
                    await send({"type": "http.response.body", "body": b""})
            except (TimeoutError, OSError):
                pass  # a stalled reader, or one that has left
            finally:
                left.cancel()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _encode(message: dict[str, Any] | None) -> bytes:
    if message is None:
        return b": no event\n\n"
    identity = f"id: {message['lsn']}\n" if "lsn" in message else ""
    return f"{identity}event: {message['kind']}\ndata: {json.dumps(message)}\n\n".encode()
