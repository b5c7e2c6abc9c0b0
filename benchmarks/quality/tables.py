"""The tables of learning quality. A module of this package that defines ``rows`` is one of them.

A table's module defines:

``TITLE``
    One line.
``rows(settings)``
    Yields ``Row``: measures, ours beside the peers in the same run. With ``settings.quick`` it takes at most
    about a second, and the figures mean nothing.
``claims(rows)``, optional
    Returns ``Claim``: what the rows should show, from the rows alone. They may come from a file of results.

Its name is the module's, for example ``--only forecasts,score``. It needs no registration, but a block
``<!-- quality: NAME -->`` in ``docs/how/quality.md``. ``--json docs/data/quality.json`` writes the table into
that block.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import NamedTuple

Figure = float | int | str | None  # None: not measured, for example because the peer is absent


@dataclass(frozen=True)
class Settings:
    """How much to measure."""

    seed: int = 1
    quick: bool = False

    def choose(self, full: int, quick: int) -> int:
        """Return a size."""
        return quick if self.quick else full


@dataclass(frozen=True)
class Row:
    """One line of a table.

    ``figures`` are by column, in order. A column's name has the unit: ``"P(> 0.99), %"``. Rows with the same
    ``part`` are one table; a table without parts has ``part=""``.
    """

    case: str  # the series, stream or kind of fault
    figures: Mapping[str, Figure] = field(default_factory=dict)
    part: str = ""


class Claim(NamedTuple):
    """A statement on the whole table, with what was measured, and whether it holds."""

    text: str  # "never worse than the best naive forecast by more than 3 %"
    measured: str  # "at most 0.9 % worse"
    holds: bool


class Table(NamedTuple):
    """A table's module by its parts."""

    name: str
    title: str
    rows: Callable[[Settings], Iterator[Row]]
    claims: Callable[[Sequence[Row]], Sequence[Claim]]


def names() -> list[str]:
    """Return the names of all tables."""
    package = importlib.import_module(__package__ or "")
    found = (info.name for info in pkgutil.iter_modules(package.__path__) if not info.name.startswith("_"))
    return sorted(name for name in found if hasattr(_module(name), "rows"))


def load(name: str) -> Table:
    module = _module(name)
    return Table(name, module.TITLE, module.rows, getattr(module, "claims", _no_claims))


def _module(name: str) -> ModuleType:
    return importlib.import_module(f".{name}", __package__)


def _no_claims(rows: Sequence[Row]) -> Sequence[Claim]:
    return ()
