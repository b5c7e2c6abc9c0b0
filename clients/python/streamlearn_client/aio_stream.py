"""The stream for asyncio. Its docstrings are copies of the blocking class's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Self

from streamlearn_client.errors import NoAnswer, StreamlearnError, StreamLost
from streamlearn_client.protocol import IdentifiersLike, Learn, SamplesLike, TimesLike, as_batch
from streamlearn_client.results import Ack
from streamlearn_client.stream import Stream
from streamlearn_client.timeouts import DEFAULT, Deadline, Default

__all__ = ["AsyncStream"]


class AsyncStream:
    """`Stream` for asyncio, created by `AsyncClient.stream`.

    Samples are added on the event loop, in one step. So a cancelled `push` (`asyncio.wait_for`) added nothing
    and can be repeated.

    Examples
    --------
    >>> async with client.stream("pump") as stream:  # doctest: +SKIP
    ...     await stream.push(sample)
    """

    def __init__(self, start: Callable[[], Awaitable[Stream]]) -> None:
        self._start = start
        self._stream: Stream | None = None
        self._push_lock = asyncio.Lock()
        self._changed = asyncio.Event()

    @property
    def stream(self) -> Stream:
        """The blocking stream."""
        if self._stream is None:
            raise ValueError("this stream is not open; use `async with client.stream(model) as stream:`")
        return self._stream

    @property
    def epoch(self) -> int:
        """The epoch of the stream's batches. It grows if the daemon forgets the producer."""
        return self.stream.epoch

    @property
    def pushed(self) -> int:
        """Number of samples that the stream accepted. After an interrupted `push` it shows what happened."""
        return self.stream.pushed

    @property
    def acknowledged(self) -> int:
        """Number of samples that the daemon has acknowledged at this stream's ack level."""
        return self.stream.acknowledged

    @property
    def pending(self) -> int:
        """Number of samples that were pushed and are not acknowledged yet."""
        return self.stream.pending

    @property
    def resent(self) -> int:
        """Number of batches that were sent again, counted once per resend."""
        return self.stream.resent

    @property
    def matched(self) -> int:
        """Number of acknowledged late targets that had a waiting sample, as far as the acks report it."""
        return self.stream.matched

    @property
    def unmatched(self) -> int:
        """Number of acknowledged late targets without a waiting sample, as far as the acks report it."""
        return self.stream.unmatched

    @property
    def last_ack(self) -> Ack | None:
        """The newest acknowledgement; ``None`` before the first."""
        return self.stream.last_ack

    async def push(
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
        stream = self.stream
        if self._push_lock.locked() or not stream._try_push(sample, y, keys, ids, times):
            await self._enqueue(stream._single_sample(sample, y, keys, ids, times))

    async def push_many(
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
        rows = self.stream._many_samples(batch, ys, keys, ids, times)
        if rows is not None:
            await self._enqueue(rows)

    async def push_targets(
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
        await self._enqueue(as_batch(self.stream.model, None, self.stream._config.codes(y), keys, ids))

    async def flush(self, timeout: float | Default | None = DEFAULT) -> Ack | None:
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
        stream = self.stream
        deadline = stream._flush_deadline(timeout)
        end = stream._sender.start_flush()
        await self._wait_until(partial(stream._sender.is_acknowledged, end), deadline)
        return stream.last_ack

    async def close(self, timeout: float | Default | None = DEFAULT) -> None:
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
        stream = self.stream
        if stream._is_closed():
            return
        reported = stream._sender.failure_raised
        try:
            await self.flush(timeout)
        except NoAnswer as late:
            raise stream._lost(late) from late
        except StreamLost:
            stream.abort()
            if not reported:
                raise
        stream.abort()

    async def abort(self) -> None:
        """Close the stream at once. Discard the samples that are not acknowledged.

        The daemon may learn some of them: those that were sent.
        """
        self.stream.abort()

    async def __aenter__(self) -> Self:
        self._stream = await self._start()
        loop = asyncio.get_running_loop()

        def wake() -> None:
            with suppress(RuntimeError):  # the event loop is closed
                loop.call_soon_threadsafe(self._changed.set)

        self._stream._sender.listener = wake
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stream = self.stream
        if isinstance(error, GeneratorExit):  # a closed coroutine cannot wait
            stream.__exit__(kind, error, trace)
        elif error is None:
            try:
                await self.close()
            except StreamlearnError:
                raise
            except BaseException as interruption:
                stream._discard(interruption)
                raise
        else:
            try:
                if not stream._is_closed():
                    await self.flush(stream._exception_timeout())
            except StreamlearnError:
                pass  # the note of `_discard` reports the samples
            finally:
                stream._discard(error)

    async def _enqueue(self, batch: Learn) -> None:
        """Add ``batch``. Wait while the stream is full; only this wait can be cancelled."""
        sender, deadline = self.stream._sender, self.stream._push_deadline()
        taken = 0
        parts = self.stream._checked_parts(batch)
        async with self._push_lock:
            for part in parts:
                try:
                    await self._wait_until(partial(sender.try_add, part), deadline)
                except NoAnswer as error:
                    error.detail["taken"] = taken
                    raise
                taken += part.rows

    async def _wait_until(self, attempt: Callable[[], bool], deadline: Deadline) -> None:
        """Repeat ``attempt`` after each change until it returns true. Raise ``NoAnswer`` at the deadline."""
        while True:
            self._changed.clear()
            if attempt():
                return
            if not deadline.remaining():
                raise self.stream._sender.late()
            with suppress(TimeoutError):
                async with asyncio.timeout(deadline.wait()):
                    await self._changed.wait()
