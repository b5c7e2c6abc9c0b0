"""``streamlearn warmup``: compile all kernels ahead of the first start."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from streamlearn.cli.options import Json

if TYPE_CHECKING:
    from rich.console import Console

    from streamlearn.kernels import Progress


def warmup(as_json: Json = False) -> None:
    """Compile all kernels, so that the next start is quick.

    The cache is in NUMBA_CACHE_DIR or ~/.cache. It is valid for this installation and this type of processor,
    or for all of a level: STREAMLEARN_PROCESSOR (docs/operate/deployment.md).
    """
    from streamlearn.cli import report

    began = time.monotonic()
    count = compile_kernels()
    from streamlearn.kernels import compiler

    seconds = time.monotonic() - began
    facts = {"kernels": count, "seconds": round(seconds, 3), "cache": str(compiler.cache_path())}
    report.show(facts, as_json, f"{report.many(count, 'kernel')} ready in {report.duration(seconds)}")


def compile_kernels() -> int:
    """Compile all kernels and return their number. Show the progress on standard error.

    A terminal gets a bar. Otherwise each kernel that is compiled gets a line.
    """
    from streamlearn.cli import report

    console = report.console(err=True)
    if not console.is_terminal:
        console.print("loading the compiler")
    with console.status("loading the compiler"):
        from streamlearn import kernels
    if kernels.not_cached() and not console.is_terminal:
        return kernels.compile_all(
            lambda name, done, total: console.print(f"compiling kernel {done + 1} of {total}, {name}")
        )
    return _with_bar(console, kernels.compile_all)


def _with_bar(console: Console, compile_all: Callable[[Progress], int]) -> int:
    from rich import progress as bars

    columns = (
        bars.TextColumn("compiling kernels"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TimeElapsedColumn(),
        bars.TextColumn("{task.description}", style="dim"),
    )
    with bars.Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=None)

        def update(name: str, done: int, total: int) -> None:
            progress.update(task, description=name, completed=done, total=total)

        return compile_all(update)
