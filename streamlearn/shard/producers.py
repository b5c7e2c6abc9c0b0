"""Exactly once (R5): the next batch expected from each producer.

A producer numbers its batches 0, 1, 2, … within an epoch. A number above the expected one is a gap, and an
epoch below the known one belongs to a producer that was replaced. A number below the expected one is a
resend if the batch has the digest of the batch that was accepted under this number, and a conflict otherwise.

The table is part of a model's checkpoints, so its size is bounded. Producers with a name and producers with a
generated name have separate parts. Beyond `CAPACITY` producers, a part forgets the one with the oldest last
batch and keeps a *floor* above all epochs it has forgotten. An unknown producer must begin at the floor or
above it, so no batch of a forgotten producer is learned twice.

Only journalled batches change the table, so replay builds the same table. The clock is an argument of `check`
only, never of `advance`.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from streamlearn.errors import BadValue, Conflict, Fenced, Gap, UnknownProducer
from streamlearn.shard.producer_arrays import ProducerRow, decode, encode
from streamlearn.shard.record_codec import resend_window
from streamlearn_client.protocol import GENERATED
from streamlearn_client.protocol.messages import RESEND_WINDOW

CAPACITY = 4096
"""Producers that each of the two parts remembers."""
AHEAD_NS = 24 * 3600 * 10**9
"""How far a new epoch may be ahead of the arrival time."""
LAST_EPOCH = 2**62
"""The largest epoch that is accepted: the year 2116 in nanoseconds, with as many epochs left above it."""
LAST_SEQ = 2**63 - 2
"""The largest number that is accepted, so that the next expected number fits into 63 bits."""
SLACK = 64  # digests that a producer may have beyond the window, so that few batches move them


class Position(NamedTuple):
    """The position of a producer. `lsn` is that of its last batch."""

    epoch: int
    next_seq: int
    lsn: int


class _Producer:
    """One entry of the table. `digests` ends with that of number `next_seq − 1`."""

    __slots__ = ("digests", "epoch", "lsn", "name", "next_seq", "wide")

    def __init__(
        self,
        name: str,
        epoch: int,
        next_seq: int = 0,
        lsn: int = 0,
        digests: array[int] | None = None,
        wide: bool = False,
    ) -> None:
        self.name = name
        self.epoch = epoch
        self.next_seq = next_seq
        self.lsn = lsn
        self.digests: array[int] = array("Q") if digests is None else digests
        self.wide = wide  # whether its last batch stated a window above `RESEND_WINDOW`

    def digest(self, seq: int) -> int:
        """The digest of a number below `next_seq`; 0 if it is not remembered."""
        back = self.next_seq - seq
        return self.digests[-back] if back <= min(len(self.digests), resend_window(self.wide)) else 0

    def kept(self) -> array[int]:
        """The digests of the batches that it may send again."""
        return self.digests[-resend_window(self.wide) :]


class _Part:
    """Producers ordered by their last batch, oldest first. All forgotten epochs are below `floor`."""

    __slots__ = ("floor", "newest", "producers")

    def __init__(self, floor: int = 0) -> None:
        self.floor = floor
        self.producers: dict[str, _Producer] = {}  # an OrderedDict takes twice the memory
        self.newest: _Producer | None = None  # the last one in this order

    def find(self, name: str) -> _Producer | None:
        """Return a producer; `None` if it is unknown. Most batches come from the newest one."""
        newest = self.newest
        return newest if newest is not None and newest.name == name else self.producers.get(name)

    def copy(self) -> _Part:
        """Return an independent copy."""
        if self is _EMPTY:
            return self
        copy = _Part(self.floor)
        for name, known in self.producers.items():
            copy.producers[name] = _Producer(
                name, known.epoch, known.next_seq, known.lsn, known.digests[:], known.wide
            )
        return copy


_EMPTY = _Part()  # stands for a part that never had a producer; never changed


class ProducerState:
    """The producers of one model."""

    __slots__ = ("_generated", "_named")

    def __init__(self, named: _Part = _EMPTY, generated: _Part = _EMPTY) -> None:
        self._named, self._generated = named, generated

    def __len__(self) -> int:
        return len(self._named.producers) + len(self._generated.producers)

    def _part(self, producer: str) -> _Part:
        return self._generated if producer[0] == GENERATED else self._named

    def position(self, producer: str) -> Position:
        """Return the position of a producer.

        An unknown producer has `next_seq` 0. Its epoch must be above `epoch` too, unless that is 0.
        """
        part = self._part(producer)
        known = part.find(producer)
        if known is None:
            return Position(max(part.floor - 1, 0), 0, 0)
        return Position(known.epoch, known.next_seq, known.lsn)

    def expects(self, producer: str, epoch: int, seq: int) -> bool:
        """Whether the producer is known, and this is its next number."""
        part = self._generated if producer[0] == GENERATED else self._named
        known = part.find(producer)
        return known is not None and known.epoch == epoch and known.next_seq == seq and known.lsn > 0

    def check(self, producer: str, epoch: int, seq: int, digest: int, time: int) -> Position | None:
        """Check the number of a batch.

        Parameters
        ----------
        producer, epoch, seq
            The number.
        digest
            What `content_digests` returns for the batch.
        time
            Arrival time, ns since 1970.

        Returns
        -------
        Position or None
            `None` for the expected batch; the position of the producer for a resend.

        Raises
        ------
        Gap
            If batches before this one are missing.
        Fenced
            If the epoch is older than the producer's current one.
        UnknownProducer
            If the producer is not in the table, and its epoch is below the floor.
        Conflict
            If the number was used before, and the batch is not known to be the same.
        BadValue
            If a new epoch is too far ahead of the arrival time, or the number is above `LAST_SEQ`.
        """
        part = self._generated if producer[0] == GENERATED else self._named
        known = part.find(producer)
        if known is not None and known.epoch == epoch:
            if seq == known.next_seq and seq <= LAST_SEQ:
                return None
            if seq < known.next_seq:
                if known.digest(seq) != digest:
                    raise _conflict(producer, epoch, seq, known)
                return Position(epoch, known.next_seq, known.lsn)
        if seq > LAST_SEQ:
            raise BadValue(
                f"seq {seq} of producer {producer!r} has no successor; begin a new epoch", field="seq"
            )
        if known is None:
            if epoch < part.floor:
                raise _unknown(producer, epoch, part.floor)
            self._check_new_epoch(producer, epoch, part.floor, time)
        elif epoch < known.epoch:
            raise _fenced(producer, epoch, known.epoch)
        elif epoch > known.epoch:
            self._check_new_epoch(producer, epoch, known.epoch + 1, time)
        else:
            raise _gap(producer, epoch, seq, known.next_seq)
        if seq:
            raise _gap(producer, epoch, seq, 0)
        return None

    def _check_new_epoch(self, producer: str, epoch: int, smallest: int, time: int) -> None:
        """The smallest epoch is always accepted, so a wrong clock locks no producer out."""
        largest = min(max(time + AHEAD_NS, smallest), LAST_EPOCH)
        if epoch > largest:
            raise BadValue(
                f"epoch {epoch} of producer {producer!r} is more than a day ahead of the daemon's clock; use "
                f"{largest} at most. An epoch is the time in nanoseconds since 1970 when the producer began, "
                "or any smaller number that grows with each run",
                field="epoch",
                largest=largest,
            )

    def advance(
        self,
        producer: str,
        epoch: int,
        seq: int,
        lsn: int,
        digests: Sequence[int],
        batches: int = 1,
        wide: bool = False,
    ) -> None:
        """Record that the journal has these batches at `lsn`. Accepts every number that a journal may hold.

        Parameters
        ----------
        producer, epoch, seq
            The number of the first batch.
        lsn
            The record of the batches.
        digests
            Digests of the last batches, oldest first: of all, or of the last `resend_window(wide)`.
        batches
            The number of batches.
        wide
            Whether they state a window above `RESEND_WINDOW`.
        """
        if epoch > LAST_EPOCH:  # from a journal of an earlier version, which accepted it
            return
        part = self._generated if producer[0] == GENERATED else self._named
        known = part.newest
        if known is None or known.name != producer or known.epoch != epoch:
            known = self._newest(part, producer, epoch)
        kept = known.digests
        if seq != known.next_seq or len(digests) < batches:  # batches are missing, or the others are too old
            del kept[:]
        if wide != known.wide:
            del kept[: -resend_window(known.wide)]
            known.wide = wide
        kept.extend(digests)
        window = resend_window(wide)
        if len(kept) > window + SLACK:
            del kept[:-window]
        known.next_seq = min(seq + batches, LAST_SEQ + 1)
        known.lsn = lsn

    def _newest(self, part: _Part, producer: str, epoch: int) -> _Producer:
        """Make this epoch of a producer the newest one of its part."""
        known = part.producers.get(producer)
        if known is None or known.epoch != epoch:
            if part is _EMPTY:
                part = self._begin(producer)
            part.producers.pop(producer, None)
            known = part.newest = part.producers[producer] = _Producer(producer, epoch)
            while len(part.producers) > CAPACITY:
                forgotten = part.producers.pop(next(iter(part.producers)))
                part.floor = max(part.floor, forgotten.epoch + 1)
        else:
            part.producers[producer] = part.producers.pop(producer)
            part.newest = known
        return known

    def copy(self) -> ProducerState:
        """Return an independent copy."""
        return ProducerState(self._named.copy(), self._generated.copy())

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the table as arrays for a checkpoint (`producer_arrays`)."""
        rows = [
            ProducerRow(name, known.epoch, known.next_seq, known.lsn, known.kept())
            for part in (self._named, self._generated)
            for name, known in part.producers.items()
        ]
        return encode(rows, (self._named.floor, self._generated.floor))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> ProducerState:
        """Return the table of a checkpoint; an empty one if the file has none (a model saved by `save`).

        Raises `BadCheckpoint` if the arrays are not a table.
        """
        rows, floors = decode(arrays)
        table = cls(*(_Part(floor) if floor else _EMPTY for floor in floors))
        for row in rows:
            if row.epoch <= LAST_EPOCH:
                part = table._part(row.name)
                if part is _EMPTY:
                    part = table._begin(row.name)
                part.producers[row.name] = _Producer(*row, wide=len(row.digests) > RESEND_WINDOW)
        return table

    def _begin(self, producer: str) -> _Part:
        """Return the part of its first producer, a new one."""
        if producer[0] == GENERATED:
            self._generated = _Part()
            return self._generated
        self._named = _Part()
        return self._named


def _unknown(producer: str, epoch: int, floor: int) -> UnknownProducer:
    return UnknownProducer(
        f"the daemon does not remember producer {producer!r}: more than {CAPACITY} others have sent since "
        f"its last batch, if it sent any; begin a new epoch, {floor} or above",
        epoch=floor,
    )


def _fenced(producer: str, epoch: int, current: int) -> Fenced:
    return Fenced(
        f"epoch {epoch} of producer {producer!r} was replaced by epoch {current}; stop this "
        f"producer, or start it again with an epoch above {current}",
        epoch=current,
    )


def _gap(producer: str, epoch: int, seq: int, expected: int) -> Gap:
    return Gap(
        f"batch {seq} of producer {producer!r} (epoch {epoch}) came where {expected} was expected; "
        f"send the batches from {expected} on, in order",
        expected_seq=expected,
    )


def _conflict(producer: str, epoch: int, seq: int, known: _Producer) -> Conflict:
    if known.digest(seq):
        what = "was accepted before with other content"
    else:
        what = (
            "has a number below the next one, and the daemon has no digest to compare it with: it keeps "
            f"those of the last {resend_window(known.wide)} batches that came without a gap"
        )
    return Conflict(
        f"batch {seq} of producer {producer!r} (epoch {epoch}) {what}. It was not learned. Give each batch "
        f"its own number, and each program its own producer name; the next number is {known.next_seq}",
        expected_seq=known.next_seq,
    )
