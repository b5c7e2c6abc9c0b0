"""Where the process died while it applied records, so that one bad record does not stop every later start.

The code that applies records writes its place to the lock file before each slice, and clears it afterwards.
The beginning of the file is mapped into memory where possible, so that this needs no system call. What was
written survives kill -9 and a crash of the process. So the next process sees where the last one died. The
lock file also has the suspects: the places of these deaths, until a start has passed them. A model with a
record that cannot be passed is set aside (`set_aside`).

Layout of the lock file: bytes 0–31 the process id as text; bytes 32–87 the place, all zeros if none (magic,
create lsn of the model, first lsn, first row, last lsn, rows, and the CRC-32 of all of these: a kill in the
middle of a write may leave old fields beside new ones); from byte 128 the suspects as JSON.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from time import time_ns
from zlib import crc32

from streamlearn.store.fs import Lock
from streamlearn.store.record import Place

_PLACE_AT, _SUSPECTS_AT = 32, 128
_MAGIC = b"SLPLACE1"
_PLACE = struct.Struct("<8sQQQQQ")
_CHECK = struct.Struct("<Q")
_NO_PLACE = bytes(_PLACE.size + _CHECK.size)
_MOST_BYTES = 1 << 20

MOST_SUSPECTS = 100  # the newest, and those that are set aside


@dataclass(frozen=True, slots=True)
class Suspect:
    """A place where the process died ``deaths`` times.

    If its model is set aside, it has the ``name`` of the model, and the time in ns since 1970.
    """

    create_lsn: int
    lsn: int
    row: int
    last_lsn: int
    rows: int
    deaths: int
    repeats: int = 1  # deaths at exactly this row
    name: str = ""
    set_aside: int = 0

    @property
    def place(self) -> Place:
        """The part of the journal that was being applied."""
        return Place(self.lsn, self.row, self.last_lsn, self.rows)


class DeathLog:
    """The deaths of earlier processes, and the place of this one.

    Parameters
    ----------
    lock
        The held lock of the data directory; ``None`` to record nothing.
    now
        The time in ns since 1970.
    """

    def __init__(self, lock: Lock | None, now: Callable[[], int] = time_ns) -> None:
        self._lock = lock
        self._now = now
        self.suspects: list[Suspect] = []
        self.last: Suspect | None = None
        """Where the last process died; ``None`` if it did not die while it applied a record."""
        if lock is None:
            return
        self.suspects = read_suspects(lock.read(_MOST_BYTES, 0))
        found = _read_place(lock)
        if found is not None:
            self._count(*found)
            self._write()
            self.leave()

    def _count(self, create_lsn: int, place: Place) -> None:
        """Add a death. It narrows the place of an earlier death that has a record in common with it."""
        deaths = repeats = 1
        for suspect in self.suspects_of(create_lsn):
            if suspect.lsn <= place.last_lsn and place.lsn <= suspect.last_lsn and not suspect.set_aside:
                deaths += suspect.deaths
                if place == suspect.place:
                    repeats += suspect.repeats
                self.suspects.remove(suspect)
        self.last = Suspect(create_lsn, *place, deaths, repeats)
        others = [suspect for suspect in self.suspects if not suspect.set_aside]
        self.suspects = [suspect for suspect in self.suspects if suspect.set_aside]
        self.suspects += [*others[1 - MOST_SUSPECTS :], self.last]

    def suspects_of(self, create_lsn: int) -> list[Suspect]:
        """Return the suspects of one model."""
        return [suspect for suspect in self.suspects if suspect.create_lsn == create_lsn]

    def enter(self, create_lsn: int, place: Place) -> None:
        """The process begins to apply this part of the journal."""
        if self._lock is not None:
            data = _PLACE.pack(_MAGIC, create_lsn, *place)
            self._lock.put(data + _CHECK.pack(crc32(data)), _PLACE_AT)

    def leave(self) -> None:
        """The process has applied it."""
        if self._lock is not None:
            self._lock.put(_NO_PLACE, _PLACE_AT)

    def set_aside(self, suspect: Suspect, name: str) -> Suspect:
        """Set the model of a suspect aside, durably."""
        aside = replace(suspect, name=name, set_aside=self._now())
        self.suspects = [each for each in self.suspects if each != suspect] + [aside]
        self._write()
        return aside

    def keep(self, suspects: Sequence[Suspect]) -> None:
        """Forget all other suspects, durably."""
        if len(suspects) < len(self.suspects):
            self.suspects = list(suspects)
            self._write()

    def _write(self) -> None:
        if self._lock is None:
            return
        data = json.dumps([asdict(suspect) for suspect in self.suspects]).encode()
        with suppress(OSError):
            self._lock.write(data, _SUSPECTS_AT)
            self._lock.cut(_SUSPECTS_AT + len(data))
            self._lock.sync()


def _read_place(lock: Lock) -> tuple[int, Place] | None:
    data = lock.read(len(_NO_PLACE), _PLACE_AT)
    if len(data) < len(_NO_PLACE) or data[: len(_MAGIC)] != _MAGIC:
        return None
    place = data[: _PLACE.size]
    if _CHECK.pack(crc32(place)) != data[_PLACE.size :]:
        return None
    _, create_lsn, *fields = _PLACE.unpack(place)
    return create_lsn, Place(*fields)


def read_suspects(data: bytes) -> list[Suspect]:
    """Return the suspects in a lock file's content.

    None if a power cut has damaged the list, since it can be found out again.
    """
    try:
        return [Suspect(**each) for each in json.loads(data[_SUSPECTS_AT:])]
    except (ValueError, TypeError):
        return []
