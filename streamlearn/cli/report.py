"""Output of commands: tables and readable numbers for people, JSON for programs."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from threading import Timer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

UNLIMITED = 1 << 20  # columns: longer than any line


def console(*, err: bool = False) -> Console:
    """Return a console on standard output (or error). In a pipe or file: no colours, no line wrapping."""
    from rich.console import Console

    stream = sys.stderr if err else sys.stdout
    width = None if stream.isatty() else UNLIMITED
    return Console(stderr=err, width=width, highlight=False, markup=False)


def show(value: Any, as_json: bool, *shown: RenderableType) -> None:
    """Print ``value`` as JSON, or ``shown`` for a person."""
    if as_json:
        print_json(value)
    else:
        console().print(*shown, sep="\n")


def print_json(value: Any) -> None:
    """Print ``value`` as indented JSON."""
    from streamlearn.json_values import to_json

    print(json.dumps(to_json(value), indent=2, ensure_ascii=False))


@contextmanager
def notice(text: str, seconds: float = 3.0) -> Iterator[None]:
    """Print ``text`` on standard error, if it is a terminal and the block takes longer than ``seconds``."""
    timer = Timer(seconds, print, [text], {"file": sys.stderr, "flush": True})
    timer.daemon = True
    if sys.stderr.isatty():
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def table(*columns: str, title: str | None = None) -> Table:
    """Return a table; a column with a name that begins with ``>`` is right-aligned."""
    from rich import box
    from rich.table import Table

    result = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False)
    for name in columns:
        result.add_column(
            name.removeprefix(">"), justify="right" if name[:1] == ">" else "left", overflow="fold"
        )
    return result


def pairs(values: Mapping[str, Any]) -> Table:
    """Return a table with one name and value per line."""
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
    """Format a value for a person."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return "–" if math.isnan(value) else f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    if isinstance(value, (Mapping, Sequence)) and not isinstance(value, str):
        from streamlearn.json_values import to_json

        return json.dumps(to_json(value), ensure_ascii=False)
    return str(value)


def many(count: int, what: str) -> str:
    """``1 sample``, ``2 samples``."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def size(count: int) -> str:
    """Format bytes in the largest unit with a number of at least 1."""
    value, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def duration(seconds: float) -> str:
    """Format seconds, from microseconds to days."""
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
    """Format a time of the daemon's clock in the local zone, with its age."""
    seconds = nanoseconds / 1e9
    local = datetime.fromtimestamp(seconds).astimezone()
    return f"{local:%Y-%m-%d %H:%M:%S} ({duration(max(0.0, time.time() - seconds))} ago)"
