"""A map's U-matrix, in the terminal and as a PNG: low plains are clusters, high ridges lie between them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamlearn.cli.errors import CommandError

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

Matrix = NDArray[np.float64]

SHADES = " ░▒▓█"  # tell the levels apart where there is no colour
COLOURS = ("#440154", "#3b528b", "#21918c", "#5ec962", "#fde725")  # of viridis, dark to light, as in the PNG
LEGEND = 16


class Picture(NamedTuple):
    """What to draw: ``values`` (rows, columns), NaN where there is none."""

    title: str
    values: Matrix


def pictures(
    u_matrix: NDArray[np.float32], winner: NDArray[np.int32], anomaly: NDArray[np.bool_]
) -> list[Picture]:
    """The U-matrix, and for each unit the share of anomalies among the samples that it won."""
    shape = u_matrix.shape
    units = u_matrix.size
    won = np.bincount(winner[winner >= 0], minlength=units)
    bad = np.bincount(winner[(winner >= 0) & anomaly], minlength=units)
    share = np.divide(bad, won, out=np.full(units, np.nan), where=won > 0)
    return [
        Picture("U-matrix: distance to the neighbours", u_matrix.astype(np.float64)),
        Picture("share of anomalies, by unit", share.reshape(shape)),
    ]


def draw(drawn: list[Picture]) -> Table:
    """The pictures side by side, each with its legend."""
    from rich.table import Table

    made = Table.grid(padding=(0, 4))
    made.add_row(*(picture.title for picture in drawn))
    made.add_row(*(_cells(picture.values) for picture in drawn))
    made.add_row(*(_legend(picture.values) for picture in drawn))
    return made


def _cells(values: Matrix) -> Text:
    from rich.text import Text

    text = Text()
    for row in _levels(values):
        for level in row:
            _append(text, level, 2)
        text.append("\n")
    return text


def _legend(values: Matrix) -> Text:
    from rich.text import Text

    low, high = _range(values)
    text = Text(f"{low:.2f} ")
    for level in np.linspace(0, 1, LEGEND):
        _append(text, level, 1)
    return text.append(f" {high:.2f}")


def _append(text: Text, level: float, width: int) -> None:
    if np.isnan(level):
        text.append("·" + " " * (width - 1), style="dim")
        return
    shade = SHADES[min(int(level * len(SHADES)), len(SHADES) - 1)]
    colour = _colour(level)
    text.append(shade * width, style=f"{colour} on {colour}")


def _levels(values: Matrix) -> Matrix:
    """``values`` from 0 (lowest) to 1 (highest)."""
    low, high = _range(values)
    return (values - low) / ((high - low) or 1.0)


def _range(values: Matrix) -> tuple[float, float]:
    return float(np.nanmin(values)), float(np.nanmax(values))


def _colour(level: float) -> str:
    """A colour between the two of ``COLOURS`` that are nearest."""
    place = level * (len(COLOURS) - 1)
    first = min(int(place), len(COLOURS) - 2)
    part = place - first
    channels = []
    for start in (1, 3, 5):
        low, high = (int(COLOURS[first + step][start : start + 2], 16) for step in (0, 1))
        channels.append(round(low + part * (high - low)))
    return "#{:02x}{:02x}{:02x}".format(*channels)


def save_png(drawn: list[Picture], path: Path) -> None:
    """Write the pictures to one PNG. Raises ``CommandError`` where matplotlib is not installed."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise CommandError(
            "pictures are drawn by matplotlib, which is not installed: pip install 'streamlearn[demo]'"
        ) from None
    figure = Figure(figsize=(5.0 * len(drawn), 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    for picture, axes in zip(drawn, figure.subplots(1, len(drawn), squeeze=False)[0], strict=True):
        image = axes.imshow(picture.values, cmap="viridis")
        axes.set_title(picture.title, fontsize=10)
        axes.set_xlabel("column")
        axes.set_ylabel("row")
        figure.colorbar(image, ax=axes, shrink=0.85)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
