"""The machine's limits: vectors of 16 float32 per nanosecond, measured with the lanes of the kernels.

``fma``       independent multiply-adds in registers: the peak of the arithmetic
``distance``  pairs of a subtraction and a multiply-add, from the first cache: the arithmetic of a map
``read``      each vector of an array is loaded and added once
``update``    each vector of an array is loaded, changed and stored once

The size of the array decides which cache it is in. The limit of a kernel uses arrays of the size of its
weights.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numba as nb
import numpy as np

from streamlearn.kernels.simd.lanes import WIDTH, fma, load, splat, store, zero
from streamlearn.models.lane_layout import empty

from .timing import Row, Settings

_OPTIONS = {"nogil": True, "error_model": "numpy"}
_CALLS = 20  # the fastest of these counts
_FEW_VECTORS = 24 * 4 * WIDTH  # bytes
SIZES = {"L1": 16 << 10, "L2": 512 << 10, "L3": 8 << 20}  # bytes


@nb.njit("void(i8, f4, f4, f4[:,::1])", **_OPTIONS)
def fma_peak(repeats, factor, addend, out):
    """a ← a·factor + addend, for 6 independent vectors of 16. ``out`` ``(6, 16)``.

    Two registers of AVX2 hold a vector, and it has 16 of them. The latency needs 4 vectors.
    """
    f, c = splat(factor), splat(addend)
    a0, a1, a2 = load(out, 0), load(out, 1), load(out, 2)
    a3, a4, a5 = load(out, 3), load(out, 4), load(out, 5)
    for _ in range(repeats):
        a0, a1, a2 = fma(a0, f, c), fma(a1, f, c), fma(a2, f, c)
        a3, a4, a5 = fma(a3, f, c), fma(a4, f, c), fma(a5, f, c)
    store(out, 0, a0)
    store(out, 1, a1)
    store(out, 2, a2)
    store(out, 3, a3)
    store(out, 4, a4)
    store(out, 5, a5)


@nb.njit("void(i8, f4, f4[:,::1], f4[:,::1])", **_OPTIONS)
def distance_peak(repeats, x, values, out):
    """t ← t + (x − w)² for all vectors w of ``values`` ``(n, 16)``, as 6 sums; n is a multiple of 6.

    ``out`` ``(6, 16)``.
    """
    t0, t1, t2, t3, t4, t5 = zero(), zero(), zero(), zero(), zero(), zero()
    for _ in range(repeats):
        for i in range(0, values.shape[0], 6):
            e0, e1, e2 = x - load(values, i), x - load(values, i + 1), x - load(values, i + 2)
            e3, e4, e5 = x - load(values, i + 3), x - load(values, i + 4), x - load(values, i + 5)
            t0, t1, t2 = fma(e0, e0, t0), fma(e1, e1, t1), fma(e2, e2, t2)
            t3, t4, t5 = fma(e3, e3, t3), fma(e4, e4, t4), fma(e5, e5, t5)
    store(out, 0, t0)
    store(out, 1, t1)
    store(out, 2, t2)
    store(out, 3, t3)
    store(out, 4, t4)
    store(out, 5, t5)


@nb.njit("void(i8, f4[:,::1], f4[:,::1])", **_OPTIONS)
def read(repeats, values, out):
    """Sum all vectors of ``values`` ``(n, 16)`` into ``out`` ``(8, 16)``; n is a multiple of 8."""
    s0, s1, s2, s3, s4, s5, s6, s7 = zero(), zero(), zero(), zero(), zero(), zero(), zero(), zero()
    for _ in range(repeats):
        for i in range(0, values.shape[0], 8):
            s0, s1 = s0 + load(values, i), s1 + load(values, i + 1)
            s2, s3 = s2 + load(values, i + 2), s3 + load(values, i + 3)
            s4, s5 = s4 + load(values, i + 4), s5 + load(values, i + 5)
            s6, s7 = s6 + load(values, i + 6), s7 + load(values, i + 7)
    store(out, 0, s0)
    store(out, 1, s1)
    store(out, 2, s2)
    store(out, 3, s3)
    store(out, 4, s4)
    store(out, 5, s5)
    store(out, 6, s6)
    store(out, 7, s7)


@nb.njit("void(i8, f4[:,::1], f4, f4)", **_OPTIONS)
def update(repeats, values, factor, addend):
    """v ← v·factor + addend for all vectors of ``values`` ``(n, 16)``; n is a multiple of 4."""
    f, c = splat(factor), splat(addend)
    for _ in range(repeats):
        for i in range(0, values.shape[0], 4):
            store(values, i, fma(load(values, i), f, c))
            store(values, i + 1, fma(load(values, i + 1), f, c))
            store(values, i + 2, fma(load(values, i + 2), f, c))
            store(values, i + 3, fma(load(values, i + 3), f, c))


def _fastest(run: Callable[[int], Any], vectors: int, seconds: float) -> float:
    """Vectors per nanosecond of ``run(repeats)``, which handles ``vectors`` in each repeat."""
    repeats, took = 1, 0.0
    while True:
        began = time.thread_time()
        run(repeats)
        took = time.thread_time() - began
        if took >= seconds:
            break
        repeats *= 2
    best = took
    for _ in range(_CALLS - 1):
        began = time.thread_time()
        run(repeats)
        best = min(best, time.thread_time() - began)
    return repeats * vectors / best / 1e9


class Roof:
    """The limits, each measured once."""

    def __init__(self, settings: Settings) -> None:
        self._seconds = 0.0002 if settings.quick else 0.01
        self.read = cache(self._read)
        self.update = cache(self._update)

    @property
    def fma(self) -> float:
        """Multiply-adds of 16 per ns."""
        return self._arithmetic()[0]

    @property
    def distance(self) -> float:
        """Pairs of a subtraction and a multiply-add of 16 per ns."""
        return self._arithmetic()[1]

    @cache  # noqa: B019 - lives as long as the run
    def _arithmetic(self) -> tuple[float, float]:
        sums, values = np.ones((6, WIDTH), np.float32), _vectors(_FEW_VECTORS)
        x, factor, addend = np.float32(0.5), np.float32(0.999), np.float32(0.001)
        return (
            _fastest(lambda n: fma_peak(n, factor, addend, sums), len(sums), self._seconds),
            _fastest(lambda n: distance_peak(n, x, values, sums), len(values), self._seconds),
        )

    def _read(self, size: int) -> float:
        """Vectors per ns that are loaded from an array of about ``size`` bytes."""
        values, out = _vectors(size), np.empty((8, WIDTH), np.float32)
        return _fastest(lambda n: read(n, values, out), len(values), self._seconds)

    def _update(self, size: int) -> float:
        """Vectors per ns that are loaded, changed and stored in an array of about ``size`` bytes."""
        values = _vectors(size)
        factor, addend = np.float32(0.999), np.float32(0.001)
        return _fastest(lambda n: update(n, values, factor, addend), len(values), self._seconds)


def _vectors(size: int) -> np.ndarray:
    """Vectors of ones, aligned to cache lines as weights are."""
    values = empty(max(8, size // 512 * 8), WIDTH)  # 512 bytes are 8 vectors
    values[...] = 1
    return values


@cache
def roof(settings: Settings) -> Roof:
    """Return the limits of this machine, measured in this run."""
    return Roof(settings)


def rows(settings: Settings) -> Iterator[Row]:
    limits = roof(settings)
    yield Row("multiply-adds of 16 float32, in registers", limits.fma, "/ns")
    yield Row("subtraction and multiply-add of 16 from the first cache", limits.distance, "/ns")
    for name, size in SIZES.items():
        yield Row(f"{name} ({size >> 10} KiB): vectors of 64 bytes loaded", limits.read(size), "/ns")
        yield Row(f"{name} ({size >> 10} KiB): loaded, changed and stored", limits.update(size), "/ns")
