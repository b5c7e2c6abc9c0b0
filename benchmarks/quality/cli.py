"""Measure how well the models learn, beside other libraries.

python -m benchmarks.quality                        all tables
python -m benchmarks.quality --only forecasts,score some tables
python -m benchmarks.quality --json docs/data/quality.json
                                                    also write the results into this file and the documents
python -m benchmarks.quality --quick                a test of the benchmarks: the figures mean nothing
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from . import report, results, tables


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    known = tables.names()
    parser.add_argument("--only", metavar="TABLE,…", help=f"tables to measure: {', '.join(known)}")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="small sizes; the figures mean nothing")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the results to FILE; --only keeps other tables in it"
    )
    options = parser.parse_args(arguments)
    chosen = options.only.split(",") if options.only else known
    if unknown := [name for name in chosen if name not in known]:
        parser.error(f"no table {', '.join(unknown)}; choose from {', '.join(known)}")
    settings = tables.Settings(options.seed, options.quick)
    earlier = options.json.read_text() if options.json and options.only and options.json.exists() else None
    measured: dict[str, list[tables.Row]] = {}
    for name in chosen:
        measured[name] = measure(tables.load(name), settings)
        if options.json:  # after every table: an interrupted run keeps what it measured
            options.json.write_text(results.as_json(settings, measured, earlier))
    out = Console(width=None if sys.stdout.isatty() else 170)
    for name, rows in measured.items():
        show(out, tables.load(name), rows)
    if options.json and options.json.resolve() == report.DATA:
        report.main()
    return 0


def measure(table: tables.Table, settings: tables.Settings) -> list[tables.Row]:
    """Return the rows of a table. Shows each on standard error when it is there."""
    began, rows = time.monotonic(), []
    print(f"measuring {table.name}: {table.title}", file=sys.stderr, flush=True)
    for row in table.rows(settings):
        rows.append(row)
        figures = "; ".join(f"{column} {results.text(value)}" for column, value in row.figures.items())
        at = f"[{time.monotonic() - began:.0f} s]"
        print(" ", at, ", ".join(filter(None, (row.part, row.case))), figures, file=sys.stderr, flush=True)
    return rows


def show(out: Console, table: tables.Table, rows: Sequence[tables.Row]) -> None:
    """Print a table with its claims."""
    for part, lines in results.parts(rows).items():
        columns = results.columns(lines)
        printed = Table("", *columns, title=f"{table.title}. {part}" if part else table.title)
        for row in lines:
            printed.add_row(row.case, *(results.text(row.figures.get(column)) for column in columns))
        out.print(printed)
    for claim in table.claims(rows):
        out.print(
            f"{'reached' if claim.holds else 'NOT REACHED'}: {claim.text}: {claim.measured}", highlight=False
        )
