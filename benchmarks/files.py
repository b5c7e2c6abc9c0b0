"""Speed and memory of ``push`` and ``predict`` with files: ``python -m benchmarks.files [ROWS]``.

Pushes one table as a file, by a pipe, compressed and with ``--once``, and queries the model with it and with
a table of four times its rows. The commands are processes of their own; figures are CPU time and peak memory
of the command, without the daemon.
"""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from streamlearn.cli.demo.daemon import Daemon
from streamlearn_client import Client

ROWS = 400_000
COLUMNS = 4
REPEATS = 3


class Usage(NamedTuple):
    """CPU seconds and peak memory of a process."""

    cpu: float
    mib: float


def run(arguments: Sequence[str], endpoint: str, source: Path | None = None) -> Usage:
    """Run one command. ``source``: a file that comes to its standard input by a pipe."""
    environment = os.environ | {"STREAMLEARN_ENDPOINT": endpoint}
    pipe = None if source is None else subprocess.Popen(["cat", str(source)], stdout=subprocess.PIPE)
    process = subprocess.Popen(
        [sys.executable, "-m", "streamlearn", *arguments],
        stdin=None if pipe is None else pipe.stdout,
        stdout=subprocess.DEVNULL,
        env=environment,
    )
    peak = 0.0
    while (found := os.wait4(process.pid, os.WNOHANG))[0] == 0:
        with suppress(OSError, IndexError):  # rusage has the peak of this process too, from before the exec
            peak = float(Path(f"/proc/{process.pid}/status").read_text().split("VmHWM:")[1].split()[0])
        time.sleep(0.01)
    _, status, usage = found
    if pipe is not None:
        pipe.wait()
    if status:
        raise SystemExit(f"{' '.join(arguments)} ended with {os.waitstatus_to_exitcode(status)}")
    return Usage(usage.ru_utime + usage.ru_stime, peak / 1024)


def main(rows: int = ROWS) -> None:
    """Measure all ways, interleaved, and print the best of each."""
    with tempfile.TemporaryDirectory() as folder:
        table, packed, long = (Path(folder) / name for name in ("table.csv", "table.csv.gz", "long.csv"))
        x = np.random.default_rng(0).normal(size=(rows, COLUMNS)).astype(np.float32)
        table.write_text("".join(",".join(map(repr, row)) + "\n" for row in x.tolist()))
        packed.write_bytes(gzip.compress(table.read_bytes(), 1))
        with long.open("wb") as file:
            for _ in range(4):
                shutil.copyfileobj(table.open("rb"), file)
        with Daemon(Path(folder) / "data", Path(folder) / "daemon.log", checkpoint_seconds=1e9) as daemon:
            daemon.start()
            with Client(daemon.endpoint, timeout=60) as client:
                client.create("m", kind="som", dim=COLUMNS, grid=[4, 4])
            push = ["push", "-m", "m"]
            ways = {
                "push a file": ([*push, str(table)], None),
                "push standard input": ([*push, "-"], table),
                "push a gzip": ([*push, str(packed)], None),
            }
            found: dict[str, list[Usage]] = {}
            for number in range(REPEATS):
                for name, (arguments, source) in ways.items():
                    found.setdefault(name, []).append(run(arguments, daemon.endpoint, source))
                once = [*push, str(table), "--once", "--source", f"s{number}"]
                found.setdefault("push --once", []).append(run(once, daemon.endpoint))
                found.setdefault("push --once again", []).append(run(once, daemon.endpoint))
            for name, usages in found.items():
                best = min(usages)
                print(f"{name:24} {rows / best.cpu:10,.0f} rows per CPU second, {best.mib:6.0f} MiB")
            for name, path in {"predict": table, "predict, 4 times the rows": long}.items():
                usage = run(["predict", str(path), "-m", "m"], daemon.endpoint)
                print(f"{name:24} {usage.cpu:10.1f} s of CPU, {usage.mib:6.0f} MiB")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
