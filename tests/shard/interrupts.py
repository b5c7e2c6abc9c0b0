"""Interrupts that end slices after a number of samples: without a second thread, so every run is the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from streamlearn.kernels.stream.interrupt_words import FLAG, LEFT, watching


class Cuts:
    """Ends each slice after the next number of ``rows``; slices after the last number end by themselves."""

    def __init__(self, rows: Iterable[int]) -> None:
        self.rows: Iterator[int] = iter(rows)

    def begin_slice(self, rows: int, nanoseconds_per_row: float) -> NDArray[np.uint8]:
        return watching(every=next(self.rows, 1 << 60))


def requested(interrupt: NDArray[np.uint8]) -> bool:
    """What the device function ``requested`` does, for models in Python."""
    if interrupt.size > 1 and not interrupt[0]:
        words = interrupt.view(np.int64)
        words[LEFT] -= 1
        words[FLAG] = words[LEFT] <= 0
    return bool(interrupt[0])
