"""Every kind of model by name, and models from specs and files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..errors import BadCheckpoint, BadSpec
from ..store import tensors
from ..store.fs import FS
from .base import Model
from .classic.cognitron import Cognitron
from .classic.grossberg import Grossberg
from .classic.hamming import HammingNet
from .classic.malsburg import Malsburg
from .maps.competitive import Competitive
from .maps.gng import GrowingNeuralGas
from .maps.som import SOM
from .recurrent.bidirectional import BidirectionalRNN
from .recurrent.rnn import RNN
from .serialization import FORMAT

_MAPS = SOM, Competitive, GrowingNeuralGas
_CLASSICS = Malsburg, Cognitron, Grossberg, HammingNet
_RECURRENT = RNN, BidirectionalRNN
_kinds: dict[str, type[Model]] = {model.kind: model for model in (*_MAPS, *_CLASSICS, *_RECURRENT)}


def kinds() -> dict[str, type[Model]]:
    """Every kind of model there is, by the name it has in ``create``."""
    return dict(_kinds)


def create(kind: str, spec: Mapping[str, Any]) -> Model:
    """A new model. Raises BadSpec for an unknown kind or a wrong spec."""
    if kind not in _kinds:
        message = f"there is no kind {kind!r}; there are {', '.join(sorted(_kinds))}"
        raise BadSpec(message, errors=[{"field": "kind", "message": message}])
    return _kinds[kind](**{str(name): value for name, value in spec.items()})


def from_arrays(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> Model:
    """The model that ``metadata()`` and ``state`` described. Raises BadCheckpoint."""
    if metadata.get("format") != FORMAT:
        raise BadCheckpoint(
            f"a model of format {metadata.get('format')!r}; this version reads format {FORMAT!r}"
        )
    try:
        model = create(metadata["kind"], json.loads(metadata["spec"]))
    except (KeyError, ValueError, TypeError, AttributeError, BadSpec) as error:
        raise BadCheckpoint(f"not a model's metadata: {error}") from error
    model.adopt(arrays)
    return model


def load(path: str | Path) -> Model:
    """The model that ``save`` wrote to ``path``, or a daemon as its checkpoint. Raises BadCheckpoint,
    FileNotFoundError."""
    return from_arrays(*tensors.decode(FS().read(Path(path))))
