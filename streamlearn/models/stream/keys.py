"""The slots of a model with state for several streams. ``kernels/stream/keys.py`` defines the assignment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...kernels import compiler
from ...kernels.arguments import by_name
from ...kernels.stream import keys as kernels
from ..batch import Integers
from ..state_checks import ANY_INTEGER, COUNT, LARGEST_COUNT, Range, State


class Slots:
    """Slots for up to ``keys`` keys, or one slot for all samples if ``keys`` is None.

    Adds its arrays to ``state``, under names that begin with ``prefix``.
    """

    def __init__(self, state: dict[str, NDArray[Any]], keys: int | None, prefix: str = "keys.") -> None:
        self.count = keys or 1
        self._prefix = prefix
        self._samples = state["samples"]
        self._arrays: tuple[Integers, ...] = ()
        self._before: tuple[Integers, ...] = ()  # copies from before the last `assign`, and `samples`
        self.ranges: dict[str, Range] = {}
        if keys is not None:
            compiler.ready(kernels)
            table, last_sample = np.zeros(keys, np.int64), np.full(keys, kernels.NONE, np.int64)
            self._arrays = table, last_sample, np.zeros(1, np.int64)
            names = [prefix + name for name in ("table", "last_sample", "forgotten")]
            state |= zip(names, self._arrays, strict=True)
            self.ranges = {
                names[0]: ANY_INTEGER,
                names[1]: Range(kernels.NONE, LARGEST_COUNT),
                names[2]: COUNT,
            }

    def inconsistencies(self, state: State) -> Iterator[str]:
        """Describe keys of samples that were not learned yet, and a key with two slots."""
        if not self._arrays:
            return
        last_sample = state[f"{self._prefix}last_sample"]
        if (last_sample >= state["samples"]).any():
            yield f"'{self._prefix}last_sample' has the number of a sample that was not learned"
        keys = state[f"{self._prefix}table"][last_sample != kernels.NONE]
        if len(np.unique(keys)) < len(keys):
            yield f"'{self._prefix}table' has a key twice"

    def assign(
        self, keys: Integers | None, rows: int, first: int | None = None
    ) -> tuple[Integers, NDArray[np.bool_]]:
        """Return the slot of each sample ``(rows,)``, and whether its key is new in the slot ``(rows,)``.

        ``first`` is the number of the first sample; None: the number of samples learned so far.
        """
        slots, fresh = np.zeros(rows, np.int64), np.zeros(rows, np.bool_)
        if keys is not None:
            samples = self._samples if first is None else np.array([first])
            self._before = tuple(array.copy() for array in (*self._arrays, samples))
            kernels.assign(keys, *self._arrays, samples, slots, fresh)
        return slots, fresh

    def arguments(self, samples: Integers, slots: Integers, fresh: NDArray[np.bool_]) -> dict[str, Any]:
        """Return the arguments of `kernels.assign` by name, for one sample. Not yet its key.

        ``samples`` has its number.
        """
        return by_name(kernels.assign.py_func, (np.zeros(1, np.int64), *self._arrays, samples, slots, fresh))

    def correct(self, keys: Integers | None) -> None:
        """Undo the last `assign`, and assign the first of its samples only, which have these ``keys``."""
        if keys is None:
            return
        *before, samples = self._before
        for array, values in zip(self._arrays, before, strict=True):
            array[:] = values
        unused = np.empty(len(keys), np.int64), np.empty(len(keys), np.bool_)
        kernels.assign(keys, *self._arrays, samples, *unused)

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
