"""Draw the dipole experiment of Rumelhart & Zipser (1985): ``python docs/figures/rumelhart_zipser.py``.

The inputs are the points of a square lattice. Every stimulus is a dipole: two neighbouring points. The net
does not know the lattice. A cluster of two units divides it into two halves, a cluster of four into four
regions, because stimuli that overlap excite the same unit.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streamlearn.models.classic.grossberg import Grossberg
from streamlearn.models.stream.schedules import Decay

SIDE = 6
SAMPLES = 20_000
SEEDS = 4
RULE = {"learning_rate": Decay(0.1, 0.005, 4000.0), "sensitivity": 0.001}


def dipoles(side: int) -> NDArray[np.float32]:
    """``(2·side·(side − 1), side²)``: all pairs of neighbours on the lattice."""
    points = np.arange(side * side).reshape(side, side)
    across = np.stack((points[:, :-1].ravel(), points[:, 1:].ravel()), axis=1)
    down = np.stack((points[:-1].ravel(), points[1:].ravel()), axis=1)
    pairs = np.concatenate((across, down))
    stimuli = np.zeros((len(pairs), points.size), np.float32)
    np.put_along_axis(stimuli, pairs, 1, axis=1)
    return stimuli


def lattice(net: Grossberg, side: int) -> NDArray[np.intp]:
    """``(side, side)``: unit of the first cluster with the most weight on each point."""
    return net.weights[0].argmax(axis=0).reshape(side, side)


def taught(units: int, side: int, samples: int, seed: int, **rule: float | Decay) -> Grossberg:
    """Return a net of one cluster that has learned ``samples`` random dipoles."""
    net = Grossberg(dim=side * side, layers=[[units]], seed=seed, **rule)
    stimuli = dipoles(side)
    net.learn(stimuli[np.random.default_rng(seed).integers(len(stimuli), size=samples)])
    return net


def draw(file: Path, samples: int = SAMPLES) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, rows = plt.subplots(2, SEEDS, figsize=(9, 4.9), constrained_layout=True)
    for units, row in zip((2, 4), rows, strict=True):
        for seed, axes in enumerate(row):
            net = taught(units, SIDE, samples, seed, **RULE)
            colours = plt.get_cmap("Set2")(net.predict(dipoles(SIDE)).winner[:, 0])
            for stimulus, colour in zip(dipoles(SIDE), colours, strict=True):
                rows_of_dipole, columns_of_dipole = np.nonzero(stimulus.reshape(SIDE, SIDE))
                axes.plot(columns_of_dipole, rows_of_dipole, color=colour, linewidth=5, zorder=1)
            y, x = np.mgrid[:SIDE, :SIDE]
            axes.scatter(
                x, y, c=lattice(net, SIDE), cmap="Set2", vmin=0, vmax=7, s=70, edgecolors="0.3", zorder=2
            )
            axes.set(xticks=[], yticks=[], aspect="equal", ylim=(SIDE - 0.5, -0.5))
            axes.set_title(f"{units} units, run {seed + 1}", fontsize=9)
    figure.suptitle(
        "Colour of a point: unit with the largest weight on it. Colour of a dipole: its winner",
        fontsize=10,
    )
    figure.savefig(file, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".png"))
