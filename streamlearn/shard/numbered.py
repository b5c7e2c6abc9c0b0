"""Changes that a client numbers, so that each is executed once however often it is sent (R5).

The number is that of a producer: see `producers.py`. The record contains it, and the digest of the request.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from streamlearn.errors import BadMessage
from streamlearn.shard.hosted_model import HostedModel
from streamlearn.shard.record_codec import NUMBER, request_digest
from streamlearn.store.record import Record
from streamlearn_client.protocol import Request

Accept = Callable[[int, int], Record]
"""Makes a record from its lsn and its arrival time, or raises if the change is refused."""


class Number(NamedTuple):
    """The number of a change, and the digest of the request."""

    producer: str
    epoch: int
    seq: int
    digest: int

    @classmethod
    def of(cls, request: Request) -> Number | None:
        """Return the number of a request, if it has one. Raises `BadMessage` for a part of a number."""
        given = NUMBER & request.fields.keys()
        if not given:
            return None
        if given != NUMBER:
            missing = ", ".join(sorted(NUMBER - given))
            raise BadMessage(f"producer, epoch and seq belong together; {missing} is missing")
        fields = request.fields
        return cls(fields["producer"], fields["epoch"], fields["seq"], request_digest(request))

    def known_lsn(self, hosted: HostedModel, time: int) -> int | None:
        """Return the record of this change if it was accepted before; `None` if it comes next.

        ``time``: now, ns since 1970. Raises as `ProducerState.check`: `Conflict` if the number is that of
        another change.
        """
        known = hosted.check_number(self.producer, self.epoch, self.seq, self.digest, time, lossy=False)
        return None if known is None else known.lsn

    def added_to(self, accept: Accept) -> Accept:
        """Return a function that makes the same record with this number."""

        def numbered(lsn: int, time: int) -> Record:
            record = accept(lsn, time)
            record.producer, record.epoch, record.seq = self.producer, self.epoch, self.seq
            record.x_cols, record.y_cols = self.digest & 0xFFFFFFFF, self.digest >> 32
            record.digests = [self.digest]
            return record

        return numbered
