"""Numba kernels: one file per learner, on lanes of sixteen float32, with the same bits on every CPU.

The folders are alike here and in ``streamlearn/models``; each says in its ``__init__`` what belongs in it.
"""

from __future__ import annotations

from . import compiler

# Importing a module declares its entry points.
from .classic import cognitron, grossberg, hamming, malsburg  # noqa: F401
from .compiler import Progress, cached, parallel
from .maps import competitive, gng, initial_weights, som, units  # noqa: F401
from .recurrent import bidirectional, rollout, tbptt  # noqa: F401
from .simd import splitmix  # noqa: F401
from .stream import drift, keys, labels, schedules  # noqa: F401


def compile_all(progress: Progress | None = None) -> int:
    """Compile every kernel, on all processors, or load it from this host's cache; returns how many there are.

    ``progress(name, done, total)`` is called before each. A first start takes a minute, a later one a second.
    """
    if cached():
        return compiler.compile_all(progress)
    parallel.compile_all(compiler.names(), progress)
    return compiler.compile_all()


__all__ = ["Progress", "cached", "compile_all"]
