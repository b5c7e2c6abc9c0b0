"""``streamlearn demo``: the whole story on real data, and whether every promise was kept."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from streamlearn.cli.options import Json


def add_to(app: typer.Typer) -> None:
    app.command()(demo)


def demo(
    keep: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="keep the data directory and the log here", show_default="removed"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="of the models' initial weights")] = 1,
    png: Annotated[Path, typer.Option(metavar="FILE", help="where the U-matrix goes")] = Path(
        "demo-u-matrix.png"
    ),
    kills: Annotated[int, typer.Option(min=0, help="how often the daemon is killed on the way")] = 1,
    seconds: Annotated[float, typer.Option(min=0, help="over which the streams are spread")] = 8.0,
    as_json: Json = False,
) -> None:
    """See it learn, answer, be killed with kill -9, come back, and be the very model it would have been.

    A daemon in a temporary directory learns readings of a space shuttle and of a water pipe, while another
    process asks it questions. Nothing is staged: if any promise was broken, it names it and exits with 13.
    """
    from streamlearn.cli import report
    from streamlearn.cli.demo import data, promises, story, summary, umatrix
    from streamlearn.cli.demo.cast import LSTM, MAP, NET, roles
    from streamlearn.cli.demo.measure import one_step, roc_auc
    from streamlearn.cli.errors import PromiseBroken
    from streamlearn.cli.warmup import compile_kernels

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # leave no daemon behind
    console = report.console(err=as_json)
    with console.status("reading the data"):
        shuttle, water = data.shuttle(), data.water()
    console.print(
        f"{len(shuttle.x):,} readings of a space shuttle's nine sensors, {water.readings:,} of a water pipe"
    )
    compile_kernels()
    with _folder(keep) as folder:
        seen = story.play(roles(shuttle.x, water.x, seed), folder, kills, seconds, console)
    twins = {one.role.name: one.twin for one in seen.played}
    auc = {name: roc_auc(shuttle.anomaly, twins[name].outputs.score) for name in (MAP, NET)}
    quality = promises.Quality(auc, one_step(water.x, twins[LSTM].outputs.prediction))
    promised = promises.promises(seen, quality)
    drawn = umatrix.pictures(twins[MAP].u_matrix(), twins[MAP].outputs.winner, shuttle.anomaly)
    umatrix.save_png(drawn, png)
    report.show(
        summary.facts(seen, quality, promised) | {"png": str(png)},
        as_json,
        *summary.shown(seen, quality, promised, umatrix.draw(drawn)),
        f"as a picture: {png}" + (f"; data and log: {keep}" if keep is not None else ""),
    )
    broken = [promise for promise in promised if not promise.kept]
    if broken:
        told = "; ".join(f"{promise.text} ({promise.evidence})" for promise in broken)
        raise PromiseBroken(f"{len(broken)} of {len(promised)} promises broken: {told}", broken=len(broken))


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """Where the demo's daemon works: ``keep``, which must be new or empty, or a temporary directory."""
    from streamlearn.cli.errors import BadUsage

    if keep is None:
        with tempfile.TemporaryDirectory(prefix="streamlearn-demo-", ignore_cleanup_errors=True) as made:
            yield Path(made)
        return
    keep.mkdir(parents=True, exist_ok=True)
    if any(keep.iterdir()):
        raise BadUsage(f"--keep {keep}: the directory is not empty; give one that is, or a new one")
    yield keep
