"""A ZMTP 3.0 peer on a plain socket: it sends what a ZeroMQ library would refuse to send."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from typing import Self

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
MORE, LONG, COMMAND = 1, 2, 4  # bits of a frame's first byte


class Peer:
    """A connection to a ZeroMQ socket, after the handshake.

    Parameters
    ----------
    endpoint
        ``tcp://HOST:PORT``.
    kind
        Type of this peer's socket, for example ``SUB`` or ``DEALER``.
    """

    def __init__(self, endpoint: str, kind: str, seconds: float = 30.0) -> None:
        host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
        self.socket = socket.create_connection((host, int(port)), seconds)
        self.socket.sendall(GREETING)
        self._receive(len(GREETING))
        ready = b"\x05READY" + _property("Socket-Type", kind) + _property("Identity", "")
        self.socket.sendall(frame(ready, COMMAND))
        flags, size = self._receive(2)
        assert flags & COMMAND
        self._receive(size)

    def send(self, *frames: bytes) -> None:
        """Send one message."""
        self.socket.sendall(message(*frames))

    def send_until_ended(self, messages: Iterable[bytes]) -> bool:
        """Send messages of one frame; return whether the other side closes the connection.

        It may do so before all of them are sent.
        """
        try:
            for each in messages:
                self.send(each)
        except ConnectionError:
            return True
        return self.ended()

    def ended(self) -> bool:
        """Wait until the other side closes the connection; return whether it did."""
        try:
            while self.socket.recv(1 << 16):
                pass
        except TimeoutError:
            return False
        except OSError:
            return True
        return True

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()

    def _receive(self, size: int) -> bytes:
        received = b""
        while len(received) < size:
            part = self.socket.recv(size - len(received))
            if not part:
                raise ConnectionError("the other side closed the connection during the handshake")
            received += part
        return received

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def frame(content: bytes, flags: int = 0) -> bytes:
    """Return one frame with its header."""
    if len(content) > 255:
        return bytes([flags | LONG]) + struct.pack(">Q", len(content)) + content
    return bytes([flags, len(content)]) + content


def message(*frames: bytes) -> bytes:
    """Return all frames of a message with their headers."""
    return b"".join(frame(each, MORE) for each in frames[:-1]) + frame(frames[-1])


def _property(name: str, value: str) -> bytes:
    return bytes([len(name)]) + name.encode() + struct.pack(">I", len(value)) + value.encode()
