"""Models created from specs, arrays and files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..errors import BadCheckpoint, BadSpec
from ..registry import KINDS
from ..store import tensors
from ..store.fs import FS
from . import row_cost
from .base import Model, Spec
from .classes import class_of
from .serialization import FORMAT

# A spec may need this many times the values of its state, with scratch memory. Small specs are not checked.
_LARGEST_RATIO, _ANY_SIZE = 16, 1 << 20


def create(kind: str, spec: Mapping[str, Any], max_row_cost: int | None = None) -> Model:
    """Create a model.

    Parameters
    ----------
    kind : str
        For example ``"som"``; ``kinds`` lists all.
    spec : mapping of str to value
        The parameters of the model's class.
    max_row_cost : int, optional
        Largest number of multiply-adds that a row may cost. The default is no limit.

    Raises
    ------
    BadSpec
        If the kind is unknown, the spec is wrong, or a row may cost too much.
    """
    if max_row_cost is not None:  # before the arrays are allocated
        valid_spec(kind, spec, max_row_cost)
    return class_of(kind)(**{str(name): value for name, value in spec.items()})


def valid_spec(kind: str, spec: Mapping[str, Any], max_row_cost: int | None = None) -> Spec:
    """Return the spec of a model without creating the model. Raises BadSpec as ``create`` does."""
    valid: Spec = class_of(kind).valid_spec({str(name): value for name, value in spec.items()})
    if max_row_cost is not None:
        row_cost.check(kind, valid, max_row_cost)
    return valid


def from_arrays(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> Model:
    """Return the model that ``metadata()`` and ``state`` describe. Raises BadCheckpoint."""
    if metadata.get("format") != FORMAT:
        raise BadCheckpoint(
            f"a model of format {metadata.get('format')!r}; this version reads format {FORMAT!r}"
        )
    try:
        kind, spec = metadata["kind"], json.loads(metadata["spec"])
        _check_size(kind, spec, arrays)
        model = create(kind, spec)
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError, BadSpec) as error:
        raise BadCheckpoint(f"not a model's metadata: {error}") from error
    model.adopt(arrays)
    return model


def _check_size(kind: str, spec: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Raise BadCheckpoint if the arrays are far too small for the spec: before its arrays are allocated."""
    if kind not in KINDS:
        return
    values = valid_spec(kind, spec).state_values
    if values > _LARGEST_RATIO * sum(array.size for array in arrays.values()) + _ANY_SIZE:
        raise BadCheckpoint(f"the spec needs about {values:,} values, and the arrays have far fewer")


def load(path: str | Path) -> Model:
    """Load a model from a file that ``Model.save`` wrote, or from a checkpoint of a daemon.

    Parameters
    ----------
    path : str or Path
        The safetensors file.

    Returns
    -------
    Model
        An instance of the class that was saved, with the same state, bit for bit. ``isinstance(model, SOM)``
        makes the outputs of its kind known to a type checker.

    Raises
    ------
    BadCheckpoint
        If the file is damaged, or is not a model of this version.
    FileNotFoundError
        If there is no such file.

    Examples
    --------
    >>> import streamlearn as sl
    >>> som = sl.SOM(dim=2, grid=(3, 3))
    >>> som.save("som.safetensors")
    >>> sl.load("som.safetensors").state_hash() == som.state_hash()
    True
    """
    try:
        return from_arrays(*tensors.decode(FS().read(Path(path))))
    except BadCheckpoint as error:
        raise BadCheckpoint(f"{path} cannot be loaded: {error.message}", **error.detail) from error
