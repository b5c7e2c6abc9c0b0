"""Answers of the daemon that several requests share, if they accept one that is some seconds old.

A request accepts it with the header ``Cache-Control: max-age=SECONDS`` (RFC 9111). So many open pages cost
the daemon as much as one. All other requests ask the daemon.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from starlette.requests import Request

KEPT_SECONDS: Final = 10
"""How old an answer may be; ``max-age`` beyond it counts as this."""
MOST: Final = 100
"""Answers that are kept."""

_T = TypeVar("_T")
_max_age = re.compile(r"(?:^|[,\s])max-age=(\d{1,9})(?:$|[,\s])").search


@dataclass(slots=True, eq=False)
class _Kept:
    """An answer, or the question that is under way, and when it began."""

    began: float
    answer: asyncio.Future[Any]


class SharedReads:
    """The last answers by what was asked."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: dict[Hashable, _Kept] = {}  # oldest first

    async def get(self, request: Request, key: Hashable, ask: Callable[[], Awaitable[_T]]) -> _T:
        """Return the answer to ``key``: one that is young enough for the request, else that of ``ask``."""
        found = _max_age(request.headers.get("cache-control", ""))
        age = min(int(found[1]), KEPT_SECONDS) if found else 0
        if age == 0:
            return await ask()
        now = self._clock()
        for old in [each for each, kept in self._kept.items() if now - kept.began > KEPT_SECONDS]:
            del self._kept[old]
        kept = self._kept.get(key)
        if kept is None or (kept.answer.done() and now - kept.began > age):
            self._kept.pop(key, None)
            kept = self._kept[key] = _Kept(now, asyncio.ensure_future(ask()))
            kept.answer.add_done_callback(lambda answer: self._drop_error(key, answer))
            while len(self._kept) > MOST:
                del self._kept[next(iter(self._kept))]
        answer: _T = await asyncio.shield(kept.answer)
        return answer

    def forget(self) -> None:
        """Ask the daemon again for everything, for example because a model was deleted."""
        self._kept.clear()

    def _drop_error(self, key: Hashable, answer: asyncio.Future[Any]) -> None:
        if answer.cancelled() or answer.exception() is not None:
            kept = self._kept.get(key)
            if kept is not None and kept.answer is answer:
                del self._kept[key]
