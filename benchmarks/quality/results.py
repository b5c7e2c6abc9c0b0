"""The results of a run as JSON, and as text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from .. import results
from .tables import Claim, Figure, Row, Settings


def as_json(settings: Settings, tables: Mapping[str, Sequence[Row]], earlier: str | None = None) -> str:
    """Return the results as a JSON object. Tables that did not run now are those of an earlier object."""
    measured = {name: [_short(asdict(row)) for row in rows] for name, rows in tables.items()}
    known = (json.loads(earlier)["tables"] if earlier else {}) | measured
    found = {
        "machine": results.machine(),
        "settings": asdict(settings),
        "tables": dict(sorted(known.items())),
    }
    return json.dumps(found, ensure_ascii=False, indent=1) + "\n"


def from_json(text: str) -> dict[str, list[Row]]:
    """Return the rows of each table."""
    return {name: [Row(**row) for row in rows] for name, rows in json.loads(text)["tables"].items()}


def _short(value: Any) -> Any:
    """Six digits are enough."""
    if isinstance(value, dict):
        return {key: _short(each) for key, each in value.items()}
    return float(f"{float(value):.6g}") if isinstance(value, float) else value


def parts(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Return the rows by their part of the table, in order."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.part, []).append(row)
    return found


def columns(rows: Iterable[Row]) -> list[str]:
    """Return the names of all columns, in the order of their first use."""
    return list(dict.fromkeys(name for row in rows for name in row.figures))


def text(figure: Figure) -> str:
    """Return a figure as text: three digits."""
    if figure is None:
        return ""
    return figure if isinstance(figure, str) else results.number(figure)


def markdown(rows: Sequence[Row], claims: Iterable[Claim] = ()) -> str:
    """Return the parts of a table and its claims in Markdown."""
    found = []
    for part, lines in parts(rows).items():
        names = columns(lines)
        table = [("", *names), tuple("---" for _ in (part, *names))]
        table += [(row.case, *(text(row.figures.get(name)) for name in names)) for row in lines]
        found.append(f"**{part}**\n" if part else "")
        found.append("".join(f"| {' | '.join(cells)} |\n" for cells in table))
    stated = [
        f"- {each.text}: {each.measured}{'' if each.holds else ' (**not reached**)'}\n" for each in claims
    ]
    return "\n".join(filter(None, (*found, "".join(stated))))
