"""Run a gateway with uvicorn."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Callable, Iterator

import uvicorn

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


def run(settings: Settings, listener: socket.socket | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C. Returns the exit code. Raises `BadConfig`.

    `listener`: a bound socket instead of the host and port of the settings.
    """
    app = create_app(settings)
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
    asyncio.run(server.serve(None if listener is None else [listener]))
    return 0 if server.started else 1
