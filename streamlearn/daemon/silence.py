"""Streams that are silent: no sample for longer than usual, by the daemon's clock.

Each stream (a model, or a key of a model) keeps the longest interval between its samples. The longest
interval is forgotten slowly: by one second in 18 hours. A stream is silent when its last sample is more than
5 seconds and more than three times its longest interval ago, after 20 intervals. Samples within one second
count as one arrival. So a stream that comes in bursts or only by day sets its own limit, and a stream that
was sent once is not judged.

An interval counts with its limit, at most: if it is the stream's new nature, the limit grows
threefold each time. Nothing here is part of a model: a daemon that starts again knows no intervals yet.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SHORTEST = 5.0  # seconds; silences that are reported are longer
FACTOR = 3.0
ENOUGH = 20  # intervals
BURST = 1.0  # seconds that count as one arrival
MOST = 100_000  # streams; the least recent one is forgotten
_FORGETTING = 1.0 / 65536.0
_MOST_KEYS = 1000  # of one model that are looked for in one batch

Name = tuple[str, int | None]
"""A model and a key; None without keys."""


class Stream:
    """What is known of one stream."""

    __slots__ = ("intervals", "last", "longest", "silent", "since")

    def __init__(self, now: float) -> None:
        self.last = self.since = now  # of the last arrival; of the last one that counts
        self.intervals = 0
        self.longest = 0.0
        self.silent = False  # whether it was reported

    @property
    def limit(self) -> float:
        """Seconds after the last arrival from which on the stream is silent."""
        return max(SHORTEST, FACTOR * self.longest)

    def arrive(self, now: float) -> None:
        """Note an arrival."""
        self.last = now
        interval = now - self.since
        if interval < BURST:
            return
        if self.intervals >= ENOUGH:
            interval = min(interval, self.limit)
        self.longest = max(interval, self.longest - _FORGETTING * interval)
        self.intervals += 1
        self.since, self.silent = now, False


class Silence(NamedTuple):
    """A stream became silent, or is no longer."""

    model: str
    key: int | None
    begins: bool
    seconds: float  # since its last sample


class Silences:
    """The streams of all models. Times are seconds of a steady clock.

    Parameters
    ----------
    report
        Called with each stream that became silent, and with each that is no longer.
    """

    def __init__(self, report: Callable[[Silence], None]) -> None:
        self._report = report
        self._streams: OrderedDict[Name, Stream] = OrderedDict()  # the least recent first
        self._deadlines: list[tuple[float, str, int]] = []  # heap: time, model, key; one per judged stream
        self._waiting: set[Name] = set()  # the streams in the heap
        self._silent: dict[str, int] = {}  # silent streams by model

    def arrived(self, model: str, keys: NDArray[np.int64] | None, now: float) -> None:
        """Note the arrival of samples of a model, with these ``keys`` ``(n,)``."""
        if keys is None:
            self._arrived((model, None), now)
            return
        for key in np.unique(keys)[:_MOST_KEYS].tolist():
            self._arrived((model, key), now)

    def _arrived(self, name: Name, now: float) -> None:
        stream = self._streams.get(name)
        if stream is None:
            if len(self._streams) >= MOST:
                oldest, forgotten = self._streams.popitem(last=False)
                self._count(oldest[0], -1 if forgotten.silent else 0)
            self._streams[name] = Stream(now)
            return
        was_silent, seconds = stream.silent, now - stream.last
        stream.arrive(now)
        if was_silent:
            self._count(name[0], -1)
            self._report(Silence(*name, False, seconds))
        if stream.intervals >= ENOUGH and name not in self._waiting:
            self._waiting.add(name)
            self._streams.move_to_end(name)
            heappush(self._deadlines, (now + stream.limit, name[0], _as_integer(name[1])))

    def tick(self, now: float) -> None:
        """Report the streams that became silent."""
        while self._deadlines and self._deadlines[0][0] <= now:
            _, model, key = heappop(self._deadlines)
            name = model, None if key == _NO_KEY else key
            stream = self._streams.get(name)
            self._waiting.discard(name)
            if stream is None or stream.silent:
                continue
            deadline = stream.last + stream.limit
            self._streams.move_to_end(name)
            if deadline > now:
                self._waiting.add(name)
                heappush(self._deadlines, (deadline, model, key))
            else:
                stream.silent = True
                self._count(model, 1)
                self._report(Silence(*name, True, now - stream.last))

    def forget(self, model: str) -> None:
        """The model is deleted."""
        names = [name for name in self._streams if name[0] == model]
        for name in names:
            del self._streams[name]
            self._waiting.discard(name)
        self._silent.pop(model, None)
        self._deadlines = [entry for entry in self._deadlines if entry[1] != model]
        heapify(self._deadlines)

    def count(self, model: str) -> int:
        """Return how many streams of a model are silent."""
        return self._silent.get(model, 0)

    def __len__(self) -> int:
        return len(self._streams)

    def __iter__(self) -> Iterator[Name]:
        return iter(self._streams)

    def _count(self, model: str, change: int) -> None:
        count = self._silent.get(model, 0) + change
        if count > 0:
            self._silent[model] = count
        else:
            self._silent.pop(model, None)


_NO_KEY = 1 << 63  # no key is so large


def _as_integer(key: int | None) -> int:
    return _NO_KEY if key is None else key
