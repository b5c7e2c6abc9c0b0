"""Serialization, copying and comparison of a model: its kind, its spec and its state (R1)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar, Self

import xxhash
from numpy.typing import NDArray

from ..errors import BadCheckpoint
from ..store import tensors
from ..store.fs import FS, write_atomically
from . import earlier_arrays, state_checks
from .locking import locked
from .state_checks import Range

State = dict[str, NDArray[Any]]

FORMAT = "1"
PRODUCER_PREFIX = "producers."
"""The prefix of the arrays that a daemon adds to a checkpoint: the producer state. Models ignore them."""


class Serializable:
    """A spec and a state of named arrays that can be saved, copied and compared."""

    kind: ClassVar[str]
    spec: Any
    state: State
    _lock: AbstractContextManager[Any]
    ranges: dict[str, Range]
    """Valid values of the state arrays. Every array that a kernel indexes by has one."""

    def inconsistencies(self, state: state_checks.State) -> Iterator[str]:
        """Describe values of ``state`` that contradict each other. Every array is within its range."""
        yield from ()

    def spec_dict(self) -> dict[str, Any]:
        """Return the spec as a dict of JSON values; ``streamlearn.models.create(kind, spec)`` accepts it."""
        return dict(self.spec.model_dump(mode="json", by_alias=True))

    @locked
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
        return {"format": FORMAT, "kind": self.kind, "spec": self.spec.text}

    @locked
    def copy_state(self) -> State:
        """Return a copy of every state array."""
        return {name: array.copy() for name, array in self.state.items()}

    @property
    def optional_bytes(self) -> int:
        """Bytes of the arrays that the state may get later."""
        return 0

    def state_like(self, names: Collection[str]) -> State:
        """Return the state; of the arrays that only some states have, those that ``names`` has."""
        return self.state

    @locked
    def adopt(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replace the state by arrays from a saved file or a checkpoint.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            The state arrays by name. Those of earlier versions are converted.

        Raises
        ------
        BadCheckpoint
            If names, dtypes or shapes differ from this model's, or if a value is not one that this model
            can have. The state stays as it is.
        """
        arrays = {name: array for name, array in arrays.items() if not name.startswith(PRODUCER_PREFIX)}
        arrays = earlier_arrays.converted(arrays)
        problems = list(state_checks.misfits(self.state_like(arrays), arrays))
        if not problems:
            problems = list(state_checks.out_of_range(arrays, self.ranges))
        if not problems:
            problems = list(self.inconsistencies(arrays))
        if problems:
            raise BadCheckpoint(
                f"the arrays are not a state of this {self.kind} in this version of streamlearn:"
                f" {'; '.join(problems)}. Use another copy of the file, or an older checkpoint",
                problems=problems,
            )
        self.replace_state(arrays)

    def replace_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replace the state by arrays that ``copy_state`` of a model with the same spec returned."""
        for name, array in self.state.items():
            array[...] = arrays[name]

    def save(self, path: str | Path) -> None:
        """Write the model to one safetensors file. A failed write leaves no partial file.

        Parameters
        ----------
        path : str or Path
            The file to write. ``streamlearn.load`` reads it.
        """
        with self._lock:
            content = tensors.encode(self.state, self.metadata())
        write_atomically(FS(), Path(path), content)

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
    model.replace_state(state)
    return model
