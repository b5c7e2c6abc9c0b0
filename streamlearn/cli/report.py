"""What commands show: tables for people, JSON for programs, numbers that both can read."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

PIPED_WIDTH = 200  # nothing is cut off where nobody looks


def console(*, err: bool = False) -> Console:
    """Standard output (or error) as rich writes to it: colours on a terminal only, full width in a pipe."""
    from rich.console import Console

    stream = sys.stderr if err else sys.stdout
    wide = not stream.isatty() and "COLUMNS" not in os.environ
    return Console(stderr=err, width=PIPED_WIDTH if wide else None, highlight=False, markup=False)


def show(value: Any, as_json: bool, *shown: RenderableType) -> None:
    """``value`` as JSON, or ``shown`` for a person."""
    if as_json:
        print_json(value)
    else:
        console().print(*shown, sep="\n")


def print_json(value: Any) -> None:
    print(json.dumps(plain(value), indent=2, ensure_ascii=False))


def plain(value: Any) -> Any:
    """``value`` as JSON has it: there is no NaN and no infinity (they become null), and no bytes."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    return value


def table(*columns: str, title: str | None = None) -> Table:
    """A table; a column whose name begins with ``>`` holds numbers."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False)
    for name in columns:
        made.add_column(
            name.removeprefix(">"), justify="right" if name[:1] == ">" else "left", overflow="fold"
        )
    return made


def pairs(values: Mapping[str, Any]) -> Table:
    """Names and values, one pair in a line."""
    from rich.table import Table
    from rich.text import Text

    made = Table.grid(padding=(0, 2))
    made.add_column(style="bold", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in values.items():
        made.add_row(name, value if _is_renderable(value) else Text(text(value)))
    return made


def _is_renderable(value: Any) -> bool:
    return hasattr(value, "__rich_console__") or hasattr(value, "__rich__")


def text(value: Any) -> str:
    """A value as a person reads it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return "–" if math.isnan(value) else f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    if isinstance(value, (Mapping, Sequence)) and not isinstance(value, str):
        return json.dumps(plain(value), ensure_ascii=False)
    return str(value)


def many(count: int, what: str) -> str:
    """``1 sample``, ``2 samples``."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def size(count: int) -> str:
    """Bytes in the largest unit that leaves a number over 1."""
    value, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def duration(seconds: float) -> str:
    """Seconds as people say them, from microseconds to days."""
    if math.isnan(seconds):
        return text(seconds)
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1e3:.1f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def moment(nanoseconds: int) -> str:
    """A time of the daemon's clock, here, and how long ago that is."""
    seconds = nanoseconds / 1e9
    local = datetime.fromtimestamp(seconds).astimezone()
    return f"{local:%Y-%m-%d %H:%M:%S} ({duration(max(0.0, time.time() - seconds))} ago)"
