"""Run a gateway with uvicorn."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Iterator

import uvicorn

from streamlearn.errors import BadConfig, PortTaken, StartupError
from streamlearn.gateway.app import create_app
from streamlearn.gateway.settings import Settings

GRACE_SECONDS = 3
"""How long a stop waits for requests that are being answered."""


class Server(uvicorn.Server):
    """A server that prints one line with its address once it serves, and stops cleanly on a signal."""

    def __init__(self, config: uvicorn.Config, scheme: str, on_stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._scheme, self._on_stop = scheme, on_stop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            sys.stdout.write(f"streamlearn gateway ready {self._scheme}://{shown}:{port}\n")
            sys.stdout.flush()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGTERM and SIGINT. The process then ends with exit code 0."""
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, self._stop)
        yield

    def _stop(self) -> None:
        self.should_exit = True
        self._on_stop()


def _check_tls(settings: Settings) -> None:
    """Raise `BadConfig` if the certificate and its key can't be used."""
    if settings.certificate is None or settings.private_key is None:
        return
    try:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(settings.certificate, settings.private_key)
    except OSError as error:  # `ssl.SSLError` too
        raise BadConfig(
            f"can't use the certificate {settings.certificate} with the private key {settings.private_key}:"
            f" {error.strerror or error}; both are files in PEM form, and belong together"
        ) from None


def _bound(host: str, port: int) -> socket.socket:
    """Return a socket at an address. Raises `PortTaken` or `StartupError`."""
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(place)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(
                f"another process listens at {address}; stop it, or choose another address (port 0 chooses a"
                " free one)",
                endpoint=address,
            ) from None
        raise StartupError(
            f"can't listen at {address}: {error.strerror or error}", endpoint=address
        ) from None
    return bound


def run(settings: Settings, listener: socket.socket | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C. Returns the exit code. Raises `StartupError`.

    `listener`: a bound socket instead of the host and port of the settings.
    """
    _check_tls(settings)
    app = create_app(settings)
    listener = listener or _bound(settings.host, settings.port)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_level="warning",
        access_log=False,
        limit_concurrency=settings.limits.connections,
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_keep_alive=30,
        ssl_certfile=settings.certificate,
        ssl_keyfile=settings.private_key,
        ws="websockets-sansio",
        ws_max_size=4096,  # listeners have nothing to send
        server_header=False,
        proxy_headers=False,
    )

    def leave() -> None:
        app.state.gateway.hub.close()
        app.state.gateway.stopping.set()

    server = Server(config, settings.scheme, leave)
    asyncio.run(server.serve([listener]))
    return 0 if server.started else 1
