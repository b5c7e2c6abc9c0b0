"""Addresses: host and port, and whether only this machine reaches a host."""

from __future__ import annotations

import ipaddress


def is_local(host: str) -> bool:
    """Whether only this machine reaches a host: a name, or an address (IPv6 without brackets)."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # the name of an interface or of another host, or *
        return host == "lo"


def host_and_port(address: str) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT`` (IPv6: ``[::1]:7780``). Raises ``ValueError`` with the reason."""
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal() and int(port) < 65536):
        raise ValueError(f"{address!r} is not HOST:PORT, for example 127.0.0.1:7780")
    return host.removeprefix("[").removesuffix("]"), int(port)
