"""A daemon that answers by a script: what a real one answers rarely, or never."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import msgpack
import zmq

Answer: TypeAlias = Callable[[dict[str, Any]], "bytes | dict[str, Any] | None"]
"""Return the reply to a header: a map without ``v`` and ``id``, the bytes of its header, or ``None``."""

LIMITS = {"header_bytes": 4096, "control_header_bytes": 1 << 20, "frame_bytes": 1 << 26, "rows": 1 << 20}
HELLO = {
    "server": "streamlearn",
    "version": "0",
    "protocol": 1,
    "instance": "fake",
    "limits": {**LIMITS, "frames": 6, "window": 256, "subscriptions": 100},
    "endpoints": {},
    "cumulative_acks": False,
}


class FakeDaemon:
    """A ROUTER socket that answers ``hello`` and leaves the other requests to a script."""

    def __init__(self, answer: Answer) -> None:
        self.headers: list[dict[str, Any]] = []
        """The headers of all requests except ``hello``."""
        self._answer = answer
        self._socket = zmq.Context.instance().socket(zmq.ROUTER)
        self._socket.linger = 0
        port = self._socket.bind_to_random_port("tcp://127.0.0.1")
        self.endpoint = f"tcp://127.0.0.1:{port}"
        self._closing = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closing = True
        self._thread.join()

    def _run(self) -> None:
        while not self._closing:
            if self._socket.poll(5):
                sender, *frames = self._socket.recv_multipart()
                reply = self._reply(frames)
                if reply is not None:
                    self._socket.send_multipart([sender, reply])
        self._socket.close()

    def _reply(self, frames: Sequence[bytes]) -> bytes | None:
        header = msgpack.unpackb(frames[0])
        if header["op"] == "hello":
            return msgpack.packb({"v": 1, "id": header.get("id"), "ok": HELLO})
        self.headers.append(header)
        answer = self._answer(header)
        if isinstance(answer, dict):
            answer = msgpack.packb({"v": 1, "id": header.get("id"), **answer})
        return answer


def error(code: str, message: str, retryable: bool = False, **detail: Any) -> dict[str, Any]:
    """Return a reply with an error."""
    return {"error": {"code": code, "message": message, "detail": detail, "retryable": retryable}}
