"""``streamlearn warmup``: compile all kernels ahead of the first start."""

from __future__ import annotations

import time

import typer

from streamlearn.cli.options import Json


def add_to(app: typer.Typer) -> None:
    """Add the command of this module to the program."""
    app.command()(warmup)


def warmup(as_json: Json = False) -> None:
    """Compile all kernels, so that the next start is quick.

    The cache is in NUMBA_CACHE_DIR or ~/.cache. It is valid for this installation and this CPU.
    """
    from streamlearn.cli import report

    began = time.monotonic()
    with report.console(err=True).status("loading the compiler"):
        from streamlearn.kernels import compiler
    count = compile_kernels()
    seconds = time.monotonic() - began
    facts = {"kernels": count, "seconds": round(seconds, 3), "cache": str(compiler.cache_path())}
    report.show(facts, as_json, f"{report.many(count, 'kernel')} ready in {report.duration(seconds)}")


def compile_kernels() -> int:
    """Compile all kernels with a progress bar on standard error; return their number."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from streamlearn import kernels
    from streamlearn.cli import report

    columns = (
        TextColumn("compiling kernels"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", style="dim"),
    )
    with Progress(*columns, console=report.console(err=True), transient=True) as progress:
        task = progress.add_task("", total=None)

        def update(name: str, done: int, total: int) -> None:
            progress.update(task, description=name, completed=done, total=total)

        return kernels.compile_all(update)
