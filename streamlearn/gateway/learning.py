"""Learning a body while it arrives: bounded memory, back-pressure, and exactly once with an idempotency key.

One part is learned while the next one is read. Then nothing more is received, so the sender waits. A body
without a length and without a key is learned as it comes: what has arrived is a part as soon as the one
before is learned. All other bodies are cut in the same places every time. So with a key, each part has a
number.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import numpy as np
from starlette.requests import ClientDisconnect

from streamlearn.errors import ShuttingDown, StreamlearnError
from streamlearn.gateway.bodies import Samples, Table
from streamlearn.tabular.cutting import LINES, Cutter
from streamlearn_client.protocol.messages import RESEND_WINDOW
from streamlearn_client.results import Ack

_PART_BYTES: Final = 1024**2  # of the samples of a part, as float32

Send = Callable[[Samples, int], Awaitable[Ack]]
"""Sends the samples of a part with its number."""


class Learning:
    """What one body taught.

    Parameters
    ----------
    table, cutter
        How the body is read and cut.
    send
        Sends a part to the daemon.
    numbered
        The number of parts with this key that the daemon has; ``None`` without a key.
    as_it_comes
        Whether rows are sent before a part is full.
    """

    def __init__(
        self, table: Table, cutter: Cutter, send: Send, numbered: int | None, as_it_comes: bool
    ) -> None:
        self._table, self._cutter, self._send = table, cutter, send
        self._known = 0 if numbered is None else numbered - RESEND_WINDOW  # earlier ones can't be compared
        self._as_it_comes = as_it_comes and numbered is None
        self._sending: asyncio.Task[None] | None = None
        self._parts = 0
        self._rows = self._duplicates = 0
        self._last: Ack | None = None

    @property
    def rows(self) -> int:
        """Samples that the daemon has acknowledged."""
        return self._rows

    def summary(self) -> dict[str, Any]:
        """Return the answer to the request."""
        last = {} if self._last is None else dataclasses.asdict(self._last)
        found = {name: value for name, value in last.items() if value is not None}
        counts = {"duplicate": self._duplicates > 0, "rows": self._rows, "duplicate_rows": self._duplicates}
        return found | counts | {"parts": self._parts}

    async def run(self, body: AsyncIterator[bytes], stopping: asyncio.Event) -> None:
        """Learn a body to its end. An error of the daemon or of the reader has ``learned`` in its detail."""
        try:
            await self._run(body, stopping)
        except StreamlearnError as error:
            error.detail["learned"] = self._rows
            if self._rows:
                error.add_note(f"the first {self._rows} samples of the body are learned")
            raise

    async def _run(self, body: AsyncIterator[bytes], stopping: asyncio.Event) -> None:
        stop = asyncio.create_task(stopping.wait())
        receiving: asyncio.Task[bytes | None] = asyncio.create_task(_next(body))
        try:
            while True:
                waits: set[asyncio.Task[Any]] = {receiving, stop}
                if self._sending is not None and self._as_it_comes:
                    waits.add(self._sending)
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                if self._sending is not None and self._sending.done():
                    await self._sent()
                if stop.done():
                    raise ShuttingDown("the gateway stops; send the rest to the next one")
                if receiving.done():
                    try:
                        piece = receiving.result()
                    except ClientDisconnect:
                        await self._finish(whole=False)
                        return
                    if piece is None:
                        await self._finish(whole=True)
                        return
                    self._cutter.feed(piece)
                    receiving = asyncio.create_task(_next(body))
                await self._cut()
                if self._as_it_comes and self._sending is None and (part := self._cutter.complete()):
                    await self._process(part)
        finally:
            for each in (stop, receiving):
                each.cancel()
            await asyncio.gather(stop, receiving, return_exceptions=True)
            if self._sending is not None:  # its outcome counts, also when the request failed
                await asyncio.gather(self._sending, return_exceptions=True)

    async def _finish(self, whole: bool) -> None:
        """Learn the last rows. Of a body that was cut off, its last line may be damaged."""
        await self._cut()
        part = self._cutter.rest() if whole else self._cutter.complete() if self._as_it_comes else None
        if part:
            await self._process(part)
        await self._sent()

    async def _cut(self) -> None:
        while (part := self._cutter.full()) is not None:
            await self._process(part)

    async def _process(self, part: bytes) -> None:
        """Read a part while the one before is learned; then begin to send it."""
        samples = await asyncio.to_thread(self._table.read, part)
        if samples is None:
            return
        values = len(samples.x) if isinstance(samples.x, dict) else np.size(samples.x[0])
        step = min(LINES, max(1, _PART_BYTES // (4 * max(values, 1))))
        for start in range(0, len(samples), step):
            await self._sent()
            piece = samples.sliced(start, start + step)
            self._sending = asyncio.create_task(self._learn(piece, self._parts))
            self._parts += 1

    async def _learn(self, samples: Samples, number: int) -> None:
        rows = len(samples)
        if number < self._known:
            self._duplicates += rows
        else:
            self._last = ack = await self._send(samples, number)
            self._duplicates += rows if ack.duplicate else 0
        self._rows += rows

    async def _sent(self) -> None:
        if self._sending is not None:
            sending, self._sending = self._sending, None
            await sending


async def _next(body: AsyncIterator[bytes]) -> bytes | None:
    """Return the next piece; ``None`` at the end."""
    return await anext(body, None)
