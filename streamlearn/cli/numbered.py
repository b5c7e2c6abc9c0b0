"""Rows that are learned once, however often they are sent: the position in a source is kept by the daemon.

A source is one sequence of rows, and a producer of its own. Row numbers are in the numbers of its batches:

* An *epoch* is 1 + the number of its first row. It consists of batches of `BLOCK` rows; only its last batch
  may have fewer. After a batch with fewer rows, the next epoch begins.
* So (epoch, next sequence number) says up to which block the rows are learned. The daemon does not say how
  many rows the last batch has, but it compares: the batch is sent again under its number, with every number
  of rows that it may have. The daemon answers ``duplicate`` to the right one, ``CONFLICT`` to the others.

Every batch has one possible number, also for a process that does not know of another one. So a batch that was
on its way when its sender was killed is not learned twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final

from streamlearn.errors import Conflict, Fenced, Gap, StreamlearnError
from streamlearn.tabular.errors import BadData
from streamlearn.tabular.rows import Rows
from streamlearn_client import Ack, BatchNumber, Client
from streamlearn_client.protocol import AnsweredLevel

BLOCK: Final = 1024
"""Rows of a full batch."""
SPAN: Final = 2**44
"""Epochs of one source. It begins at a multiple of it, above the epochs that the daemon has forgotten."""
IDENTIFYING_ROWS: Final = (1024, 128, 16, 1)
"""How many first rows identify a file: as many as it has."""


class Changed(BadData):
    """The rows of a source are not those that were learned before."""

    code = "CHANGED"


class NumberedRows:
    """Sends the rows of one source, each once.

    Parameters
    ----------
    client, model, ack
        The client, the name of the model, and the level of the acks.
    producer
        The name of the source in the daemon's producer table.
    name
        What messages call the source.

    Attributes
    ----------
    rows
        Rows of the source that are acknowledged; before `resume`, those that surely are.
    most
        Rows that may be acknowledged at most. It is ``rows`` after `resume`.
    sent
        Rows that this object has sent.
    """

    def __init__(self, client: Client, model: str, producer: str, ack: AnsweredLevel, name: str) -> None:
        self._client, self._model, self._ack, self._name = client, model, ack, name
        self.producer = producer
        position = client.position(model, producer)
        self.known = position.next_seq > 0
        """Whether the daemon has rows of this source."""
        self.sent = 0
        self.last_ack: Ack | None = None
        self.matched = self.unmatched = 0
        self._waiting: list[Rows] = []
        if self.known:
            self._base = (position.epoch - 1) // SPAN * SPAN
            self._first = (position.epoch - 1) % SPAN  # row of the epoch
            self._seq = position.next_seq - 1  # of the last batch, until `resume`
        else:
            self._base = -(-position.epoch // SPAN) * SPAN
            self._first = self._seq = 0
        self.rows = self._first + self._seq * BLOCK
        self.most = self.rows + BLOCK * self.known

    def resume(self, rows: Rows | None) -> int:
        """Find out how many rows the last batch has.

        Parameters
        ----------
        rows
            The rows of the source from number ``self.rows`` on: `BLOCK`, or all that there are.

        Returns
        -------
        int
            How many of ``rows`` were learned before.

        Raises
        ------
        Changed
            If they are not those that were learned.
        """
        if not self.known:
            return 0
        count = 0 if rows is None else len(rows)
        sizes = range(count, 0, -1)
        found = next((size for size in sizes if rows is not None and self._is_known(rows.sliced(0, size))), 0)
        if not found:
            problem = (
                f"{self._name}: row {self.rows + 1} and those after it are not what {self._model} learned of"
                " it: rows were changed or removed"
            )
            raise Changed(
                f"{problem}, or another file begins with the same rows; to send it as a new one, name it:"
                " --source NAME",
                file=self._name,
                row=self.rows + 1,
            )
        self._advance(found)
        return found

    def skip_to(self, row: int) -> None:
        """Take for known, without a comparison, that the last batch ends before ``row``."""
        if not self.rows < row <= self.most:
            raise ValueError(row)
        self._advance(row - self.rows)

    def skip_all(self) -> None:
        """Begin after all rows that may be learned. Numbers between are never used."""
        self.rows = self._first = self.most
        self._seq = 0

    def add(self, rows: Rows) -> None:
        """Send full batches of the rows, and keep the rest."""
        self._waiting.append(rows)
        if sum(map(len, self._waiting)) >= BLOCK:
            joined = Rows.joined(self._waiting)
            full = len(joined) // BLOCK * BLOCK
            self._waiting = [joined.sliced(full)] if full < len(joined) else []
            for start in range(0, full, BLOCK):
                self._send(joined.sliced(start, start + BLOCK))

    def flush(self) -> None:
        """Send the rest."""
        if self._waiting:
            joined = Rows.joined(self._waiting)
            self._waiting = []
            self._send(joined)

    def _send(self, rows: Rows) -> None:
        try:
            ack = self._learn(rows)
        except (Conflict, Fenced, Gap) as error:
            raise StreamlearnError(
                f"another process sends {self._name} to {self._model} at the same time, or {self._model} was"
                f" created again. Nothing is lost: wait until it has ended, and repeat the command."
                f" {error.code}: {error.message}",
                file=self._name,
            ) from None
        self.sent += len(rows)
        self.last_ack = ack
        self.matched += ack.matched or 0
        self.unmatched += ack.unmatched or 0
        self._advance(len(rows))

    def _advance(self, count: int) -> None:
        self.rows += count
        self.most = self.rows
        if count == BLOCK:
            self._seq += 1
        else:
            self._first, self._seq = self.rows, 0

    def _is_known(self, rows: Rows) -> bool:
        """Return whether the last batch consists of ``rows``."""
        try:
            return self._learn(rows) is not None
        except Conflict:
            return False

    def _learn(self, rows: Rows) -> Ack:
        number = BatchNumber(self.producer, self._base + self._first + 1, self._seq)
        if rows.x is None:
            assert rows.ids is not None
            assert rows.y is not None
            return self._client.learn_targets(
                self._model, rows.ids, rows.y, keys=rows.keys, ack=self._ack, number=number
            )
        return self._client.learn(
            self._model,
            rows.x,
            rows.y,
            keys=rows.keys,
            ids=rows.ids,
            times=rows.times,
            ack=self._ack,
            number=number,
        )


def identified(client: Client, model: str, ack: AnsweredLevel, name: str, first: Rows) -> NumberedRows:
    """Return the sender of the file that begins with these rows: one that the daemon knows, or a new one.

    The identity of a file is its first rows as the model receives them: 1,024 of them, or the next smaller of
    128, 16 and 1 if it has fewer. So a copy, a renamed or compressed file, and one that has grown since are
    the same file.
    """
    new: NumberedRows | None = None
    for count in IDENTIFYING_ROWS:
        if count <= len(first):
            sender = NumberedRows(client, model, _producer(first.sliced(0, count)), ack, name)
            if sender.known:
                return sender
            new = new or sender
    assert new is not None, "a file has at least one row"
    return new


def _producer(rows: Rows) -> str:
    digest = hashlib.sha256()
    for part in (rows.x, rows.y, rows.times):
        digest.update(b"-" if part is None else f"{part.shape}".encode() + part.tobytes())
    digest.update(repr((rows.keys, rows.ids)).encode())
    return f"file:{digest.hexdigest()[:48]}"


class Blocks:
    """The rows of a file from a number on, which can be taken in any size."""

    def __init__(self, rows: Iterator[Rows]) -> None:
        self._rows = rows
        self._waiting: list[Rows] = []
        self._problem: BadData | None = None
        self.ended = False

    def peek(self, count: int) -> Rows | None:
        """Return the next ``count`` rows, or what there is; they stay. ``None`` at the end.

        A bad row counts as the end; `take_rest` raises its error.
        """
        while not self.ended and sum(map(len, self._waiting)) < count:
            try:
                self._waiting.append(next(self._rows))
            except StopIteration:
                self.ended = True
            except BadData as problem:
                self._problem, self.ended = problem, True
        if not self._waiting:
            return None
        self._waiting = [Rows.joined(self._waiting)]
        return self._waiting[0].sliced(0, count)

    def discard(self, count: int) -> bool:
        """Discard the next ``count`` rows. Return whether there were as many."""
        while count and (found := self.peek(min(count, 64 * BLOCK))) is not None:
            rest = self._waiting[0].sliced(len(found))
            self._waiting = [rest] if len(rest) else []
            count -= len(found)
        return not count

    def take_rest(self) -> Iterator[Rows]:
        """Yield all rows that follow. Raises the error of a bad row."""
        yield from self._waiting
        self._waiting = []
        if not self.ended:
            yield from self._rows
        if self._problem is not None:
            raise self._problem


def resumed(sender: NumberedRows, blocks: Blocks, name: str) -> int:
    """Pass over the rows that were learned before. Return how many. ``blocks`` begins at row 0."""
    if not sender.known:
        return 0
    known = sender.rows
    if not blocks.discard(known):
        raise Changed(
            f"{name} has fewer rows than the {known + 1:,} or more that were learned of it: it was cut, or"
            " another file begins with the same rows; to send it as a new one, name it: --source NAME",
            file=name,
        )
    found = sender.resume(blocks.peek(BLOCK))
    blocks.discard(found)
    return known + found
