"""The interrupts of a simulated loop: a seed decides after how many samples a slice ends."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamlearn.kernels.stream.interrupt_words import NEVER, watching


class Interrupts:
    """`daemon.interrupts.RequestInterrupts`. Two slices of three end early, at any time."""

    def __init__(self, socket: Any, random: Random) -> None:
        self._socket = socket
        self._random = random

    def begin_slice(self, rows: int, nanoseconds_per_row: float) -> NDArray[np.uint8]:
        every = self._random.choice((1, 3, None))
        return NEVER if every is None else watching(every=every)

    def waiting(self, now: int) -> bool:
        return bool(self._socket.readable)

    def have_read(self, now: int, unfinished_ns: int, *, batches: bool) -> None:
        """Nothing depends on the time."""
