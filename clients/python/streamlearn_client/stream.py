"""A stream of samples to a model. The model learns each sample exactly once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

import numpy as np

from streamlearn_client import open_streams
from streamlearn_client.errors import BadShape, NoAnswer, StreamlearnError, StreamLost
from streamlearn_client.keys import ClientKeys
from streamlearn_client.protocol import (
    IdentifiersLike,
    Learn,
    PrecisionMonitor,
    SamplesLike,
    TimesLike,
    as_batch,
    as_float32,
    check_channels,
    named_samples,
)
from streamlearn_client.protocol.samples import F4
from streamlearn_client.protocol.times import TIME, is_nanoseconds
from streamlearn_client.results import Ack
from streamlearn_client.stream_config import INFINITY, NARROW, StreamConfig, refuse_infinities
from streamlearn_client.stream_sender import StreamSender
from streamlearn_client.timeouts import DEFAULT, Deadline, Default, check_timeout

__all__ = ["Stream"]

EXCEPTION_FLUSH_TIMEOUT: Final = 2.0
"""Seconds for the flush when an exception leaves the ``with`` block."""


class Stream:
    """A buffered stream of samples to one model, created by `Client.stream`.

    The stream collects samples into batches, sends them, and keeps each batch until the daemon acknowledges
    it. A batch is sent when it has ``batch`` samples, or when its first sample is ``interval`` seconds old.
    Up to ``window`` batches are sent without an acknowledgement. `push` waits for at most ``timeout`` seconds
    while ``(window + 1) × batch`` samples are not acknowledged.

    After a restart of the daemon, a retryable refusal or a network failure, the stream sends all
    unacknowledged batches again, in order. Batches are numbered, so the daemon learns each one once.

    Leaving the ``with`` block calls `close`, which waits for the acknowledgements. If an exception leaves the
    block, the stream waits for at most 2 seconds, discards the samples that are still unacknowledged, and
    adds a note with their number to the exception. A stream that is still open when the program ends is
    flushed for at most 5 seconds, and a message on standard error reports what was not acknowledged.

    After a failure that a resend can't repair, every method raises ``StreamLost``. Threads may share a
    stream; their samples are then interleaved. A newer stream with the same producer name ends this one.

    Examples
    --------
    >>> with client.stream("pump", batch=64) as stream:  # doctest: +SKIP
    ...     for sample in samples:
    ...         stream.push(sample)
    """

    def __init__(
        self,
        config: StreamConfig,
        endpoint: str,
        *,
        batch: int,
        interval: float | None,
        window: int,
        timeout: float | None,
        connection_keys: ClientKeys | None = None,
    ) -> None:
        self.model = config.model
        self.producer = config.producer
        self._timeout = check_timeout(timeout)
        self._config = config
        self._plain_shape = (config.dim,) if config.accepts_plain_samples else None
        self._is_narrow = config.dim <= NARROW
        self._precision = PrecisionMonitor(f"{config.model!r}")
        self._sender = StreamSender(
            config,
            endpoint,
            batch=batch,
            interval=check_timeout(interval, "interval", zero=True),
            window=window,
            connection_keys=connection_keys,
        )
        self._try_add_sample = self._sender.try_add_sample
        open_streams.add(self)

    # ------------------------------------------------------------------------------------------- counters

    @property
    def epoch(self) -> int:
        """The epoch of the stream's batches. It grows if the daemon forgets the producer."""
        return self._sender.window.epoch

    @property
    def pushed(self) -> int:
        """Number of samples that the stream accepted. After an interrupted `push` it shows what happened."""
        return self._sender.added

    @property
    def acknowledged(self) -> int:
        """Number of samples that the daemon has acknowledged at this stream's ack level."""
        return self._sender.window.acknowledged

    @property
    def pending(self) -> int:
        """Number of samples that were pushed and are not acknowledged yet."""
        return self._sender.pending

    @property
    def resent(self) -> int:
        """Number of batches that were sent again, counted once per resend."""
        return self._sender.window.resent

    @property
    def matched(self) -> int:
        """Number of acknowledged late targets that had a waiting sample, as far as the acks report it."""
        return self._sender.window.matched

    @property
    def unmatched(self) -> int:
        """Number of acknowledged late targets without a waiting sample, as far as the acks report it."""
        return self._sender.window.unmatched

    @property
    def last_ack(self) -> Ack | None:
        """The newest acknowledgement; ``None`` before the first."""
        return self._sender.window.last_ack

    # -------------------------------------------------------------------------------------------- pushing

    def push(
        self,
        sample: SamplesLike,
        y: SamplesLike | None = None,
        *,
        keys: IdentifiersLike | None = None,
        ids: IdentifiersLike | None = None,
        times: TimesLike | None = None,
    ) -> None:
        """Add one sample to the stream.

        Parameters
        ----------
        sample : array_like, (dim,), or dict of numbers
            The sample. NaN and ``None`` are missing values. The keys of a dict must be the model's
            ``channels``, in their order.
        y : array_like, (targets,), optional
            The targets of the sample. Names of labels, for models with ``labels``.
        keys : int or str, optional
            The key of the sample, for models that need keys.
        ids : int or str, optional
            The id of the sample, for targets that come later.
        times : int, float, datetime or datetime64, optional
            The time of the sample: nanoseconds (int) or seconds (float) since 1970, or a date. By default the
            time of its arrival at the daemon.

        Raises
        ------
        BadShape, BadDtype, BadValue
            If the model does not accept the sample.
        NoAnswer
            If the window stayed full for the stream's timeout. The sample was not added; push it again.
        StreamLost
            If the stream has failed or is closed.
        """
        if not self._try_push(sample, y, keys, ids, times):
            self._enqueue(self._single_sample(sample, y, keys, ids, times))

    def push_many(
        self,
        batch: SamplesLike,
        ys: SamplesLike | None = None,
        *,
        keys: IdentifiersLike | None = None,
        ids: IdentifiersLike | None = None,
        times: TimesLike | None = None,
    ) -> None:
        """Add samples to the stream, in order. The arrays are copied.

        Up to ``(window + 1) × batch`` samples are added together or not at all. More are added in parts.

        Parameters
        ----------
        batch : array_like, (n, dim), data frame, Arrow table, or dict of columns
            The samples. NaN and ``None`` are missing values. Names of columns must be the model's
            ``channels``, in their order.
        ys : array_like, (n, targets) or (n,), optional
            The targets of the samples. Names of labels, for models with ``labels``.
        keys : int, str or array_like, (n,), optional
            The keys of the samples, or one key for all, for models that need keys.
        ids : int, str or array_like, (n,), optional
            The ids of the samples, for targets that come later.
        times : array_like, (n,), or str, optional
            The times of the samples, or one for all: ``datetime64``, datetimes with a time zone, nanoseconds
            (int) or seconds (float) since 1970. Text is the name of their column in a data frame, table or
            dict. By default an index of dates, else the time of arrival at the daemon.

        Raises
        ------
        BadShape, BadDtype, BadValue
            If the model does not accept the samples. No sample was added.
        NoAnswer
            If the window stayed full for the stream's timeout. The first ``error.detail["taken"]`` samples
            were added.
        StreamLost
            If the stream has failed or is closed.
        """
        rows = self._many_samples(batch, ys, keys, ids, times)
        if rows is not None:
            self._enqueue(rows)

    def push_targets(
        self, ids: IdentifiersLike, y: SamplesLike, *, keys: IdentifiersLike | None = None
    ) -> None:
        """Add targets of earlier samples. The model learns them after all samples that were pushed before.

        Parameters
        ----------
        ids : int, str or array_like, (n,)
            The ids of the samples. A sample without an id has its number as its id, counted from 0.
        y : array_like, (n, targets) or (n,)
            The targets; for a single id also (targets,).
        keys : int, str or array_like, (n,), optional
            The keys of the samples, or one key for all, for models that need keys.

        Raises
        ------
        BadShape, BadDtype, BadValue
            If the model does not accept the targets. No target was added.
        NoAnswer
            If the window stayed full for the stream's timeout. The first ``error.detail["taken"]`` targets
            were added.
        StreamLost
            If the stream has failed or is closed.
        """
        self._enqueue(as_batch(self.model, None, self._config.codes(y), keys, ids))

    def _try_push(self, sample: Any, y: Any, keys: Any, ids: Any, times: Any) -> bool:
        """Add a sample of the usual form, if the stream is not full. Return whether it was added."""
        if not (
            type(sample) is np.ndarray
            and sample.dtype is F4
            and sample.shape == self._plain_shape
            and y is keys is ids is None
            and (times is None or is_nanoseconds(times))
        ):
            return False
        self._sender.owner.check()
        values = sample.tobytes()
        finite = INFINITY(values) is None if self._is_narrow else not np.count_nonzero(np.isinf(sample))
        timed = times is not None
        return finite and self._try_add_sample(values + TIME.pack(times) if timed else values, timed)

    def _single_sample(self, sample: Any, y: Any, keys: Any, ids: Any, times: Any) -> Learn:
        if not isinstance(sample, np.ndarray):
            sample, names, times = named_samples(sample, times, "a sample")
            check_channels(names, self._config.channels)
        row = sample if type(sample) is np.ndarray and sample.dtype == F4 else as_float32(sample, "a sample")
        if row.ndim != 1:
            raise BadShape(
                f"push takes one sample (dim,), not {row.shape}; for several samples use push_many"
            )
        self._precision.observe(sample, row.reshape(1, -1))
        if y is keys is ids is times is None:
            return Learn(self.model, row.reshape(1, -1))
        return as_batch(self.model, row, self._config.codes(y), keys, ids, times)

    def _many_samples(
        self,
        batch: SamplesLike,
        ys: SamplesLike | None,
        keys: IdentifiersLike | None,
        ids: IdentifiersLike | None,
        times: TimesLike | None,
    ) -> Learn | None:
        batch, names, times = named_samples(batch, times, "samples")
        check_channels(names, self._config.channels)
        rows = as_float32(batch, "samples")
        if rows.ndim != 2:
            raise BadShape(f"push_many takes samples (n, dim), not {rows.shape}; for one sample use push")
        if not len(rows):
            return None
        self._precision.observe(batch, rows)
        return as_batch(self.model, rows, self._config.codes(ys), keys, ids, times)

    def _enqueue(self, batch: Learn) -> None:
        """Add ``batch``. Wait while the stream is full."""
        parts = self._checked_parts(batch)
        if len(parts) == 1 and self._sender.try_add(parts[0]):
            return  # the usual case, without a deadline
        deadline = self._push_deadline()
        taken = 0
        for part in parts:
            try:
                self._wait_until(partial(self._sender.try_add, part), deadline)
            except NoAnswer as error:
                error.detail["taken"] = taken
                raise
            taken += part.rows

    def _checked_parts(self, batch: Learn) -> list[Learn]:
        self._sender.owner.check()
        if batch.x is not None:
            refuse_infinities(batch.x, "a sample")
        if batch.y is not None:
            refuse_infinities(batch.y, "a target")
        self._config.check(batch)
        return self._sender.parts(batch)

    # ------------------------------------------------------------------------------------ flush and close

    def flush(self, timeout: float | Default | None = DEFAULT) -> Ack | None:
        """Send all samples that were pushed before, and wait until the daemon has acknowledged them.

        Parameters
        ----------
        timeout : float or None, optional
            Seconds to wait; ``None``: no limit. By default the stream's timeout.

        Returns
        -------
        Ack or None
            The newest acknowledgement; ``None`` if no sample was pushed.

        Raises
        ------
        NoAnswer
            If the acknowledgements did not arrive in time. ``error.detail["pending"]`` samples are not
            acknowledged. The stream keeps them and continues to send them.
        StreamLost
            If the stream has failed or is closed.
        """
        deadline = self._flush_deadline(timeout)
        end = self._sender.start_flush()
        self._wait_until(partial(self._sender.is_acknowledged, end), deadline)
        return self.last_ack

    def close(self, timeout: float | Default | None = DEFAULT) -> None:
        """Flush the stream and close it.

        A closed stream is closed again without effect. If an exception (Ctrl-C) interrupts the call, the
        stream stays open.

        Parameters
        ----------
        timeout : float or None, optional
            Seconds to wait for the acknowledgements; ``None``: no limit. By default the stream's timeout.

        Raises
        ------
        StreamLost
            If the acknowledgements did not arrive in time, or the stream has failed and no method has raised
            the failure yet. The stream is closed, and ``error.detail["unacknowledged"]`` samples may be lost.
            Call `flush` before to keep them.
        """
        if self._is_closed():
            return
        reported = self._sender.failure_raised
        try:
            self.flush(timeout)
        except NoAnswer as late:
            raise self._lost(late) from late
        except StreamLost:
            self.abort()
            if not reported:
                raise
        self.abort()

    def abort(self) -> None:
        """Close the stream at once. Discard the samples that are not acknowledged.

        The daemon may learn some of them: those that were sent.
        """
        if not self._sender.owner.inherited:
            self._sender.stop()
            open_streams.discard(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            try:
                self.close()
            except StreamlearnError:
                raise
            except BaseException as interruption:
                self._discard(interruption)
                raise
        else:
            try:
                if not self._is_closed():
                    self.flush(self._exception_timeout())
            except StreamlearnError:
                pass  # the note of `_discard` reports the samples
            finally:
                self._discard(error)

    def _is_closed(self) -> bool:
        """Whether there is nothing to close in this process."""
        return self._sender.owner.inherited or self._sender.closing

    def _discard(self, error: BaseException) -> None:
        """Close the stream because of ``error``. Add a note that says how many samples may be lost."""
        discarded = 0 if self._is_closed() else self.pending
        self.abort()
        if discarded and not isinstance(error, StreamLost):
            error.add_note(
                f"{discarded} samples that were pushed to the stream to {self.model!r} are not acknowledged "
                "and may be lost"
            )

    def _lost(self, late: NoAnswer) -> StreamLost:
        """Close the stream. Return the error for the samples that were not acknowledged in time."""
        pending = self.pending
        self.abort()
        return StreamLost(late.message, unacknowledged=pending, **late.detail)

    def _exception_timeout(self) -> float:
        return min(EXCEPTION_FLUSH_TIMEOUT, self._timeout)

    def _push_deadline(self) -> Deadline:
        return Deadline(self._timeout)

    def _flush_deadline(self, timeout: float | Default | None) -> Deadline:
        return Deadline(self._timeout if timeout is DEFAULT else check_timeout(timeout, zero=True))

    def _wait_until(self, attempt: Callable[[], bool], deadline: Deadline) -> None:
        """Repeat ``attempt`` after each change until it returns true. Raise ``NoAnswer`` at the deadline."""
        if attempt():
            return
        while True:
            waiter = self._sender.waiter()
            if attempt():
                return
            if not deadline.remaining():
                raise self._sender.late()
            waiter.acquire(timeout=deadline.wait())
