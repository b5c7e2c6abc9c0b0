"""Samples from lines of JSON: each line is a list of values, or an object.

An object has one value per channel, and possibly ``y``, ``key``, ``id`` and ``time``. It may have the values
of the channels in ``x``, as a list or as an object. ``null`` is a missing value. The columns can be selected
as those of a CSV; the names are those of the first line.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any, Final, NoReturn

import numpy as np

from streamlearn.tabular.columns import ColumnOptions, Columns, select
from streamlearn.tabular.cutting import LineCutter
from streamlearn.tabular.errors import BadData
from streamlearn.tabular.formats import NOTHING, Missing
from streamlearn.tabular.numbers import fits, without
from streamlearn.tabular.rows import Rows
from streamlearn.tabular.table import Table
from streamlearn.tabular.times import TimeColumn

RESERVED: Final = {"y": "target", "key": "key", "id": "id", "time": "time"}
"""Names of an object that are not channels, and the options that select another name for the same."""


class NdjsonTable(Table):
    """Reads the parts of a table, in order; each part consists of whole lines.

    The parameters are those of `Table`. ``accepts``: which of `RESERVED` the model takes. The others are
    passed over, unless an option selects them. ``channels``: the names of the model's channels. Objects that
    have just these are read in this order: the members of an object in JSON have none.
    """

    def __init__(
        self,
        name: str,
        options: ColumnOptions,
        missing: Missing = NOTHING,
        *,
        times: TimeColumn | None = None,
        labels: Sequence[str] = (),
        from_line: int = 1,
        skip_bad: int = 0,
        accepts: Collection[str] = tuple(RESERVED),
        channels: Sequence[str] | None = None,
    ) -> None:
        super().__init__(name, options, missing, times, labels, from_line, skip_bad)
        self._accepts, self._channels = accepts, channels
        self._names: list[str] | None = None  # of the fields of the first object
        self._width = 0
        self._line = 0

    @property
    def lines_read(self) -> int:
        """Number of the line that was read last."""
        return self._line

    def continue_after(self, line: int) -> None:
        """Take the next part for that after ``line``. The names of the columns stay."""
        self._line = line

    def cutter(self, most: int) -> LineCutter:
        """Return what cuts the text into parts."""
        return LineCutter(most, quoted=False)

    def read(self, part: bytes) -> Rows | None:
        """Read a part; ``None`` if it has no rows. Raises ``BadData``."""
        rows, problem = self.read_until_bad(part)
        if problem is not None:
            raise problem
        return rows

    def read_until_bad(self, part: bytes) -> tuple[Rows | None, BadData | None]:
        """Read a part up to its first row that cannot be read. Return the rows, and the problem."""
        good: list[tuple[list[float], Any, Any, Any]] = []
        lines: list[int] = []
        problem = None
        given = part.split(b"\n")
        for text in given if given[-1] else given[:-1]:
            self._line += 1
            if not text.strip() or (self._line < self._from_line and self._width):
                continue
            try:
                values = self._fields(self._parsed(text))
                if self._line >= self._from_line:
                    good.append(self._row(values))
                    lines.append(self._line)
            except BadData as bad:
                if len(self.skipped) >= self._skip_bad:
                    problem = bad
                    break
                self.skipped.append(bad)
        self.lines.extend(lines)
        return (self._collected(good) if good else None), problem

    def end(self) -> None:
        """Raise ``BadData`` if the table has no row."""
        if self._width == 0:
            raise BadData(f"{self.name} is empty: it holds no samples", file=self.name)

    def _parsed(self, text: bytes) -> Any:
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            self._refuse(f"this is not JSON ({error}); each line is one object or one list")

    def _fields(self, value: Any) -> list[Any]:
        """Return the values of a row, in the order of the first one. Names and columns are those of it."""
        if isinstance(value, dict):
            value = dict(value)
            x = value.pop("x", None)
            if isinstance(x, dict):
                value = x | value
            elif x is not None:
                x = x if isinstance(x, list) else [x]
                value = {str(n): each for n, each in enumerate(x, 1)} | value
            if isinstance(y := value.get("y"), list):
                del value["y"]
                value |= {f"y{n}": each for n, each in enumerate(y, 1)}
            names, values = list(value), list(value.values())
            if self._width == 0:
                self._select(names, x is not None and not isinstance(x, dict))
            elif names != self._names:
                if self._names is None or value.keys() != set(self._names):
                    self._refuse("does not have the same names as the lines before it")
                values = [value[name] for name in self._names]
            return values
        if not isinstance(value, list):
            self._refuse("a list of values or an object was expected")
        if self._width == 0:
            self._width = len(value)
            self.columns = select(self._options, None, len(value))
        elif self._names is not None or len(value) != self._width:
            self._refuse(f"a list of {len(value)} values is not what the lines before it are")
        return value

    def _select(self, names: list[str], unnamed: bool) -> None:
        """Select the columns of objects. ``unnamed``: the values of x have numbers, no names."""
        options = self._options
        targets = [name for name in names if name[:1] == "y" and (name == "y" or name[1:].isdigit())]
        given: dict[str, Any] = {}
        for name, option in RESERVED.items():
            found = ",".join(targets) if name == "y" and ("y" in names or unnamed) else name
            if getattr(options, option) is None and found and set(found.split(",")) <= set(names):
                given[option] = found
        self._width, self._names = len(names), names
        columns = select(options._replace(**given), names, len(names))
        unused = {name for name, option in RESERVED.items() if option in given and name not in self._accepts}
        x = columns.x
        if options.columns is None and self._channels is not None:
            place = {names[index]: index for index in x}
            if len(x) == len(self._channels) and place.keys() == set(self._channels):
                x = tuple(place[name] for name in self._channels)
        self.columns = Columns(
            x,
            () if "y" in unused else columns.y,
            None if "key" in unused else columns.key,
            None if "id" in unused else columns.id,
            None if "time" in unused else columns.time,
        )
        self.header = None if unnamed else names

    def _row(self, values: list[Any]) -> tuple[list[float], Any, Any, Any]:
        columns = self.columns
        numbers = [self._number(values[index], index) for index in (*columns.x, *columns.y)]
        key, id = (
            None if index is None else self._identifier(values[index], index)
            for index in (columns.key, columns.id)
        )
        return numbers, key, id, None if columns.time is None else self._time(values[columns.time])

    def _number(self, value: Any, index: int) -> float:
        if value is None or (isinstance(value, str) and value in self._missing.texts):
            return float("nan")
        if isinstance(value, str) and index in self.columns.y and value in self._labels:
            return self._labels[value]
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self._refuse(
                f"{json.dumps(value)[:40]} in {self._column(index)} is not a number: correct it, write null"
                " or set --missing if the value is missing, or leave it out of --columns",
                index,
            )
        try:
            number = float(value)
        except OverflowError:
            number = float("inf")
        if number in self._missing.numbers:
            return float("nan")
        if not fits(np.array(number)):
            self._refuse(f"{number} in {self._column(index)} is too large for float32", index)
        return number

    def _identifier(self, value: Any, index: int) -> int | str:
        if isinstance(value, bool) or not isinstance(value, (int, str)) or value == "":
            self._refuse(
                f"{json.dumps(value)[:40]} in {self._column(index)} is no key or id: text or a whole"
                " number was expected",
                index,
            )
        return value

    def _time(self, value: Any) -> int:
        try:
            return self._times.read_value(value)
        except ValueError as problem:
            self._refuse(f"the time {problem}", self.columns.time)

    def _collected(self, rows: list[tuple[list[float], Any, Any, Any]]) -> Rows:
        numbers, keys, ids, times = map(list, zip(*rows, strict=True))
        return self._rows(without(np.array(numbers), self._missing), keys, ids, times)

    def _column(self, index: int) -> str:
        return f"column {index + 1}" if self._names is None else repr(self._names[index])

    def _refuse(self, problem: str, index: int | None = None) -> NoReturn:
        where = {} if index is None else {"column": index + 1}
        raise BadData(f"{self.name}, line {self._line}: {problem}", file=self.name, line=self._line, **where)
