"""Requests that are to see what was accepted before them wait until their model has learned it."""

from __future__ import annotations

from collections.abc import Callable

from streamlearn.shard import Entry

Do = Callable[[Entry | None], None]  # told None when the model was deleted meanwhile


class WhenLearned:
    def __init__(self) -> None:
        self._waiting: dict[Entry, list[tuple[int, Do]]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def wait(self, entry: Entry, lsn: int, do: Do) -> None:
        """Call `do(entry)` between two records, once `lsn` is learned: at once if it is."""
        if entry.applied_lsn >= lsn and entry.between_records:
            do(entry)
        else:
            self._waiting.setdefault(entry, []).append((lsn, do))

    def between_slices(self, entry: Entry) -> None:
        """A slice of the model has ended."""
        waiting = self._waiting.get(entry)
        if waiting is None or not entry.between_records:
            return
        ready = [do for lsn, do in waiting if lsn <= entry.applied_lsn]
        later = [each for each in waiting if each[0] > entry.applied_lsn]
        if later:
            self._waiting[entry] = later
        else:
            del self._waiting[entry]
        for do in ready:
            do(entry)

    def deleted(self, entry: Entry) -> None:
        """The model is gone, and what it had not learned with it."""
        for _, do in self._waiting.pop(entry, []):
            do(None)
