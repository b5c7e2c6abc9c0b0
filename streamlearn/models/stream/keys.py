"""The slots of a model that keeps something for each of many streams: the rule is in ``kernels/keys.py``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...kernels import compiler
from ...kernels.stream import keys as kernels
from ..batch import Integers


class Slots:
    """Up to ``most`` keys, or one slot for all samples if that is None. Its arrays join ``state``."""

    def __init__(self, state: dict[str, NDArray[Any]], most: int | None) -> None:
        self.count = most or 1
        self._samples = state["samples"]
        self._arrays: tuple[Integers, ...] = ()
        if most is not None:
            compiler.ready(kernels)
            table, heard = np.zeros(most, np.int64), np.full(most, kernels.NONE, np.int64)
            self._arrays = table, heard, np.zeros(1, np.int64)
            state |= zip(("keys.table", "keys.heard", "keys.forgotten"), self._arrays, strict=True)

    def assign(self, keys: Integers | None, rows: int) -> tuple[Integers, NDArray[np.bool_]]:
        """``(rows,)`` each: every sample's slot, and whether that begins anew with it."""
        place, fresh = np.zeros(rows, np.int64), np.zeros(rows, np.bool_)
        if keys is not None:
            kernels.assign(keys, *self._arrays, self._samples, place, fresh)
        return place, fresh

    def find(self, keys: Integers | None, rows: int) -> Integers:
        """``(rows,)``: every key's slot, −1 where it has none."""
        place = np.zeros(rows, np.int64)
        if keys is not None:
            kernels.find(keys, *self._arrays[:2], place)
        return place

    def quality(self) -> dict[str, int]:
        """``keys``: how many there are; ``forgotten_keys``: how many had to make room."""
        if not self._arrays:
            return {}
        _, heard, forgotten = self._arrays
        return {"keys": int((heard != kernels.NONE).sum()), "forgotten_keys": int(forgotten[0])}
