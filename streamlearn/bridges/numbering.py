"""The numbers of a source as the epochs and sequence numbers of a producer.

The daemon accepts the batches of an epoch without gaps, and a source has gaps. So an epoch begins at the
first number after each gap: message ``n`` is batch ``n − m`` of epoch ``base + m``, where ``m`` is the first
number of a row without gaps. Both ends can compute ``n`` from this. So the daemon's table of producers has
the position of each source, and the bridge needs no state of its own.

``base`` is 0, or the multiple of `NUMBERS` above all epochs that the daemon has forgotten.
"""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

from streamlearn.bridges.readings import NUMBERS
from streamlearn_client.results import Position

_PREFIX: Final = "mqtt "
_LONGEST: Final = 64


class Numbers(NamedTuple):
    """The numbers of a source in one model: an epoch that begins at number ``first``, and the next number."""

    base: int
    first: int
    next: int

    @property
    def epoch(self) -> int:
        """The epoch of the producer."""
        return self.base + self.first

    @property
    def seq(self) -> int:
        """The sequence number of the next batch."""
        return self.next - self.first

    def beginning_at(self, number: int) -> Numbers:
        """Return the numbers after a gap."""
        return Numbers(self.base, number, number)


def numbers_at(position: Position) -> Numbers:
    """Return the numbers at the daemon's position of a producer."""
    if position.next_seq == 0:  # unknown
        above = position.epoch + 1 if position.epoch else 0
        return Numbers(-(-above // NUMBERS) * NUMBERS, 0, 0)
    first = position.epoch % NUMBERS
    return Numbers(position.epoch - first, first, first + position.next_seq)


def producer_of(source: str, run: str) -> str:
    """Return the name of the producer of one run of a source."""
    text = f"{source} {run}" if run else source
    if len(text.encode()) <= _LONGEST - len(_PREFIX) and text.isprintable():
        return _PREFIX + text
    return _PREFIX + hashlib.sha256(text.encode()).hexdigest()[:40]
