"""The endpoints that a daemon announces."""

from __future__ import annotations

from urllib.parse import urlsplit

__all__ = ["resolve_endpoint"]


def resolve_endpoint(announced: str, requests: str) -> str:
    """Return an endpoint that ``hello`` announced, with a host that this client can reach.

    A daemon that listens on all interfaces does not know the host name that its clients use. The host of the
    ``requests`` endpoint replaces the wildcard.
    """
    parts = urlsplit(announced)
    if parts.scheme == "tcp" and parts.hostname in ("0.0.0.0", "::", "*"):
        host = urlsplit(requests).netloc.rpartition(":")[0]
        return f"tcp://{host}:{announced.rpartition(':')[2]}" if host else announced
    return announced
