"""One request until its answer, without any I/O: when to send it, when to resend it, when to give up.

The blocking client and the asyncio client share `Exchange`. They move the frames and report the time and the
state of the connection. `Exchange` decides what to do next.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from streamlearn_client.errors import NoAnswer, StreamlearnError
from streamlearn_client.protocol import Frame, Learn, Reply, Request, encode_request
from streamlearn_client.replies import check_reply

__all__ = ["AnswerLost", "Call", "Exchange"]

ANSWER_TIMEOUT: Final = 2.0
"""Seconds without an answer after which a request is sent again on the same connection. Doubles each time."""
PAUSE: Final = (0.05, 1.0)
"""Seconds to wait after a retryable refusal: first, and longest. Doubles each time."""


class Call(NamedTuple):
    """A request. ``idempotent``: the daemon may receive it twice without harm.

    ``patience``: seconds to wait for the answer once the request is sent, if this is longer than the timeout.
    ``own_timeout``: the timeout begins with this call, not with the operation that it belongs to.
    """

    message: Request | Learn
    idempotent: bool = True
    patience: float = 0.0
    own_timeout: bool = False


class AnswerLost(NoAnswer):
    """The connection was lost before the answer to a request that is not idempotent."""


class Exchange:
    """The state of one call. All times are seconds of one monotonic clock.

    An error that it raises has ``in_doubt`` if the daemon may have executed the request: the last attempt, or
    an earlier one, was sent and has no answer.
    """

    def __init__(self, call: Call, id: int, endpoint: str, deadline: float, timeout: float) -> None:
        self.frames: list[Frame] = encode_request(call.message._replace(id=id))
        self.due = True
        """Whether to send the request as soon as the socket accepts it."""
        self.hint = ""
        """A likely reason why there is no connection, for the error after the deadline."""
        self._call = call
        self._id = id
        self._endpoint = endpoint
        self._deadline = deadline
        self._answer_deadline = deadline  # once the request is sent
        self._timeout = timeout
        self._in_flight = False  # sent, and neither answered nor refused
        self._unanswered = False  # an earlier attempt was in flight when the request was sent again
        self._resend_at = math.inf
        self._answer_timeout = ANSWER_TIMEOUT
        self._pause = PAUSE[0]
        self._refusal: StreamlearnError | None = None

    def sent(self, now: float) -> None:
        """Record that the socket accepted the frames."""
        self.due = False
        self._unanswered |= self._in_flight
        self._in_flight = True
        self._refusal = None
        self._answer_deadline = max(self._deadline, now + self._call.patience)
        if self._call.idempotent:
            self._resend_at = now + self._answer_timeout
            self._answer_timeout *= 2

    def connection_lost(self) -> None:
        """Record that the connection was lost. Raise ``AnswerLost`` if the request must not be sent again."""
        if self._in_flight and not self._call.idempotent:
            lost = self._no_answer(AnswerLost)
            lost.in_doubt = True
            raise lost
        if self._in_flight:
            self.due = True
            self._resend_at = math.inf

    def refused(self, refusal: StreamlearnError) -> StreamlearnError:
        """Return the error to raise if the daemon refuses the connection."""
        refusal.in_doubt = self._in_flight or self._unanswered
        return refusal

    def time_left(self, now: float) -> float:
        """Return the seconds until the next step without a reply. Raise ``NoAnswer`` after the deadline."""
        deadline = self._answer_deadline if self._in_flight else self._deadline
        if now >= deadline:
            error = self._refusal or self._no_answer(NoAnswer)
            error.in_doubt = self._in_flight or self._unanswered
            raise error
        if now >= self._resend_at:
            self.due = True
            self._resend_at = math.inf
        return min(deadline, self._resend_at) - now

    def receive(self, reply: Reply, now: float) -> Reply | None:
        """Return the answer, or ``None`` if ``reply`` is not the final answer. Raise a final refusal.

        The daemon did nothing for a request that it refused with ``retryable``. The request is sent again
        after a pause. Raise ``ProtocolError`` for an invalid answer.
        """
        if reply.id != self._id:
            return None
        check_reply(self._call.message, reply, self._endpoint)
        if reply.error is None:
            return reply
        if not reply.error.retryable:
            reply.error.in_doubt = self._unanswered
            raise reply.error
        if self._in_flight:
            self._in_flight = False
            self._refusal = reply.error
            self._resend_at = now + self._pause
            self._pause = min(self._pause * 2, PAUSE[1])
        return None

    def _no_answer(self, kind: type[NoAnswer]) -> NoAnswer:
        message = self._call.message
        op = "learn" if isinstance(message, Learn) else message.op
        timeout = max(self._timeout, self._call.patience)
        if kind is AnswerLost:
            text = (
                f"the connection to the daemon at {self._endpoint} was lost before the answer to {op}. "
                f"The daemon may or may not have executed {op}; see its log"
            )
        elif self._in_flight:
            text = (
                f"the daemon at {self._endpoint} did not answer {op} within {timeout:g} s: "
                f"it stopped or is overloaded. It may or may not have executed {op}; see the daemon's log"
            )
        else:
            text = (
                f"no daemon answers at {self._endpoint} (tried for {self._timeout:g} s): "
                f"check that `streamlearn serve` is running and that this is its requests endpoint{self.hint}"
            )
        return kind(text, endpoint=self._endpoint, op=op, sent=self._in_flight)
