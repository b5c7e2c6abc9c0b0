"""A TCP endpoint in front of a daemon's `ipc://` endpoint: the suite loses answers and cuts connections."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

PART = 1 << 16


class Proxy:
    """Passes bytes in both directions until the suite says otherwise. One thread owns all sockets."""

    def __init__(self, target: str) -> None:
        self._target = target.removeprefix("ipc://")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._peers: dict[socket.socket, socket.socket] = {}  # the other end of each connection
        self._to_daemon: set[socket.socket] = set()
        self._away = self._losing = self._closing = False
        self._cut: threading.Event | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """Close all connections. Clients may connect again."""
        done = self._cut = threading.Event()
        assert done.wait(10)

    @contextmanager
    def losing_answers(self) -> Iterator[None]:
        """Lose what the daemon sends. At the end close the connections: nothing may follow a lost byte."""
        self._losing = True
        try:
            yield
        finally:
            self.cut()
            self._losing = False

    @contextmanager
    def away(self) -> Iterator[None]:
        """Close all connections, and every new one at once."""
        self._away = True
        self.cut()
        try:
            yield
        finally:
            self._away = False

    def close(self) -> None:
        self._closing = True
        self._thread.join()

    def _run(self) -> None:
        while not self._closing:
            for end in select.select([self._listener, *self._peers], [], [], 0.002)[0]:
                if end is self._listener:
                    self._accept()
                elif end in self._peers:
                    self._pass(end)
            if self._cut is not None:
                self._close_all()
                self._cut.set()
                self._cut = None
        self._close_all()
        self._listener.close()

    def _close_all(self) -> None:
        for end in tuple(self._peers):
            end.close()
        self._peers.clear()
        self._to_daemon.clear()

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        daemon = socket.socket(socket.AF_UNIX)
        try:
            if self._away:
                raise ConnectionRefusedError
            daemon.connect(self._target)
        except OSError:
            client.close()
            daemon.close()
        else:
            self._peers |= {client: daemon, daemon: client}
            self._to_daemon.add(daemon)

    def _pass(self, end: socket.socket) -> None:
        try:
            part = end.recv(PART)
            if part:
                if not (self._losing and end in self._to_daemon):
                    self._peers[end].sendall(part)
                return
        except OSError:
            pass
        for each in (end, self._peers.pop(end)):
            each.close()
            self._peers.pop(each, None)
            self._to_daemon.discard(each)
