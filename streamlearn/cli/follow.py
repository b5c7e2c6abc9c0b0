"""Following a file that grows and is rotated, with a position that survives a kill of any process.

The rows of all files that have the followed name, one after another, are one source (`NumberedRows`): the
daemon knows how many of them are learned. A small state file knows where one of these rows is: in which file,
at which byte. It is written after the ack of the rows before that byte. So it may be behind the daemon, and
then the rows between are read again and passed over.

A file is rotated in one of these ways, which the next read recognises:

* It is renamed, and another one is created under its name. The rest of the renamed file is read first.
* It is copied and truncated. The rest of the copy is read first, if a copy is beside the file.
* It is truncated or written again from its beginning.
"""

from __future__ import annotations

import glob
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from streamlearn.cli.numbered import BLOCK, Changed, NumberedRows
from streamlearn.cli.places import Place, StateFile
from streamlearn.tabular.bytestreams import PIECE, ByteStream
from streamlearn.tabular.csvtable import CsvTable
from streamlearn.tabular.errors import BadData
from streamlearn.tabular.ndjson import NdjsonTable
from streamlearn.tabular.reader import LONGEST_ROW
from streamlearn.tabular.rows import Rows

POLL_SECONDS: Final = 0.2
HEAD_BYTES: Final = 4096
"""The first bytes of a file, by which it is recognised after a rotation."""
BEGIN_BYTES: Final = 1024 * 1024
"""The first bytes of a file, which have the names of its columns and its first row."""

TextTable = CsvTable | NdjsonTable


class Follower:
    """Reads a growing file and sends its rows.

    Parameters
    ----------
    path
        The file. It need not exist yet.
    new_table
        Makes the reader of a file.
    sender
        Sends the rows.
    state
        The last place.
    check
        Called with the reader of each file after its first rows, before they are sent.
    report
        Receives messages for a person.
    """

    def __init__(
        self,
        path: Path,
        new_table: Callable[[], TextTable],
        sender: NumberedRows,
        state: StateFile,
        check: Callable[[TextTable], None],
        report: Callable[[str], None],
    ) -> None:
        self.new_table, self.check, self.report = new_table, check, report
        self._path, self._sender, self._state = path, sender, state
        self._row = state.place.rows  # number of the next row that is read
        self._resumed = not sender.known  # whether it is known which rows are learned
        self._candidates: list[Rows] = []  # rows of which some may be learned
        self._doubtful: Place | None = None  # set if they may be of another file than the learned ones

    def run(self) -> None:
        """Follow the file without end. Raises ``BadData`` at a row that cannot be read."""
        place, sender = self._state.place, self._sender
        if place.rows > sender.most:
            raise Changed(
                f"{self._path}: {place.rows:,} rows of it were acknowledged, and the model knows"
                f" {sender.most:,} at most: it was created again, or restored to an earlier state. To send"
                " the file from its beginning, delete the state file and give a --source NAME",
                file=str(self._path),
            )
        if sender.rows < place.rows:  # the place is the end of the last batch
            sender.skip_to(place.rows)
            self._resumed = True
        place = self._finish_rotated(place)
        while True:
            with self._open() as file:
                self._follow(file, place)
            place = Place(rows=self._row)

    def _open(self) -> BinaryIO:
        while True:
            try:
                return self._path.open("rb", buffering=0)
            except FileNotFoundError:
                time.sleep(POLL_SECONDS)

    def _follow(self, file: BinaryIO, place: Place) -> None:
        """Read one file from a place until another one has its name."""
        part = _OneFile(self, file, place)
        quiet = 0  # reads without data since another file has the name
        while True:
            if part.is_replaced():
                self._finish_copy(part)
                part = _OneFile(self, file, Place(rows=self._row))
            if data := file.read(PIECE):
                part.feed(data)
                quiet = 0
                continue
            part.end_of_data()
            self._require_resumed()
            if not self._has_name(file):
                quiet += 1
                if quiet > 2 and self._path.exists():
                    part.end_of_file()
                    return
            time.sleep(POLL_SECONDS)

    def _has_name(self, file: BinaryIO) -> bool:
        try:
            return os.path.samestat(self._path.stat(), os.fstat(file.fileno()))
        except FileNotFoundError:
            return False

    # --------------------------------------------------------------------------------------- rotations

    def _finish_rotated(self, place: Place) -> Place:
        """Read the rest of the file of ``place``, and files that came after it, unless it has its name still.

        Return the place from which the file is followed.
        """
        if not place.head_bytes:
            return place
        files = self._siblings()
        ours = [each for each in files if _is_copy(each, place)]
        found = next((each for each in ours if each.stat().st_ino == place.inode), None)
        if found is None and self._is_at(place):
            return place
        if found is None and ours:
            found = ours[-1]
        if found is not None:
            self._read_whole(found, place)
            for each in files[files.index(found) + 1 :]:
                self._read_whole(each, Place(rows=self._row))
        elif self._resumed:
            self._report_lost(place)
        else:
            self._doubtful = place
        return Place(rows=self._row)

    def _is_at(self, place: Place) -> bool:
        """Whether the file of ``place`` has its name still. An editor may have written it again."""
        try:
            with self._path.open("rb") as file:
                return begins_as(file, place) and os.fstat(file.fileno()).st_size >= place.offset
        except FileNotFoundError:
            return False

    def _finish_copy(self, part: _OneFile) -> None:
        """Read the rest of a file that was truncated from its copy."""
        copy = next((each for each in reversed(self._siblings()) if _is_copy(each, part.place)), None)
        if copy is not None:
            self._read_whole(copy, part.place)
        elif part.unread:
            self._report_lost(part.place)

    def _report_lost(self, place: Place) -> None:
        self.report(
            f"{self._path} was replaced, and no file beside it ({self._path.name}.1, …) begins as it did:"
            f" rows that it had after line {place.line} are lost if they were not read before"
        )

    def _siblings(self) -> list[Path]:
        """Return the files beside the followed one whose names begin with its name, oldest first."""
        names = glob.escape(self._path.name)
        found = [
            (each.stat().st_mtime_ns, each) for each in self._path.parent.glob(f"{names}?*") if each.is_file()
        ]
        return [each for _, each in sorted(found)]

    def _read_whole(self, path: Path, place: Place) -> None:
        """Read a file that does not grow any more, from a place to its end. It may be compressed."""
        with path.open("rb") as file, ByteStream(str(path)) as stream:
            pass_over(stream, place.offset)
            part = _OneFile(self, file, place, path)
            while data := stream.read():
                part.feed(data)
            part.end_of_file()

    # -------------------------------------------------------------------------------------------- rows

    def take(self, rows: Rows) -> None:
        """Send rows, in order, that were not learned before."""
        self._row += len(rows)
        if self._resumed:
            self._sender.add(rows)
            return
        surely_known = 0 if self._doubtful else max(self._sender.rows - (self._row - len(rows)), 0)
        if surely_known < len(rows):
            self._candidates.append(rows.sliced(surely_known))
            if sum(map(len, self._candidates)) >= BLOCK + self._before_candidates():
                self._compare()

    def _before_candidates(self) -> int:
        """Return how many of the candidates surely are learned, if they are of the learned file."""
        return 0 if self._doubtful is None else self._sender.rows - self._doubtful.rows

    def settle(self, at_the_end: bool) -> int | None:
        """Send what was read. Return the number of the next row; ``None`` if it is not clear yet.

        ``at_the_end``: no further rows are there now.
        """
        if self._candidates and at_the_end:
            self._compare()
        self._sender.flush()
        return self._row if self._resumed else None

    def _compare(self) -> None:
        """Find out which of the candidates are learned, and send the others."""
        rows, before = Rows.joined(self._candidates), self._before_candidates()
        try:
            found = before + self._sender.resume(rows.sliced(before, before + BLOCK))
        except Changed:
            if self._doubtful is None:
                raise
            self._report_lost(self._doubtful)
            self._sender.skip_all()
            self._row, found = self._sender.rows + len(rows), 0
        self._candidates, self._resumed = [], True
        if found < len(rows):
            self._sender.add(rows.sliced(found))

    def _require_resumed(self) -> None:
        if not self._resumed and self._doubtful is None:
            raise Changed(
                f"{self._path}: more than {self._sender.rows:,} rows of it are learned, and it has"
                f" {self._row:,}: where they end is not known, because the state file is missing or older. To"
                " send the file from its beginning, give a --source NAME",
                file=str(self._path),
            )

    def save(self, place: Place) -> None:
        """Save a place, before which all rows are acknowledged."""
        self._state.save(place)


class _OneFile:
    """One file from a place on: cuts it into parts of whole rows, and saves the place after each.

    ``path``: that of a file that does not grow, and may be compressed; its bytes are fed from the place on.
    """

    def __init__(self, follower: Follower, file: BinaryIO, place: Place, path: Path | None = None) -> None:
        self._follower, self._file = follower, file
        self._table = follower.new_table()
        self._checked = False
        self._reported = 0
        self.place = place
        self.unread = 0
        """Bytes of an incomplete row."""
        self._head = b""
        if place.offset:
            if path is None:
                begin = os.pread(file.fileno(), min(place.offset, BEGIN_BYTES), 0)
            else:
                with ByteStream(str(path)) as stream:
                    begin = read_exactly(stream, min(place.offset, BEGIN_BYTES))
            self._read_names(begin)
            self._table.continue_after(place.line)
            self._head = begin[:HEAD_BYTES]
        if path is None:
            file.seek(place.offset)
        self._cutter = self._table.cutter(LONGEST_ROW)

    def _read_names(self, begin: bytes) -> None:
        """Read the first rows of the file again, for the names of its columns and the form of its times."""
        cutter = self._table.cutter(LONGEST_ROW)
        cutter.feed(begin)
        while (part := cutter.full() or cutter.complete()) is not None:
            if self._table.read_until_bad(part)[0] is not None:
                break
        self._table.skipped.clear()

    def feed(self, data: bytes) -> None:
        """Add bytes of the file, and take its full parts."""
        self.unread += len(data)
        self._cutter.feed(data)
        while (part := self._cutter.full()) is not None:
            self._take(part, at_the_end=False)

    def end_of_data(self) -> None:
        """Take the complete rows so far."""
        self._take(self._cutter.complete() or b"", at_the_end=True)

    def end_of_file(self) -> None:
        """Take the rest, of which the last row may have no end of line."""
        self._take(self._cutter.rest() or b"", at_the_end=True)

    def is_replaced(self) -> bool:
        """Whether the file was truncated, or has another beginning than before."""
        size = os.fstat(self._file.fileno()).st_size
        return size < self.place.offset + self.unread or not begins_as(self._file, self.place)

    def _take(self, part: bytes, at_the_end: bool) -> None:
        follower, table = self._follower, self._table
        rows, problem = table.read_until_bad(part) if part else (None, None)
        if rows is not None:
            if not self._checked:
                follower.check(table)
                self._checked = True
            if not self.place.head_bytes:  # before the first rows are sent, so that their file can be found
                self._save(part, 0, self.place.rows)
            follower.take(rows)
        for each in table.skipped[self._reported :]:
            follower.report(f"skipped {each.message}")
        self._reported = len(table.skipped)
        table.lines.discard_before(len(table.lines))
        row = follower.settle(at_the_end or problem is not None)
        if problem is not None:
            raise problem
        if not part:
            return
        self.unread -= len(part)
        self._head = (self._head + part)[:HEAD_BYTES]
        self._save(self._head, self.place.offset + len(part), row)

    def _save(self, head: bytes, offset: int, row: int | None) -> None:
        """Save the place at ``offset``, unless the number of its row is not clear yet."""
        stat, head = os.fstat(self._file.fileno()), head[:HEAD_BYTES]
        line = self._table.lines_read if offset else 0
        self.place = Place(
            self.place.rows if row is None else row,
            offset,
            line,
            stat.st_dev,
            stat.st_ino,
            len(head),
            _digest(head),
        )
        if row is not None:
            self._follower.save(self.place)


def begins_as(file: BinaryIO, place: Place) -> bool:
    """Whether a file still begins as the one of ``place``."""
    return not place.head_bytes or _digest(os.pread(file.fileno(), place.head_bytes, 0)) == place.head


def _is_copy(path: Path, place: Place) -> bool:
    """Whether a file is the one of ``place``, renamed, copied or compressed."""
    try:
        with ByteStream(str(path)) as stream:
            return place.head_bytes > 0 and _digest(read_exactly(stream, place.head_bytes)) == place.head
    except (BadData, OSError):
        return False


def _digest(head: bytes) -> str:
    return hashlib.sha256(head).hexdigest()


def read_exactly(stream: ByteStream, count: int) -> bytes:
    """Read ``count`` bytes; fewer at the end."""
    return b"".join(_pieces(stream, count))


def pass_over(stream: ByteStream, count: int) -> None:
    """Read ``count`` bytes, and forget them."""
    for _ in _pieces(stream, count):
        pass


def _pieces(stream: ByteStream, count: int) -> Iterator[bytes]:
    while count > 0 and (data := stream.read(min(count, PIECE))):
        count -= len(data)
        yield data
