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
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .models.classic.cognitron import Cognitron
    from .models.classic.grossberg import Grossberg
    from .models.classic.hamming import HammingNet
    from .models.classic.malsburg import Malsburg
    from .models.factory import load
    from .models.maps.competitive import Competitive
    from .models.maps.gng import GrowingNeuralGas
    from .models.maps.som import SOM
    from .models.recurrent.bidirectional import BidirectionalRNN
    from .models.recurrent.rnn import RNN
    from .models.stream.schedules import Decay

__version__ = "0.1.0"

_WHERE = {
    "SOM": "models.maps.som",
    "Competitive": "models.maps.competitive",
    "RNN": "models.recurrent.rnn",
    "BidirectionalRNN": "models.recurrent.bidirectional",
    "GrowingNeuralGas": "models.maps.gng",
    "Grossberg": "models.classic.grossberg",
    "HammingNet": "models.classic.hamming",
    "Malsburg": "models.classic.malsburg",
    "Cognitron": "models.classic.cognitron",
    "Decay": "models.stream.schedules",
    "load": "models.factory",
}
__all__ = [
    "RNN",
    "SOM",
    "BidirectionalRNN",
    "Cognitron",
    "Competitive",
    "Decay",
    "Grossberg",
    "GrowingNeuralGas",
    "HammingNet",
    "Malsburg",
    "__version__",
    "load",
]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(f".{_WHERE[name]}", __name__), name)
    raise AttributeError(f"module 'streamlearn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_WHERE])
