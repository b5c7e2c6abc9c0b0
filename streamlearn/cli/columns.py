"""Columns of a CSV as a person names them: ``flow,pressure`` from the header, or ``1,3-5`` counted from 1."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from streamlearn.cli.errors import BadUsage

_NUMBERS = re.compile(r"(\d+)(?:-(\d+))?")


class Columns(NamedTuple):
    """Indices, from 0, of the fields that make x and y."""

    x: tuple[int, ...]
    y: tuple[int, ...]


def needs_names(chosen: str | None) -> bool:
    """Whether anything in ``chosen`` can only be a name."""
    return chosen is not None and not all(_NUMBERS.fullmatch(part) for part in _parts(chosen))


def choose(columns: str | None, target: str | None, header: Sequence[str] | None, width: int) -> Columns:
    """The columns of x and y in rows of ``width`` fields; by default x has all that y has not.

    A name in the header goes before a number. Raises ``BadUsage`` for what is not there.
    """
    y = _indices(target, "--target", header, width) if target is not None else ()
    if columns is not None:
        x = _indices(columns, "--columns", header, width)
    else:
        x = tuple(index for index in range(width) if index not in y)
    if not x:
        raise BadUsage("no column is left for the samples: choose --columns, or fewer of --target")
    return Columns(x, y)


def _indices(chosen: str, option: str, header: Sequence[str] | None, width: int) -> tuple[int, ...]:
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
