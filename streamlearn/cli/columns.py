"""Columns of a CSV as a person names them: ``flow,pressure`` from the header, or ``1,3-5`` counted from 1."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from streamlearn.cli.errors import BadUsage

_NUMBERS = re.compile(r"(\d+)(?:-(\d+))?")


class Chosen(NamedTuple):
    """What a person said of the columns: ``late`` rows are targets of earlier samples, without x."""

    columns: str | None = None
    target: str | None = None
    key: str | None = None
    id: str | None = None
    late: bool = False

    @property
    def named(self) -> bool:
        """Whether there must be a header."""
        return any(map(needs_names, (self.columns, self.target, self.key, self.id)))


class Columns(NamedTuple):
    """Indices, from 0, of the fields that make x and y, the key and the id."""

    x: tuple[int, ...]
    y: tuple[int, ...]
    key: int | None = None
    id: int | None = None


def needs_names(chosen: str | None) -> bool:
    """Whether anything in ``chosen`` can only be a name."""
    return chosen is not None and not all(_NUMBERS.fullmatch(part) for part in _parts(chosen))


def choose(chosen: Chosen, header: Sequence[str] | None, width: int) -> Columns:
    """The columns in rows of ``width`` fields; by default x (of ``late`` rows, y) has all that are left.

    A name in the header goes before a number. Raises ``BadUsage`` for what is not there.
    """
    key = _index(chosen.key, "--key", header, width)
    id = _index(chosen.id, "--id", header, width)
    y = _indices(chosen.target, "--target", header, width)
    rest = tuple(index for index in range(width) if index not in (*y, key, id))
    if chosen.late:
        if not (y or rest):
            raise BadUsage("no column is left for the targets: choose --target")
        return Columns((), y or rest, key, id)
    x = _indices(chosen.columns, "--columns", header, width) or rest
    if not x:
        raise BadUsage("no column is left for the samples: choose --columns, or fewer of --target")
    return Columns(x, y, key, id)


def _index(chosen: str | None, option: str, header: Sequence[str] | None, width: int) -> int | None:
    found = _indices(chosen, option, header, width)
    if len(found) > 1:
        raise BadUsage(f"{option} {chosen}: it is in one column")
    return found[0] if found else None


def _indices(chosen: str | None, option: str, header: Sequence[str] | None, width: int) -> tuple[int, ...]:
    if chosen is None:
        return ()
    found: list[int] = []
    for part in _parts(chosen):
        numbers = _NUMBERS.fullmatch(part)
        if header is not None and part in header:
            found.append(header.index(part))
        elif numbers is not None:
            first, last = int(numbers[1]), int(numbers[2] or numbers[1])
            if not 1 <= first <= last <= width:
                raise BadUsage(f"{option} {part}: there are columns 1 to {width}")
            found.extend(range(first - 1, last))
        else:
            names = ", ".join(header or ())
            raise BadUsage(f"{option} {part}: there is no such column; there are: {names}")
    return tuple(found)


def _parts(chosen: str) -> list[str]:
    return [part.strip() for part in chosen.split(",")]
