"""What models say when asked, as they stand between two slices of learning (R6).

A short query is answered at once, from the live model. A long one would hold up every other request, every
ack and all learning; it is answered by a thread of its own from a copy of the model, and the loop goes on
meanwhile. Which it is, the pace of earlier queries tells. Where copying would take longer than answering,
as for a few samples by a very large model, the query counts as short: the loop is held by whichever is less.

Long queries are answered in the order in which they came, one at a time.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from numpy.typing import NDArray

from streamlearn.daemon.metrics import Metrics, ModelMetrics
from streamlearn.daemon.replies import Asker, Replies
from streamlearn.daemon.wakeup import Helper
from streamlearn.errors import Busy, ShuttingDown
from streamlearn.models.base import Model
from streamlearn.shard import Entry

FEW = 8  # rows; fewer are always short: the call costs more, or a row so much that a slice of learning does
COPY_NS = 0.5  # per byte of a model's state: what a copy costs the loop, in memory never used before
READ_NS = 0.03  # likewise: what a row is expected to cost at first, as if it read the state once
MOST_NS = 10_000_000_000  # of work before a long query that is still taken
MOST_BYTES = 256 << 20  # of samples and copies, of all that are taken; a single one may be larger
IDLE_SECONDS = 10.0  # after so long without a long query, the thread's model is let go
LAST_SECONDS = 5.0  # how long a daemon that is to end waits for the one that is being answered

Arrays = Mapping[str, NDArray[Any]]
Key = tuple[Entry, int, int]  # of a state: no two that differ have the same


class Query(NamedTuple):
    """``say`` asks a model about ``rows`` samples, or for as many steps; ``bytes`` are its arrays'."""

    asker: Asker
    rows: int
    say: Callable[[Model], Arrays]
    bytes: int = 0


class _Copy:
    """A model's state between two slices."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.key = _key(entry)
        self.state = entry.model.copy_state()
        self.ok = _ok(entry)
        self.bytes = _bytes(entry.model)


class _Job(NamedTuple):
    query: Query
    copy: _Copy
    counters: ModelMetrics
    began: int  # ns


class _StandIn:
    """The model that long queries are put to: it takes over one copy after another. Used by one thread."""

    def __init__(self) -> None:
        self._model: Model | None = None
        self._key: Key | None = None

    def answer(self, query: Query, copy: _Copy) -> tuple[Arrays, int]:
        """What is said, and how many ns of this thread's own time that took, however busy the machine is."""
        model = self._as(copy)
        began = time.thread_time_ns()
        return query.say(model), time.thread_time_ns() - began

    def forget(self) -> None:
        """Let the memory go."""
        self._model = self._key = None

    def _as(self, copy: _Copy) -> Model:
        entry = copy.entry
        if self._model is None or self._key is None or self._key[0] is not entry:
            self.forget()
            self._model = type(entry.model).from_spec(entry.model.spec_dict())
        if self._key != copy.key:
            self._model.adopt(copy.state)
            self._key = copy.key
        return self._model


class Queries:
    """All of this runs on the loop's thread but for what the helper is given."""

    def __init__(self, helper: Helper, replies: Replies, metrics: Metrics, longest_ns: int) -> None:
        """``longest_ns``: what is expected to take longer is a long query."""
        self._helper = helper
        self._replies = replies
        self._metrics = metrics
        self._longest_ns = longest_ns
        self._jobs: deque[_Job] = deque()  # long queries; the first is being answered
        self._stand_in = _StandIn()
        self._idle_since = 0.0
        self._last_at: float | None = None  # when a daemon that is to end waits no longer

    @property
    def idle(self) -> bool:
        """Whether every query is answered."""
        return not self._jobs

    def ask(self, entry: Entry, query: Query) -> None:
        """Answer now, or by and by. Raises what refuses the query at once, `Busy` among it."""
        began = time.perf_counter_ns()
        counters = self._metrics.model(entry.name)
        if self._is_long(entry, query.rows):
            self._take(entry, query, counters, began)
            return
        arrays = query.say(entry.model)
        self._replies.ok(query.asker, _ok(entry), arrays)
        took = self._answered(counters, began)
        if query.rows >= FEW:
            entry.answered(query.rows, took)

    def collect(self) -> None:
        """Send the answers that are there."""
        self._helper.collect()

    def tick(self, now: float) -> None:
        """Some time has passed. ``now`` is in seconds, of any steady clock."""
        if self._helper.busy:
            self._idle_since = now
        elif now >= self._idle_since + IDLE_SECONDS:
            self._stand_in.forget()

    def finish(self, now: float) -> None:
        """The daemon is to end: refuse what waits, and in the end also what is still being answered."""
        if self._last_at is None:
            self._last_at = now + LAST_SECONDS
        kept = 1 if now < self._last_at else 0
        while len(self._jobs) > kept:
            asker = self._jobs.pop().query.asker
            self._replies.error(asker, ShuttingDown("the daemon is shutting down; ask again when it is back"))

    def close(self) -> None:
        """End the thread. One that has not come to an end by now ends with the process."""
        self._helper.stop(wait=not self._helper.busy)

    def _is_long(self, entry: Entry, rows: int) -> bool:
        if rows < FEW:
            return False
        model = entry.model
        if not entry.nanoseconds_per_answer:
            entry.nanoseconds_per_answer = READ_NS * _bytes(model)
        expected = rows * entry.nanoseconds_per_answer
        return expected > self._longest_ns and expected > COPY_NS * _bytes(model)

    def _take(self, entry: Entry, query: Query, counters: ModelMetrics, began: int) -> None:
        copy = self._jobs[-1].copy if self._jobs else None
        if copy is not None and copy.key != _key(entry):
            copy = None  # else the state is the same still, and one copy does for both
        more = query.bytes + (_bytes(entry.model) if copy is None else 0)
        if self._jobs and (self._work() > MOST_NS or self._held() + more > MOST_BYTES):
            raise Busy(
                f"{len(self._jobs)} long queries wait for their answers already; ask again later, or about "
                "fewer samples or steps at a time",
                waiting=len(self._jobs),
            )
        if copy is None:
            copy = _Copy(entry)
        self._jobs.append(_Job(query, copy, counters, began))
        if len(self._jobs) == 1:
            self._start()

    def _work(self) -> float:
        """How many nanoseconds the long queries are expected to take."""
        return sum(job.query.rows * job.copy.entry.nanoseconds_per_answer for job in self._jobs)

    def _held(self) -> int:
        """Bytes of what long queries hold on to."""
        copies = {job.copy for job in self._jobs}
        return sum(job.query.bytes for job in self._jobs) + sum(copy.bytes for copy in copies)

    def _start(self) -> None:
        job = self._jobs[0]
        self._helper.submit(partial(self._stand_in.answer, job.query, job.copy), partial(self._done, job))

    def _done(self, job: _Job, said: tuple[Arrays, int] | None, error: Exception | None) -> None:
        if not self._jobs or self._jobs[0] is not job:
            return  # refused meanwhile, for the daemon is to end
        self._jobs.popleft()
        if self._jobs:
            self._start()
        if error is not None:
            self._replies.failed(job.query.asker, error)
            return
        assert said is not None
        arrays, took = said
        job.copy.entry.answered(job.query.rows, took)
        self._replies.ok(job.query.asker, job.copy.ok, arrays)
        self._answered(job.counters, job.began)

    def _answered(self, counters: ModelMetrics, began: int) -> int:
        """Count it; returns how many nanoseconds it took."""
        took = time.perf_counter_ns() - began
        counters.queries += 1
        self._metrics.query_seconds.add(took)
        return took


def _key(entry: Entry) -> Key:
    """Every slice adds to what is learned, and every other change is a record."""
    return entry, entry.applied_lsn, entry.learned


def _ok(entry: Entry) -> dict[str, int]:
    """Which state it is that the answer is from."""
    return {"applied_lsn": entry.applied_lsn, "samples": entry.model.samples}


def _bytes(model: Model) -> int:
    return sum(array.nbytes for array in model.state.values())
