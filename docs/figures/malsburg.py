"""Draw malsburg.png: the orientation map of a sheet before and after twenty rounds of nine bars.

python docs/figures/malsburg.py
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection, PatchCollection
from matplotlib.patches import RegularPolygon

import streamlearn as sl
from streamlearn.models.grids import hexagon, positions

NINE = sl.Malsburg.bars()
ANGLES = (np.arange(9) + 0.5) * np.pi / 9
CIRCLE = mpl.colormaps["hsv"]


def hexagons(axes: Axes, places: np.ndarray, colours: np.ndarray) -> None:
    cells = [RegularPolygon(tuple(place), 6, radius=0.577) for place in places]
    axes.add_collection(PatchCollection(cells, facecolors=colours, edgecolors="white", linewidths=0.5))
    axes.set_aspect("equal")
    axes.autoscale_view()
    axes.set_axis_off()


def preference(responses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the preferred angle and the selectivity, 0 to 1, of each cell from responses (cells, 9)."""
    z = responses @ np.exp(2j * ANGLES) / np.maximum(responses.sum(axis=1), 1e-9)
    return np.angle(z) / 2 % np.pi, np.abs(z)


def angle_difference(places: np.ndarray, angles: np.ndarray) -> float:
    """Mean difference between the angles of neighbours in degrees; 45 if they are unrelated."""
    distances = np.linalg.norm(places[:, None] - places, axis=2)
    one, other = np.nonzero((distances > 0.5) & (distances < 1.5))
    return float(np.degrees(np.abs(np.angle(np.exp(2j * (angles[one] - angles[other])))) / 2).mean())


def orientation_map(axes: Axes, sheet: sl.Malsburg, title: str) -> None:
    """Draw the preferred angle of each cell's afferents. Pale cells fire for no bar."""
    places, (angle, tuned) = sheet.positions, preference(sheet.weights @ NINE.T)
    on = sheet.predict(NINE).activity.T > 0
    colours = CIRCLE(angle / np.pi)
    colours[~on.any(axis=1), 3] = 0.25
    hexagons(axes, places, colours)
    along = 0.35 * np.stack((np.cos(angle), np.sin(angle)), axis=1)
    strokes = np.stack((places - along, places + along), axis=1)
    axes.add_collection(LineCollection(list(strokes), colors="black", linewidths=1))
    ranges = (on & ~np.roll(on, 1, axis=1)).sum(axis=1)
    difference = angle_difference(places, angle)
    axes.set_title(
        f"{title}\nafferents: tuning {tuned.mean():.2f}, difference of neighbours {difference:.0f}°\n"
        f"{(ranges == 1).sum()} of {len(places)} cells respond in one range of angles,"
        f" {(ranges > 1).sum()} in several",
        fontsize=9,
    )


def draw(file: Path, rounds: int = 20) -> None:
    figure = plt.figure(figsize=(10, 6.4), layout="constrained")
    bars, maps = figure.subfigures(2, 1, height_ratios=(1, 4))
    retina = positions(hexagon(2))
    for axes, bar, angle in zip(bars.subplots(1, 9), NINE, ANGLES, strict=True):
        dark, light = np.array([0.93, 0.93, 0.93, 1]), np.array(CIRCLE(angle / np.pi))
        hexagons(axes, retina, np.where(bar[:, None] > 0, light, dark))

    before, after = maps.subplots(1, 2)
    sheet = sl.Malsburg(dim=19, seed=1)
    orientation_map(before, sheet, "before")
    sheet.learn(np.tile(NINE, (rounds, 1)))
    orientation_map(after, sheet, f"after {rounds} rounds of the nine bars")
    scale = ScalarMappable(mpl.colors.Normalize(0, 180), CIRCLE)
    maps.colorbar(scale, ax=[before, after], label="preferred orientation (degrees)", ticks=range(0, 181, 45))
    figure.savefig(file, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    draw(Path(__file__).with_suffix(".png"))
