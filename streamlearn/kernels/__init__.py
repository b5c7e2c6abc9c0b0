"""Numba kernels: one file per learner, on lanes of sixteen float32 (``lanes.py``), the same bits on every
CPU."""

from __future__ import annotations

from . import (  # noqa: F401 - importing them declares their kernels
    bidirectional,
    cognitron,
    competitive,
    compiler,
    drift,
    gng,
    grossberg,
    hamming,
    initial,
    keys,
    labels,
    malsburg,
    rng,
    run_on,
    schedule,
    som,
    tbptt,
    together,
    units,
)
from .compiler import Progress, cached


def compile_all(progress: Progress | None = None) -> int:
    """Compile every kernel, on all processors, or load it from this host's cache; returns how many there are.

    ``progress(name, done, total)`` is told before each. A first start takes a minute, a later one a second.
    """
    if cached():
        return compiler.compile_all(progress)
    names = compiler.names()
    together.compile_all(names, progress)
    return compiler.compile_all()


__all__ = ["Progress", "cached", "compile_all"]
