"""What is checked of every request before its body is read: host, origin, token, names of parameters."""

from __future__ import annotations

import re
from typing import Annotated, Final

from fastapi import Depends, Header, Request
from starlette.requests import HTTPConnection

from streamlearn.access.identity import Identity
from streamlearn.errors import BadValue, Forbidden
from streamlearn.gateway.state import gateway_of

_LOCAL_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_BEARER: Final = re.compile(r"Bearer\s+(\S+)", re.IGNORECASE)
SUBPROTOCOL: Final = "bearer."
"""Beginning of the WebSocket subprotocol that carries the token: a browser cannot set its headers."""


def check_origin(connection: HTTPConnection) -> None:
    """Refuse requests that a page of another site makes in a user's browser.

    Without tokens, the names of this machine are the only hosts: a name that an attacker's server resolves to
    127.0.0.1 is refused. A request with an ``Origin`` must come from the gateway's own page.
    """
    gateway = gateway_of(connection)
    host = connection.headers.get("host", "")
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    if not gateway.tokens.needed and name.strip("[]") not in _LOCAL_NAMES:
        raise Forbidden(f"this gateway serves {', '.join(sorted(_LOCAL_NAMES))} only, not {name!r}")
    origin = connection.headers.get("origin")
    if origin is not None and origin.partition("://")[2] != host:
        raise Forbidden(f"a page of {origin} may not use this gateway")


def identify(connection: HTTPConnection) -> Identity:
    """Return who sends a request. Raises `Unauthorized` or `Forbidden`."""
    check_origin(connection)
    found = _BEARER.fullmatch(connection.headers.get("authorization", ""))
    token = found.group(1) if found else None
    if token is None:
        offered = [each.strip() for each in connection.headers.get("sec-websocket-protocol", "").split(",")]
        token = next(
            (each.removeprefix(SUBPROTOCOL) for each in offered if each.startswith(SUBPROTOCOL)), None
        )
    return gateway_of(connection).tokens.identify(token)


def identity_of(request: Request, authorization: Annotated[str | None, Header()] = None) -> Identity:
    """The dependency of every route. The parameter is for the OpenAPI document."""
    who = identify(request)
    if request.query_params and request.url.path.startswith("/v1/"):
        check_parameters(request)
    return who


def check_parameters(request: Request) -> None:
    """Raise `BadValue` for a parameter that the path does not have. A wrong name must not be ignored."""
    paths = request.app.openapi()["paths"]
    operation = paths[request.scope["route"].path][request.method.lower()]
    known = [each["name"] for each in operation.get("parameters", ()) if each["in"] == "query"]
    for name in request.query_params:
        if name not in known:
            listed = f"it has {', '.join(known)}" if known else "it has none"
            raise BadValue(f"this path has no parameter {name[:40]!r}; {listed}", field=name[:40])


Who = Annotated[Identity, Depends(identity_of)]
