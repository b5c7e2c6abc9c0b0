"""Serialization, copying and comparison of a model: its kind, its spec and its state (R1)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import xxhash
from numpy.typing import NDArray

from ..errors import BadCheckpoint
from ..store import tensors
from ..store.fs import FS, write_atomically

State = dict[str, NDArray[Any]]

FORMAT = "1"
PRODUCER_PREFIX = "producers."
"""The prefix of the arrays that a daemon adds to a checkpoint: the producer state. Models ignore them."""


class Serializable:
    """A spec and a state of named arrays that can be saved, copied and compared."""

    kind: ClassVar[str]
    spec: Any
    state: State

    def spec_dict(self) -> dict[str, Any]:
        """Return the spec as a dict of JSON values; ``streamlearn.models.create(kind, spec)`` accepts it."""
        return dict(self.spec.model_dump(mode="json"))

    def state_hash(self) -> str:
        """Return a hash of kind and state (xxh3_128, 32 hex digits).

        Equal hashes mean equal models, bit for bit.
        """
        digest = xxhash.xxh3_128(self.kind.encode())
        for name in sorted(self.state):
            array = self.state[name]
            digest.update(f"\0{name} {array.dtype.str} {array.shape}\0".encode())
            digest.update(array.data if array.size else b"")
        return digest.hexdigest()

    def metadata(self) -> dict[str, str]:
        """Return the metadata of a checkpoint: format, kind and spec."""
        return {"format": FORMAT, "kind": self.kind, "spec": json.dumps(self.spec_dict())}

    def copy_state(self) -> State:
        """Return a copy of every state array."""
        return {name: array.copy() for name, array in self.state.items()}

    def adopt(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replace the state by arrays from a saved file or a checkpoint.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            The state arrays by name.

        Raises
        ------
        BadCheckpoint
            If names, dtypes or shapes differ from this model's. The state stays as it is.
        """
        arrays = {name: array for name, array in arrays.items() if not name.startswith(PRODUCER_PREFIX)}
        problems = [f"'{name}' is missing" for name in sorted(self.state.keys() - arrays.keys())]
        problems += [f"'{name}' is unknown" for name in sorted(arrays.keys() - self.state.keys())]
        for name in sorted(self.state.keys() & arrays.keys()):
            own, given = self.state[name], arrays[name]
            if own.shape != given.shape or own.dtype != given.dtype:
                problems.append(f"'{name}' is {given.dtype}{given.shape}, not {own.dtype}{own.shape}")
        if problems:
            raise BadCheckpoint(
                f"the arrays are not the state of this {self.kind} in this version of streamlearn:"
                f" {'; '.join(problems)}",
                problems=problems,
            )
        for name, array in arrays.items():
            self.state[name][...] = array

    def save(self, path: str | Path) -> None:
        """Write the model to one safetensors file. A failed write leaves no partial file.

        Parameters
        ----------
        path : str or Path
            The file to write. ``streamlearn.load`` reads it.
        """
        write_atomically(FS(), Path(path), tensors.encode(self.state, self.metadata()))

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Self:
        """Create a model from a spec that ``spec_dict`` returned."""
        return cls(**spec)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle a model by its spec and state.

        The kernels' arguments are views of the state arrays, and must be views in the copy too.
        """
        return _rebuild, (type(self), self.spec_dict(), self.copy_state())


def _rebuild(model_class: type[Serializable], spec: Mapping[str, Any], state: State) -> Serializable:
    model = model_class.from_spec(spec)
    model.adopt(state)
    return model
