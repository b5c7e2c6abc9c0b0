"""Queries, answered from the model's state between two slices of learning (R6).

A short query is answered at once, from the live model. A long query would delay every other request, every
ack and all learning, so a worker answers it from a copy of the model. The measured pace of earlier queries
decides. A query runs inline if copying the model costs more than answering, as for a few samples of a very
large model.

Long queries are answered one at a time, in the order of their arrival.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from numpy.typing import NDArray

from streamlearn.daemon.context import Context
from streamlearn.daemon.limits.model_memory import state_bytes
from streamlearn.daemon.metrics import ModelMetrics
from streamlearn.daemon.network.replies import ADVICE, SMALL_BYTES, ReplyAddress
from streamlearn.daemon.runtime import Runtime
from streamlearn.errors import Busy, ShuttingDown
from streamlearn.shard import HostedModel

if TYPE_CHECKING:
    from streamlearn.models.base import Model

INLINE_ROWS = 8  # fewer rows always run inline: the call costs more than they do
COPY_NS_PER_BYTE = 0.5  # of state: the cost of a copy, into memory that was never used before
NS_PER_MULTIPLY_ADD = 0.2  # of a row's largest cost, see `models/row_cost.py`
INLINE_WORST_NS = 10_000_000  # a query that may take longer runs on the worker, whatever the pace was so far
READ_NS_PER_BYTE = 0.03  # of state: the assumed cost of a row before any measurement, as if it reads it once
MAX_QUEUED_NS = 10_000_000_000  # expected work of all queued long queries
REPLICA_IDLE_SECONDS = 10.0  # after this time without a long query, the worker's model is freed
SHUTDOWN_SECONDS = 5.0  # how long a shutdown waits for the running long query

READ_NS_PER_VALUE = 50  # of a part of a model that is read
READ_NS = 50_000  # of a read without values

Arrays = Mapping[str, NDArray[Any]]
StateKey = tuple[HostedModel, int, int]  # two different states never have the same key


class Query(NamedTuple):
    """`evaluate` computes the answer from a model: arrays, or arrays and further fields of the reply.

    `rows` counts samples, or steps of a forecast. `input_bytes` and `output_bytes` are the sizes of the
    query's arrays and of the answer's, which is known before it is computed. A query without rows has the
    number of `values` that it handles instead. `advice` says what to do if the answer is too large.
    """

    reply_to: ReplyAddress
    rows: int
    evaluate: Callable[[Model], Arrays | tuple[Arrays, Mapping[str, Any]]]
    input_bytes: int = 0
    output_bytes: int = 0
    values: int = 0
    advice: str = ADVICE

    @property
    def bytes(self) -> int:
        """The memory of the query and its answer."""
        return self.input_bytes + self.output_bytes

    def expected_ns(self, hosted: HostedModel) -> float:
        """The time that the query is expected to take."""
        if self.values:
            return READ_NS + READ_NS_PER_VALUE * self.values
        return self.rows * hosted.nanoseconds_per_query_row


class _StateCopy:
    """A model's state between two slices, and the fields of replies that are computed from it."""

    def __init__(self, hosted: HostedModel) -> None:
        self.hosted = hosted
        self.key = _state_key(hosted)
        self.state = hosted.model.copy_state()
        self.fields = _reply_fields(hosted)
        self.bytes = state_bytes(hosted.model)


class _Job(NamedTuple):
    query: Query
    copy: _StateCopy
    counters: ModelMetrics
    began: int  # ns


class _Replica:
    """A model object that takes over one state copy after another. Used by the query worker only."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._model: Model | None = None
        self._key: StateKey | None = None

    def evaluate(self, query: Query, copy: _StateCopy) -> tuple[Arrays, Mapping[str, Any], int]:
        """Return the answer and its CPU time on this thread in ns, which other load does not change."""
        model = self._load(copy)
        began = self._runtime.cpu_ns()
        return *_answer(query, model), self._runtime.cpu_ns() - began

    def free(self) -> None:
        """Release the model's memory."""
        self._model = self._key = None

    def _load(self, copy: _StateCopy) -> Model:
        hosted = copy.hosted
        if self._model is None or self._key is None or self._key[0] is not hosted:
            self.free()
            self._model = type(hosted.model).from_spec(hosted.model.spec_dict())
        if self._key != copy.key:
            self._model.replace_state(copy.state)
            self._key = copy.key
        return self._model


class Queries:
    """Run queries inline or on the query worker. All methods are called on the loop's thread.

    Parameters
    ----------
    context
        The daemon's collaborators.
    inline_ns
        A query that is expected to take longer than this is long.
    """

    def __init__(self, context: Context, inline_ns: int) -> None:
        self._context = context
        self._inline_ns = inline_ns
        self._jobs: deque[_Job] = deque()  # long queries; the first one is running
        self._replica = _Replica(context.runtime)
        self._replica_bytes = 0  # of the worker's model
        self._counted_bytes = 0  # of all queries, in the account
        self._account = context.budget.queries
        self._last_busy = 0.0
        self._give_up_at: float | None = None  # set by a shutdown

    @property
    def idle(self) -> bool:
        """Whether every query is answered."""
        return not self._jobs

    def run(self, hosted: HostedModel, query: Query) -> None:
        """Answer the query now, or queue it for the worker.

        Raises
        ------
        Busy
            If too many long queries are queued.
        StreamlearnError
            As raised by an inline query.
        """
        began = self._context.runtime.steady_ns()
        counters = self._context.metrics.model(hosted.name)
        if query.output_bytes > SMALL_BYTES:
            self._context.replies.check(query.reply_to, query.output_bytes, query.advice)
        self._account.check(query.bytes, "this query", query.advice)
        if self._is_long(hosted, query):
            self._enqueue(hosted, query, counters, began)
            return
        arrays, fields = _answer(query, hosted.model)
        self._context.replies.ok(query.reply_to, {**fields, **_reply_fields(hosted)}, arrays)
        nanoseconds = self._record_query(counters, began)
        if query.rows >= INLINE_ROWS:
            hosted.record_query_pace(query.rows, nanoseconds)

    def collect(self) -> None:
        """Send the answers that the worker has finished."""
        self._context.query_worker.collect()

    def tick(self, now: float) -> None:
        """Free the worker's model after a time without long queries. `now`: seconds of a steady clock."""
        if self._context.query_worker.busy:
            self._last_busy = now
        elif now >= self._last_busy + REPLICA_IDLE_SECONDS:
            self._replica.free()
            self._replica_bytes = 0
            self._count_memory()

    def shut_down(self, now: float) -> None:
        """Refuse the queued queries; after `SHUTDOWN_SECONDS` refuse the running one too."""
        if self._give_up_at is None:
            self._give_up_at = now + SHUTDOWN_SECONDS
        remaining = 1 if now < self._give_up_at else 0
        while len(self._jobs) > remaining:
            reply_to = self._jobs.pop().query.reply_to
            self._context.replies.error(
                reply_to, ShuttingDown("the daemon is shutting down; send this query again after its restart")
            )

    def close(self) -> None:
        """End the worker. A query that still runs ends with the process."""
        self._context.query_worker.stop(wait=not self._context.query_worker.busy)

    def _is_long(self, hosted: HostedModel, query: Query) -> bool:
        rows = query.rows
        worst = rows * hosted.query_cost * NS_PER_MULTIPLY_ADD
        if not query.values and rows < INLINE_ROWS and worst <= INLINE_WORST_NS:
            return False  # the usual case
        size = state_bytes(hosted.model)
        if query.values:
            return query.expected_ns(hosted) > max(self._inline_ns, COPY_NS_PER_BYTE * size)
        if worst > INLINE_WORST_NS and worst > COPY_NS_PER_BYTE * size:
            return True
        if rows < INLINE_ROWS:
            return False
        if not hosted.nanoseconds_per_query_row:
            hosted.nanoseconds_per_query_row = READ_NS_PER_BYTE * size
        expected = query.expected_ns(hosted)
        return expected > self._inline_ns and expected > COPY_NS_PER_BYTE * size

    def _enqueue(self, hosted: HostedModel, query: Query, counters: ModelMetrics, began: int) -> None:
        copy = self._jobs[-1].copy if self._jobs else None
        if copy is not None and copy.key != _state_key(hosted):
            copy = None  # the state has changed, so the last copy cannot be shared
        if self._jobs and self._queued_ns() > MAX_QUEUED_NS:
            raise Busy(
                f"{len(self._jobs)} long queries are queued; send this query again later, or {query.advice}",
                limit="queued work",
                waiting=len(self._jobs),
            )
        state = state_bytes(hosted.model)
        # The worker's model stays in memory for a while, and is then replaced by this one.
        more = query.bytes + (state if copy is None else 0) + max(state - self._replica_bytes, 0)
        self._account.check(more, "this query", query.advice)
        if copy is None:
            copy = _StateCopy(hosted)
        self._jobs.append(_Job(query, copy, counters, began))
        self._replica_bytes = max(self._replica_bytes, state)
        self._count_memory()
        if len(self._jobs) == 1:
            self._start_next()

    def _queued_ns(self) -> float:
        """Expected work of all queued queries, in ns."""
        return sum(job.query.expected_ns(job.copy.hosted) for job in self._jobs)

    def _count_memory(self) -> None:
        """Count the memory of all queued queries, of their copies, and of the worker's model."""
        copies = {job.copy for job in self._jobs}
        size = self._replica_bytes + sum(job.query.bytes for job in self._jobs)
        size += sum(copy.bytes for copy in copies)
        self._account.release(self._counted_bytes)  # others use the account too
        self._account.add(size)
        self._counted_bytes = size

    def _start_next(self) -> None:
        job = self._jobs[0]
        self._context.query_worker.submit(
            partial(self._replica.evaluate, job.query, job.copy), partial(self._finish, job)
        )

    def _finish(
        self, job: _Job, answer: tuple[Arrays, Mapping[str, Any], int] | None, error: Exception | None
    ) -> None:
        if not self._jobs or self._jobs[0] is not job:
            return  # a shutdown has refused it meanwhile
        self._jobs.popleft()
        self._count_memory()
        if self._jobs:
            self._start_next()
        if error is not None:
            self._context.replies.exception(job.query.reply_to, error)
            return
        assert answer is not None
        arrays, fields, nanoseconds = answer
        if job.query.rows:
            job.copy.hosted.record_query_pace(job.query.rows, nanoseconds)
        self._context.replies.ok(job.query.reply_to, {**fields, **job.copy.fields}, arrays)
        self._record_query(job.counters, job.began)

    def _record_query(self, counters: ModelMetrics, began: int) -> int:
        """Count a query; return how many nanoseconds it took."""
        nanoseconds = self._context.runtime.steady_ns() - began
        counters.queries += 1
        self._context.metrics.query_seconds.add(nanoseconds)
        return nanoseconds


def _answer(query: Query, model: Model) -> tuple[Arrays, Mapping[str, Any]]:
    """Return the arrays and the further fields of an answer."""
    answer = query.evaluate(model)
    return answer if isinstance(answer, tuple) else (answer, {})


def _state_key(hosted: HostedModel) -> StateKey:
    """Every slice increases `learned`, and every other change is a record with its own lsn."""
    return hosted, hosted.applied_lsn, hosted.learned


def _reply_fields(hosted: HostedModel) -> dict[str, int]:
    """The state that an answer was computed from."""
    return {"applied_lsn": hosted.applied_lsn, "samples": hosted.model.samples}
