"""``make bench``: measure streamlearn beside its peers, in one run.

python -m benchmarks                             everything of `make bench`
python -m benchmarks --only som,recurrent        some suites
python -m benchmarks --json docs/data/bench.json also write the results, for `python -m benchmarks.report`
python -m benchmarks --quick                     a test of the benchmarks: small sizes, one round
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from . import results, suites
from .timing import Row, Settings


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", metavar="SUITE,…", help=f"suites to run: {', '.join(suites.SUITES)}")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each comparison (default 5)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--quick", action="store_true", help="small sizes and one round; the numbers mean nothing"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the results to FILE; --only keeps other suites in it"
    )
    options = parser.parse_args(arguments)
    names = suites.chosen(options.only)
    unknown = [name for name in names if name not in suites.SUITES]
    if unknown:
        parser.error(f"no suite {', '.join(unknown)}; choose from {', '.join(suites.SUITES)}")
    settings = Settings(1 if options.quick else options.rounds, options.seed, options.quick)
    console = Console(stderr=True)
    run = results.Run(settings)
    earlier = options.json.read_text() if options.json and options.only and options.json.exists() else None
    began = time.monotonic()
    if not options.quick:  # no suite waits for the compiler
        console.print("loading or compiling all kernels", highlight=False)
        subprocess.run([sys.executable, "-m", "streamlearn", "warmup"], check=True, stdout=subprocess.DEVNULL)
    for number, name in enumerate(names, 1):
        at = f"{name} (suite {number} of {len(names)}, {time.monotonic() - began:.0f} s)"
        with console.status(f"measuring {at}"):
            if not console.is_terminal:
                console.print(f"measuring {at}", highlight=False)
            for row in _pinned(suites.SUITES[name], settings):
                run.add(name, row)
                console.print(f"  {results.line(row)}", highlight=False, soft_wrap=True)
        if options.json:  # after every suite: an interrupted run keeps what it measured
            options.json.write_text(run.as_json(earlier))
    out = Console(width=None if console.is_terminal else 150)
    for table in run.tables():
        out.print(table)
    out.print(run.footer(), highlight=False)
    return 0


def _pinned(suite: suites.Suite, settings: Settings) -> Iterator[Row]:
    """Run a suite; one that computes in this process stays on one core."""
    cores = os.sched_getaffinity(0)
    if suite.one_core:
        os.sched_setaffinity(0, {max(cores)})
    try:
        yield from suite.load()(settings)
    finally:
        os.sched_setaffinity(0, cores)
