"""Models from files of other places: decoded first, then checked by their spec, then created.

A file may be damaged or forged. Its header is checked against its length, its digest against its content, and
its spec before any array of the model is allocated. `adopt` then checks the names, dtypes, shapes and values.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..errors import BadCheckpoint, BadSpec
from ..store import tensors
from . import classes, factory
from .base import Model


class Incoming(NamedTuple):
    """A decoded file: the kind and the spec of the model, and the function that creates it."""

    kind: str
    spec: dict[str, Any]
    build: Callable[[], Model]

    def check(self, max_row_cost: int | None) -> None:
        """Raise BadSpec if the spec is wrong, or if a row may cost more multiply-adds."""
        factory.valid_spec(self.kind, self.spec, max_row_cost)


def of_state(content: bytes | bytearray, kind: str) -> Incoming:
    """Return the model in a file of ``save``, of an export, or of a daemon's checkpoint.

    Raises
    ------
    BadCheckpoint
        If the file is damaged, is no model, or is a model of another kind. ``build`` raises it if the arrays
        are not a state of the model.
    """
    arrays, metadata = tensors.decode(bytes(content))
    found = metadata.get("kind")
    if found != kind:
        raise BadCheckpoint(f"the file has a model of the kind {found!r}, not {kind!r}")
    try:
        spec = json.loads(metadata["spec"])
    except (KeyError, ValueError, RecursionError) as error:
        raise BadCheckpoint(f"the file has no spec of a model: {error}") from error
    if not isinstance(spec, dict):
        raise BadCheckpoint("the spec in the file is not a map")
    return Incoming(kind, spec, lambda: _finite(factory.from_arrays(arrays, metadata)))


def of_parameters(content: bytes | bytearray, kind: str, spec: Mapping[str, Any]) -> Incoming:
    """Return the network with the parameters of a ``state_dict`` of PyTorch in a safetensors file.

    Raises
    ------
    BadCheckpoint
        If the file is damaged.
    BadSpec, BadShape, BadDtype
        If the parameters are not those of such a network, or if the kind has none.
    """
    from .recurrent.parameters import PyTorchParameters  # imports kernels

    arrays, _ = tensors.decode(bytes(content), foreign=True)
    network = classes.class_of(kind)
    if not issubclass(network, PyTorchParameters):
        message = f"a {kind} has no parameters of PyTorch; rnn and birnn have"
        raise BadSpec(message, errors=[{"field": "parameters", "message": message}])
    given = {str(name): value for name, value in spec.items()}
    full = network.spec_of_state_dict(arrays, **given)
    return Incoming(kind, full, lambda: network.from_state_dict(arrays, **given))


def _finite(model: Model) -> Model:
    """Raise BadCheckpoint if an array has a NaN or an infinity that its owner does not declare."""
    wrong = [
        name
        for name, array in model.state.items()
        if (np.isnan(array).any() and name not in _declared(model, "may_hold_nan"))
        or (np.isinf(array).any() and name not in _declared(model, "may_hold_inf"))
    ]
    if wrong:
        raise BadCheckpoint(
            f"the file has values that are not finite in {', '.join(wrong)}; use a file of an earlier state",
            arrays=wrong,
        )
    return model


def _declared(model: Model, attribute: str) -> set[str]:
    """Return the state arrays that ``attribute`` of the model's classes and of its parts names."""
    owners = [*type(model).__mro__, *map(type, vars(model).values())]
    return {name for owner in owners for name in vars(owner).get(attribute, ())}
