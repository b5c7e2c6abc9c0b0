"""``make bench``: run every comparison and print one table.

Options: ``--json`` for programs, ``--rounds N``, ``--only inprocess|daemon|security``.
"""

from __future__ import annotations

import argparse
import json
import platform
from dataclasses import asdict

import numba
from rich.console import Console
from rich.table import Table

from . import daemon, inprocess, security
from .timing import Comparison

SUITES = {
    "inprocess": inprocess.comparisons,
    "daemon": daemon.comparisons,
    "security": security.comparisons,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="pairs of runs per comparison (default 5)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=SUITES)
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")
    options = parser.parse_args()
    console = Console(stderr=True)
    rows = []
    for suite, comparisons in SUITES.items():
        if options.only in (None, suite):
            with console.status(f"measuring: {suite}"):
                rows += list(comparisons(options.rounds, options.seed))
    if options.json:
        for row in rows:
            print(json.dumps(asdict(row), ensure_ascii=False))
    else:
        Console(width=None if console.is_terminal else 130).print(table(rows))
        print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, "
              f"Numba {numba.__version__}; {options.rounds} pairs, seed {options.seed}")  # fmt: skip


def quantity(value: float, unit: str) -> str:
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.2f} {unit}"


def table(rows: list[Comparison]) -> Table:
    result = Table(
        "benchmark", "peer", "ours", "theirs", "ratio", "min … max", title="streamlearn against its peers"
    )
    for row in rows:
        result.add_row(
            row.name,
            row.peer,
            quantity(row.ours, row.unit),
            quantity(row.theirs, row.unit) if row.theirs is not None else "–",
            f"{row.ratio:.3g}×" if row.ratio is not None else "–",
            f"{row.low:.3g} … {row.high:.3g}" if row.low is not None else "",
        )
    return result


main()
