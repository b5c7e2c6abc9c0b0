"""A map's U-matrix, in the terminal and as a PNG: low values are clusters, high values are gaps."""

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

SHADES = " ░▒▓█"  # distinguish levels without colours
COLOURS = ("#440154", "#3b528b", "#21918c", "#5ec962", "#fde725")  # of viridis, dark to light, as in the PNG
LEGEND = 16


class Image(NamedTuple):
    """A title and ``values`` (rows, columns); NaN is drawn as missing."""

    title: str
    values: Matrix


def images(
    u_matrix: NDArray[np.float32], winner: NDArray[np.int32], anomaly: NDArray[np.bool_]
) -> list[Image]:
    """Return the U-matrix, and for each unit the share of anomalies among the samples that it won."""
    shape = u_matrix.shape
    units = u_matrix.size
    won = np.bincount(winner[winner >= 0], minlength=units)
    anomalous = np.bincount(winner[(winner >= 0) & anomaly], minlength=units)
    share = np.divide(anomalous, won, out=np.full(units, np.nan), where=won > 0)
    return [
        Image("U-matrix: distance to the neighbours", u_matrix.astype(np.float64)),
        Image("share of anomalies, by unit", share.reshape(shape)),
    ]


def draw(images: list[Image]) -> Table:
    """Return the images side by side, each with its legend."""
    from rich.table import Table

    table = Table.grid(padding=(0, 4))
    table.add_row(*(image.title for image in images))
    table.add_row(*(_cells(image.values) for image in images))
    table.add_row(*(_legend(image.values) for image in images))
    return table


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
    """Map ``values`` to 0 (lowest) … 1 (highest)."""
    low, high = _range(values)
    return (values - low) / ((high - low) or 1.0)


def _range(values: Matrix) -> tuple[float, float]:
    return float(np.nanmin(values)), float(np.nanmax(values))


def _colour(level: float) -> str:
    """Interpolate between the two nearest colours of ``COLOURS``."""
    position = level * (len(COLOURS) - 1)
    first = min(int(position), len(COLOURS) - 2)
    fraction = position - first
    channels = []
    for start in (1, 3, 5):
        low, high = (int(COLOURS[first + step][start : start + 2], 16) for step in (0, 1))
        channels.append(round(low + fraction * (high - low)))
    return "#{:02x}{:02x}{:02x}".format(*channels)


def save_png(images: list[Image], path: Path) -> None:
    """Write the images to one PNG. Raises ``CommandError`` if matplotlib is not installed."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise CommandError(
            "the PNG needs matplotlib, which is not installed: pip install 'streamlearn[demo]'"
        ) from None
    figure = Figure(figsize=(5.0 * len(images), 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    for image, axes in zip(images, figure.subplots(1, len(images), squeeze=False)[0], strict=True):
        mesh = axes.imshow(image.values, cmap="viridis")
        axes.set_title(image.title, fontsize=10)
        axes.set_xlabel("column")
        axes.set_ylabel("row")
        figure.colorbar(mesh, ax=axes, shrink=0.85)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
