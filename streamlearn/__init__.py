"""streamlearn: self-organizing maps, competitive and recurrent networks that learn from streams, sample by
sample.

    import streamlearn as sl

    som = sl.SOM(dim=8, grid=(10, 10), scale="standard", seed=1)
    som.learn(samples)
    som.predict(samples).winner

The names below are loaded on first use, so that a program which only talks to a daemon never waits for a
compiler.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .models.bidirectional import BidirectionalRNN
    from .models.cognitron import Cognitron
    from .models.competitive import Competitive
    from .models.gng import GrowingNeuralGas
    from .models.grossberg import Grossberg
    from .models.hamming import HammingNet
    from .models.malsburg import Malsburg
    from .models.registry import load
    from .models.rnn import RNN
    from .models.schedule import Decay
    from .models.som import SOM

__version__ = "0.1.0"

_WHERE = {
    "SOM": "models.som",
    "Competitive": "models.competitive",
    "RNN": "models.rnn",
    "BidirectionalRNN": "models.bidirectional",
    "GrowingNeuralGas": "models.gng",
    "Grossberg": "models.grossberg",
    "HammingNet": "models.hamming",
    "Malsburg": "models.malsburg",
    "Cognitron": "models.cognitron",
    "Decay": "models.schedule",
    "load": "models.registry",
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
