"""Selection of CSV columns: by name (``flow,pressure``, from the header) or by number (``1,3-5``, from 1)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from streamlearn.tabular.errors import BadUsage

_NUMBERS = re.compile(r"(\d+)(?:-(\d+))?", re.ASCII)


class ColumnOptions(NamedTuple):
    """The column options of a command. ``late_targets``: rows are targets of earlier samples, without x."""

    columns: str | None = None
    target: str | None = None
    key: str | None = None
    id: str | None = None
    late_targets: bool = False
    time: str | None = None

    @property
    def need_header(self) -> bool:
        """Whether an option names a column."""
        return any(map(needs_names, (self.columns, self.target, self.key, self.id, self.time)))


class Columns(NamedTuple):
    """Indices, from 0, of the fields of x, y, the key, the id and the time."""

    x: tuple[int, ...]
    y: tuple[int, ...]
    key: int | None = None
    id: int | None = None
    time: int | None = None


def needs_names(option: str | None) -> bool:
    """Whether a part of ``option`` can only be a name."""
    return option is not None and not all(_NUMBERS.fullmatch(part) for part in _parts(option))


def select(options: ColumnOptions, header: Sequence[str] | None, width: int) -> Columns:
    """Return the columns in rows of ``width`` fields.

    By default x (or y, for late targets) takes all columns that no option selects. Raises ``BadUsage`` for a
    column that does not exist or is selected twice, for a name of several columns, and for a number that is
    also the name of another column.
    """
    key = _index(options.key, "--key", header, width)
    id = _index(options.id, "--id", header, width)
    time = _index(options.time, "--time", header, width)
    y = _indices(options.target, "--target", header, width)
    rest = tuple(index for index in range(width) if index not in (*y, key, id, time))
    if options.late_targets:
        if not (y or rest):
            raise BadUsage("no column is left for the targets: choose --target")
        return Columns((), y or rest, key, id, time)
    x = _indices(options.columns, "--columns", header, width) or rest
    if not x:
        raise BadUsage("no column is left for the samples: choose --columns, or fewer of --target")
    return Columns(x, y, key, id, time)


def _index(chosen: str | None, option: str, header: Sequence[str] | None, width: int) -> int | None:
    found = _indices(chosen, option, header, width)
    if len(found) > 1:
        raise BadUsage(f"{option} {chosen}: select one column")
    return found[0] if found else None


def _indices(chosen: str | None, option: str, header: Sequence[str] | None, width: int) -> tuple[int, ...]:
    if chosen is None:
        return ()
    found: list[int] = []
    for part in _parts(chosen):
        named = [index for index, name in enumerate(header or ()) if name == part]
        numbers = _NUMBERS.fullmatch(part)
        if len(named) > 1:
            columns = ", ".join(str(index + 1) for index in named)
            raise BadUsage(f"{option} {part}: columns {columns} have this name; select one by its number")
        first, last = (int(numbers[1]), int(numbers[2] or numbers[1])) if numbers else (0, 0)
        if named and 1 <= first <= width and named != [first - 1]:
            place = named[0] + 1
            raise BadUsage(
                f"{option} {part}: this is the name of column {place} and the number of another column; "
                f"write {place}-{place} or {first}-{first}, which are always numbers"
            )
        if named:
            found += named
        elif numbers:
            if not 1 <= first <= last <= width:
                raise BadUsage(f"{option} {part}: the file has columns 1 to {width}")
            found.extend(range(first - 1, last))
        else:
            names = ", ".join(header or ())
            raise BadUsage(f"{option} {part}: the file has no such column; its columns are: {names}")
    repeated = next((index for index in found if found.count(index) > 1), None)
    if repeated is not None:
        raise BadUsage(f"{option} {chosen}: column {repeated + 1} is selected twice")
    return tuple(found)


def _parts(chosen: str) -> list[str]:
    return [part.strip() for part in chosen.split(",")]
