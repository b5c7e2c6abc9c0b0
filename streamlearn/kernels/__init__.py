"""Numba kernels: one file per learner, on lanes of sixteen float32 (``lanes.py``), the same bits on every
CPU."""

from __future__ import annotations

from . import (  # noqa: F401 - importing them declares their kernels
    cognitron,
    competitive,
    compiler,
    drift,
    gng,
    grossberg,
    hamming,
    initial,
    labels,
    malsburg,
    rng,
    som,
    tbptt,
    units,
)
from .compiler import Progress, cached


def compile_all(progress: Progress | None = None) -> int:
    """Compile every kernel, or load it from this host's cache; returns how many there are.

    ``progress(name, done, total)`` is told before each. A first start takes most of a minute, a later one
    under a second.
    """
    return compiler.compile_all(progress)


__all__ = ["Progress", "cached", "compile_all"]
