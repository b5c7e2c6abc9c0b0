"""Where the arrays of a `OneSample` are, found once for all models with equal specs.

The arguments of one sample are some 40 arrays. To convert them takes as long as 20 samples. Most are parts of
the model's state, a few are shared by all models with equal specs. So the first two models of a spec convert
theirs. If these agree, the addresses of a later one follow from those of its state. If not, the models have
arrays of their own that are no state, and each converts its arguments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..kernels import prepared
from .row_outputs import Words
from .state_checks import State

if TYPE_CHECKING:
    from .one_sample import Row


class Converted(NamedTuple):
    """The prepared arguments of one model."""

    row: Row
    table: Words
    memory: Words
    shape: tuple[int, int] | None  # of a sample that needs no conversion


class Addresses:
    """The addresses in the memory of models with one ``spec``."""

    def __init__(self, spec: object) -> None:
        self._spec = spec  # models with this one share the object
        self._differ = False
        self._first: _Places | None = None
        self._places: _Places | None = None
        self._example: Converted | None = None

    def compare(self, state: State, converted: Converted) -> None:
        """Take the arguments that a model has converted."""
        if self._differ:
            return
        places = _Places(state, converted.memory, converted.row.begin)
        if self._first is None:
            self._first = places
        elif self._first == places:
            self._example, self._places = converted, places
        else:
            self._differ = True

    def converted(self, state: State) -> Converted | None:
        """Return the arguments of a model with this state; None if the model must convert them."""
        if self._places is None or self._example is None:
            return None
        memory = np.zeros_like(self._example.memory)
        self._places.write(state, memory)
        return self._example._replace(memory=memory)


class _Places:
    """Each word of a memory as a distance from an array of the state, or from the memory, or as it is."""

    def __init__(self, state: State, memory: Words, end: int) -> None:
        self._words = memory[:end].copy()
        arrays = {"": memory, **{name: array for name, array in state.items() if array.size}}
        names, begins = list(arrays), np.array(list(map(prepared.address_of, arrays.values())))
        ends = begins + [array.nbytes for array in arrays.values()]
        inside = (self._words[:, None] >= begins) & (self._words[:, None] < ends)  # (words, arrays)
        self._relative = np.flatnonzero(inside.any(axis=1))
        found = inside[self._relative].argmax(axis=1)
        self._words[self._relative] -= begins[found]
        used, self._sources = np.unique(found, return_inverse=True)
        self._names = [names[number] for number in used]

    def __eq__(self, other: object) -> bool:
        """Whether another model has its arrays at the same places."""
        return (
            isinstance(other, _Places)
            and self._names == other._names
            and np.array_equal(self._words, other._words)
            and np.array_equal(self._relative, other._relative)
            and np.array_equal(self._sources, other._sources)
        )

    __hash__ = None  # type: ignore[assignment] # it is compared only

    def write(self, state: State, memory: Words) -> None:
        """Write the words of a model with this state."""
        memory[: len(self._words)] = self._words
        arrays = [state[name] if name else memory for name in self._names]
        memory[self._relative] += np.array(list(map(prepared.address_of, arrays)))[self._sources]
