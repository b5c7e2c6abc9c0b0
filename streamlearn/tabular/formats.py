"""How a table is written: its format, and the options of CSV."""

from __future__ import annotations

import codecs
import math
from dataclasses import dataclass
from typing import Final, Literal

from streamlearn.tabular.errors import BadUsage

TableFormat = Literal["csv", "ndjson", "arrow", "parquet"]

_DELIMITERS: Final = {r"\t": "\t", "tab": "\t", "space": " ", "comma": ",", "semicolon": ";"}
_PROBE: Final = 'a0,;\t"\r\n'


@dataclass(frozen=True, slots=True)
class Missing:
    """What stands for a missing value beside an empty field and ``nan``: texts, and numbers of any form."""

    texts: frozenset[str] = frozenset()
    numbers: tuple[float, ...] = ()

    @classmethod
    def parsed(cls, option: str | None) -> Missing:
        """Return the words of ``NA,null,?,-999``. A number stands for all its forms: -999.0 too."""
        words = [] if option is None else [word.strip() for word in option.split(",")]
        numbers = []
        for word in words:
            try:
                number = float(word)
            except ValueError:
                continue
            numbers.append(number)
        return cls(frozenset(filter(None, words)), tuple(n for n in numbers if not math.isnan(n)))


NOTHING: Final = Missing()


@dataclass(frozen=True, slots=True)
class CsvFormat:
    """The options of CSV, checked.

    Parameters
    ----------
    header
        Whether the first line is a header; ``None`` detects it.
    delimiter
        One character, or ``\\t``, ``tab``, ``space``.
    decimal
        The decimal mark.
    missing
        What stands for a missing value.
    skip_lines
        Lines before the header, which are not read.
    comment
        Begin of lines that are not read.
    encoding
        A name of `codecs`, of an encoding that contains ASCII.
    """

    header: bool | None = None
    delimiter: str = ","
    decimal: str = "."
    missing: Missing = NOTHING
    skip_lines: int = 0
    comment: str | None = None
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        object.__setattr__(self, "delimiter", _DELIMITERS.get(self.delimiter, self.delimiter))
        if len(self.delimiter) != 1 or self.delimiter in '"\r\n':
            raise BadUsage(rf"--delimiter must be one character, or '\t', not {self.delimiter!r}")
        if self.decimal not in (".", ","):
            raise BadUsage(f"--decimal must be . or , and not {self.decimal!r}")
        if self.decimal == self.delimiter:
            raise BadUsage(
                f"--decimal and --delimiter are both {self.decimal!r}: set --delimiter to what separates the"
                " fields, for example ';'"
            )
        if self.comment is not None and (not self.comment or self.comment[0] in '"\r\n'):
            raise BadUsage(
                f"--comment must be text that begins a line, for example '#', not {self.comment!r}"
            )
        try:
            contains_ascii = _PROBE.encode(self.encoding) == _PROBE.encode("ascii")
            codecs.getincrementaldecoder(self.encoding)
        except (LookupError, UnicodeError):
            raise BadUsage(
                f"--encoding {self.encoding}: no encoding has this name; use utf-8, latin-1 or another"
            ) from None
        if not contains_ascii:
            raise BadUsage(
                f"--encoding {self.encoding}: only encodings that contain ASCII are read; convert the file"
                f" first: iconv -f {self.encoding} -t UTF-8 FILE"
            )


DEFAULT: Final = CsvFormat()
