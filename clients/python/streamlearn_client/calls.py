"""One request until its answer, without any I/O: when to send it, when again, when to give up.

`Exchange` is what the blocking and the asyncio client share. They move frames and tell it the time and
what happened to the connection; it decides.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from streamlearn_client.errors import NoAnswer, StreamlearnError
from streamlearn_client.protocol import Frame, Learn, Reply, Request, encode_request

__all__ = ["Call", "Exchange", "Unanswered"]

PATIENCE: Final = 2.0
"""seconds after which an unanswered request is sent again though its connection stands; then doubled"""
PAUSE: Final = (0.05, 1.0)
"""seconds to wait after the daemon refused for the moment: at first, doubling up to"""


class Call(NamedTuple):
    """A request to make. ``repeat``: it does no harm when the daemon gets it twice."""

    message: Request | Learn
    repeat: bool = True


class Unanswered(NoAnswer):
    """The connection broke before the answer to a request that must not just be repeated."""


class Exchange:
    """The state of one call on one client. Times are seconds of any one monotonic clock."""

    def __init__(self, call: Call, id: int, endpoint: str, deadline: float, timeout: float) -> None:
        self.frames: list[Frame] = encode_request(call.message._replace(id=id))
        self.due = True
        """to be sent as soon as the socket takes it"""
        self._call = call
        self._id = id
        self._endpoint = endpoint
        self._deadline = deadline
        self._timeout = timeout
        self._out = False  # sent, and neither answered nor refused
        self._again_at = math.inf
        self._patience = PATIENCE
        self._pause = PAUSE[0]
        self._refusal: StreamlearnError | None = None

    def sent(self, now: float) -> None:
        """The socket took the frames."""
        self.due = False
        self._out = True
        self._refusal = None
        if self._call.repeat:
            self._again_at = now + self._patience
            self._patience *= 2

    def lost(self) -> None:
        """The connection broke. Raises ``Unanswered`` if the request is out and must not be repeated."""
        if self._out and not self._call.repeat:
            raise self._no_answer(Unanswered)
        if self._out:
            self.due = True
            self._again_at = math.inf

    def wait(self, now: float) -> float:
        """For how many seconds nothing needs to be done unless a reply comes. At the end: ``NoAnswer``."""
        if now >= self._deadline:
            raise self._refusal or self._no_answer(NoAnswer)
        if now >= self._again_at:
            self.due = True
            self._again_at = math.inf
        return min(self._deadline, self._again_at) - now

    def receive(self, reply: Reply, now: float) -> Reply | None:
        """The answer, or ``None`` if there is none yet. Raises what the daemon refused for good.

        A refusal for the moment (``retryable``) did nothing, so the request is sent again after a pause.
        """
        if reply.id != self._id:
            return None
        if reply.error is None:
            return reply
        if not reply.error.retryable:
            raise reply.error
        if self._out:
            self._out = False
            self._refusal = reply.error
            self._again_at = now + self._pause
            self._pause = min(self._pause * 2, PAUSE[1])
        return None

    def _no_answer(self, kind: type[NoAnswer]) -> NoAnswer:
        message = self._call.message
        op = "learn" if isinstance(message, Learn) else message.op
        if self._out:
            text = (
                f"the daemon at {self._endpoint} did not answer {op} within {self._timeout:g} s: "
                "it stopped or is overloaded (its log tells), and may or may not have done it"
            )
        else:
            text = (
                f"no daemon answers at {self._endpoint} (tried for {self._timeout:g} s): "
                "is `streamlearn serve` running, and is this its requests endpoint?"
            )
        return kind(text, endpoint=self._endpoint, op=op, sent=self._out)
