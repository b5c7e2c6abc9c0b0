"""The slots of a model with state for several streams. ``kernels/stream/keys.py`` defines the assignment."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...kernels import compiler
from ...kernels.stream import keys as kernels
from ..batch import Integers


class Slots:
    """Slots for up to ``keys`` keys, or one slot for all samples if ``keys`` is None.

    Adds its arrays to ``state``.
    """

    def __init__(self, state: dict[str, NDArray[Any]], keys: int | None) -> None:
        self.count = keys or 1
        self._samples = state["samples"]
        self._arrays: tuple[Integers, ...] = ()
        if keys is not None:
            compiler.ready(kernels)
            table, last_sample = np.zeros(keys, np.int64), np.full(keys, kernels.NONE, np.int64)
            self._arrays = table, last_sample, np.zeros(1, np.int64)
            state |= zip(("keys.table", "keys.last_sample", "keys.forgotten"), self._arrays, strict=True)

    def assign(self, keys: Integers | None, rows: int) -> tuple[Integers, NDArray[np.bool_]]:
        """Return the slot of each sample ``(rows,)``, and whether its key is new in the slot ``(rows,)``."""
        slots, fresh = np.zeros(rows, np.int64), np.zeros(rows, np.bool_)
        if keys is not None:
            kernels.assign(keys, *self._arrays, self._samples, slots, fresh)
        return slots, fresh

    def find(self, keys: Integers | None, rows: int) -> Integers:
        """Return the slot of each key ``(rows,)``; −1 for an unknown key."""
        slots = np.zeros(rows, np.int64)
        if keys is not None:
            kernels.find(keys, *self._arrays[:2], slots)
        return slots

    def quality(self) -> dict[str, int]:
        """``keys``: their number. ``forgotten_keys``: number of keys that a new key replaced."""
        if not self._arrays:
            return {}
        _, last_sample, forgotten = self._arrays
        return {"keys": int((last_sample != kernels.NONE).sum()), "forgotten_keys": int(forgotten[0])}
