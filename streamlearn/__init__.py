"""Self-organizing maps, competitive and recurrent networks that learn from streams, sample by sample.

Examples
--------
>>> import numpy as np
>>> import streamlearn as sl
>>> samples = np.random.default_rng(1).normal(size=(100, 8))
>>> som = sl.SOM(dim=8, grid=(10, 10), scale="standard", seed=1)
>>> out = som.learn(samples)
>>> som.predict(samples).winner.shape
(100,)

Notes
-----
Names are loaded on first use: a program that only talks to a daemon does not import the compiler.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .registry import PUBLIC

__version__ = "0.2.0"
__all__ = [*PUBLIC, "__version__"]  # noqa: PLE0604 (ruff does not see that PUBLIC holds strings)


def __getattr__(name: str) -> Any:
    if name in PUBLIC:
        return getattr(import_module(f".{PUBLIC[name]}", __name__), name)
    raise AttributeError(f"module 'streamlearn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *PUBLIC})
