"""Draw som.png: a hexagonal map of 20,000 readings of the nine sensors of a space shuttle.

python docs/figures/som.py
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from river import datasets

import streamlearn as sl


def draw(file: Path, samples: int = 20_000) -> None:
    readings = np.array([list(x.values()) for x, _ in islice(datasets.Shuttle(), samples)], np.float32)
    som = sl.SOM(dim=9, grid=(12, 12), topology="hexagonal", scale="standard", seed=1)
    som.learn(readings)
    figure, axes = plt.subplots(2, 2, figsize=(10, 8.5), layout="constrained")
    som.plot_u_matrix(axes[0, 0]).set_title("U-matrix: ridges separate the regimes")
    som.plot_hits(axes[0, 1]).set_title("hits: number of recent samples per unit")
    som.plot_component(0, axes[1, 0]).set_title("component plane of sensor 0")
    som.plot_component(6, axes[1, 1]).set_title("component plane of sensor 6")
    figure.savefig(file, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    draw(Path(__file__).with_suffix(".png"))
