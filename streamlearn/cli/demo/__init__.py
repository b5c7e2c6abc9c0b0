"""``streamlearn demo``: the whole scenario on real data, with checks of the results."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from streamlearn.cli.options import Json


def demo(
    keep: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="keep the data directory and the log here", show_default="removed"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="seed of the models' initial weights")] = 1,
    png: Annotated[Path, typer.Option(metavar="FILE", help="where to write the U-matrix")] = Path(
        "demo-u-matrix.png"
    ),
    kills: Annotated[int, typer.Option(min=0, help="how often to kill the daemon during the streams")] = 1,
    seconds: Annotated[float, typer.Option(min=0, help="duration of the streams")] = 8.0,
    stay: Annotated[
        bool, typer.Option("--stay", help="show the models in a page at the end, until Ctrl-C")
    ] = False,
    as_json: Json = False,
) -> None:
    """Stream real data into a daemon, kill it, recover, and check that nothing was lost.

    A daemon in a temporary directory learns sensor readings of a space shuttle and of a water pipe. Another
    process queries the models. The daemon is killed with kill -9 and restarted. At the end every model must
    equal an uninterrupted run bit for bit. If a check fails, the command names it and exits with 13. With
    --stay, a page shows the models at the end.
    """
    from streamlearn.cli import report
    from streamlearn.cli.demo import checks, data, summary, umatrix
    from streamlearn.cli.demo.models import LSTM, MAP, NET, demo_models
    from streamlearn.cli.demo.page import ADDRESS
    from streamlearn.cli.demo.page import stay as show_page
    from streamlearn.cli.demo.scenario import run_scenario
    from streamlearn.cli.errors import PromiseBroken
    from streamlearn.cli.warmup import compile_kernels
    from streamlearn_client.keys import VARIABLES

    for name in VARIABLES:  # the user's keys are for another daemon
        os.environ.pop(name, None)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stop the daemon on SIGTERM as on Ctrl-C
    console = report.console(err=as_json)
    with console.status("reading the data"):
        shuttle, water = data.shuttle(), data.water()
    console.print(
        f"{len(shuttle.x):,} readings of a space shuttle's nine sensors, {water.readings:,} of a water pipe"
    )
    compile_kernels()
    with _directory(keep) as directory:
        models = demo_models(shuttle.x, water.x, seed)
        results = run_scenario(models, directory, kills, seconds, console)
        references = {result.model.name: result.reference for result in results.models}
        auc = {name: checks.roc_auc(shuttle.anomaly, references[name].outputs.score) for name in (MAP, NET)}
        errors = checks.one_step_errors(water.x, references[LSTM].outputs.arrays["prediction"])
        quality = checks.Quality(auc, errors)
        checked = checks.run_checks(results, quality)
        winner = references[MAP].outputs.arrays["winner"]
        images = umatrix.images(references[MAP].u_matrix(), winner, shuttle.anomaly)
        umatrix.save_png(images, png)
        report.show(
            summary.facts(results, quality, checked) | {"png": str(png)},
            as_json,
            *summary.renderables(results, quality, checked, umatrix.draw(images)),
            f"image: {png}" + (f"; data and log: {keep}" if keep is not None else ""),
        )
        broken = [check for check in checked if not check.passed]
        if broken:
            listed = "; ".join(f"{check.text} ({check.evidence})" for check in broken)
            text = f"{len(broken)} of {len(checked)} promises broken: {listed}"
            raise PromiseBroken(text, broken=len(broken))
        if stay:
            show_page(models, directory, console)
        else:
            hint = f"make demo ARGS=--stay shows these models in a page, at http://{ADDRESS}"
            console.print(hint, highlight=False)


@contextmanager
def _directory(keep: Path | None) -> Iterator[Path]:
    """Yield the demo's directory: ``keep``, which must be new or empty, or a temporary directory."""
    from streamlearn.cli.errors import BadUsage

    if keep is None:
        with tempfile.TemporaryDirectory(prefix="streamlearn-demo-", ignore_cleanup_errors=True) as made:
            yield Path(made)
        return
    keep.mkdir(parents=True, exist_ok=True)
    if any(keep.iterdir()):
        raise BadUsage(f"--keep {keep}: the directory is not empty; choose an empty or a new directory")
    yield keep
