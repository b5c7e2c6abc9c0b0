"""The results of a run: printed tables, and JSON."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.table import Table

from . import peers
from .suites import SUITES
from .timing import Row, Settings


class Run:
    """The rows of all suites, and the machine that they were measured on."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.rows: dict[str, list[Row]] = {}

    def add(self, suite: str, row: Row) -> None:
        self.rows.setdefault(suite, []).append(row)

    def tables(self) -> list[Table]:
        """One table per suite."""
        return [_table(SUITES[name].title, rows) for name, rows in self.rows.items()]

    def footer(self) -> str:
        about = machine()
        peers_found = ", ".join(f"{name} {version}" for name, version in about["peers"].items())
        return (
            f"{about['processor']}, {about['cores']} cores; Python {about['python']}, "
            f"Numba {about['numba']}; {peers_found}; {self.settings.rounds} rounds, seed {self.settings.seed}"
        )

    def as_json(self, earlier: str | None = None) -> str:
        """The results as one JSON object. Suites that did not run now are those of an earlier object."""
        measured = {name: [_as_dict(row) for row in rows] for name, rows in self.rows.items()}
        known = (json.loads(earlier)["suites"] if earlier else {}) | measured
        suites = {name: known[name] for name in SUITES if name in known}
        found = {"machine": machine(), "settings": asdict(self.settings), "suites": suites}
        return json.dumps(found, ensure_ascii=False, indent=1) + "\n"


def machine() -> dict[str, Any]:
    """Return the processor and the versions."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numba": metadata.version("numba"),
        "peers": peers.versions(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _as_dict(row: Row) -> dict[str, Any]:
    """Drop what a row does not have. Six digits are enough."""

    def short(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: short(each) for key, each in value.items() if each not in (None, "")}
        return float(f"{value:.6g}") if isinstance(value, float) else value

    found: dict[str, Any] = short(asdict(row))
    return found


def number(value: float) -> str:
    """Return a value with at least three digits."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def quantity(value: float, unit: str) -> str:
    """Return a value with its unit."""
    return f"{number(value)}{unit}" if unit.startswith("/") else f"{number(value)} {unit}"


def ratio(row: Row) -> str:
    return "" if row.ratio is None else f"{number(row.ratio)}×"


def beside(row: Row) -> str:
    """The peer's name, with the reason if it is absent."""
    return f"{row.peer}: absent ({row.absent})" if row.absent else row.peer


def quality(row: Row) -> str:
    if row.quality is None:
        return ""
    theirs = "" if row.quality.theirs is None else f" and {row.quality.theirs:.4g}"
    return f"{row.quality.measure} {row.quality.ours:.4g}{theirs}"


def share_of_limit(row: Row) -> str:
    if row.limit is None:
        return ""
    share = row.limit.value / row.ours if row.unit.startswith("ns") else row.ours / row.limit.value
    return f"{share:.0%} ({row.limit.of})"


def line(row: Row) -> str:
    """One row as a line of text."""
    theirs = "" if row.theirs is None else f" against {quantity(row.theirs, row.unit)}"
    at = "" if row.at is None else f", at {row.at:,.0f}"
    parts = [f"{row.name}{at}: {quantity(row.ours, row.unit)}{theirs}", beside(row), ratio(row)]
    return "; ".join(part for part in (*parts, quality(row), share_of_limit(row)) if part)


def _table(title: str, rows: list[Row]) -> Table:
    head = ("benchmark", "ours", "peer", "theirs", "ratio", "min … max", "quality", "of the limit")
    table = Table(*head, title=title)
    for row in rows:
        table.add_row(
            row.name,
            quantity(row.ours, row.unit),
            beside(row),
            "" if row.theirs is None else quantity(row.theirs, row.unit),
            ratio(row),
            "" if row.low is None else f"{row.low:.3g} … {row.high:.3g}",
            quality(row),
            share_of_limit(row),
        )
    return table
