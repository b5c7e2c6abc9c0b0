"""The parts of a model that can be read while it learns: weights, planes, hits, quality and others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import BadValue
from .locking import locked

Arrays = dict[str, NDArray[Any]]

PARTS: Final = (
    "weights",
    "prototypes",
    "u_matrix",
    "planes",
    "hits",
    "labels",
    "quality",
    "parameters",
    "lags",
    "mix",
)
"""All parts. Each kind of model has some of them."""

_NEEDS: Final = {
    "labels": "create a som, a competitive or a gng",
    "parameters": 'create a network with readout="adam"',
    "mix": 'create a network with readout="rls" and mix=True',
    "lags": 'create a network with readout="adam" and record_lags=True',
}


def _no_facts() -> dict[str, Any]:
    return {}


class Part(NamedTuple):
    """A part of a model: arrays and facts (JSON values), by name.

    ``sizes`` are the bytes of the arrays, known before the arrays are computed. ``work`` is the number of
    values that the computation handles.
    """

    sizes: Mapping[str, int]
    arrays: Callable[[], Arrays]
    facts: Callable[[], dict[str, Any]] = _no_facts
    work: int = 0


def array_part(
    name: str, values: int, dtype: type, compute: Callable[[], NDArray[Any]], passes: int = 1
) -> Part:
    """Return the part that is one array of ``values`` values, computed in ``passes`` over them."""

    def arrays() -> Arrays:
        return {name: np.ascontiguousarray(compute())}

    return Part({name: values * np.dtype(dtype).itemsize}, arrays, work=passes * values)


class Readable:
    """A model whose parts can be read."""

    kind: ClassVar[str]
    _lock: AbstractContextManager[Any]

    def quality(self) -> dict[str, Any]:
        """Return the live quality."""
        raise AssertionError("every model has a quality")

    def _parts(self) -> dict[str, Part]:
        """Return the parts of this model by name."""
        return {"quality": Part({}, dict, lambda: {"quality": self.quality()})}

    def parts(self, names: Iterable[str]) -> list[Part]:
        """Return the parts with these names. Computes nothing.

        Parameters
        ----------
        names : iterable of str
            Names of ``PARTS``.

        Raises
        ------
        BadValue
            If this model has no such part. The message lists those that it has.
        """
        found = self._parts()
        for name in names:
            if name not in found:
                has = [part for part in PARTS if part in found]
                hint = f"; for {name}, {_NEEDS[name]}" if name in _NEEDS else ""
                known = "" if name in PARTS else " (there is no such part)"
                raise BadValue(
                    f"this {self.kind} has no {name!r} to read{known}; it has {', '.join(has)}{hint}",
                    field="what",
                    parts=has,
                )
        return [found[name] for name in dict.fromkeys(names)]

    @locked
    def read_parts(self, names: Iterable[str]) -> tuple[Arrays, dict[str, Any]]:
        """Return the arrays and the facts of the parts with these names."""
        arrays: Arrays = {}
        facts: dict[str, Any] = {}
        for part in self.parts(names):
            arrays |= part.arrays()
            facts |= part.facts()
        return arrays, facts
