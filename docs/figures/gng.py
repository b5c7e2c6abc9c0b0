"""Draw gng.png: a growing neural gas that learns two rings.

python docs/figures/gng.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.collections import LineCollection

import streamlearn as sl

MOMENTS = (500, 3_000, 20_000)


def rings(n: int, seed: int) -> np.ndarray:
    """Return samples (n, 2) of two rings with radius 1 and 2 and some noise, equally dense."""
    random = np.random.default_rng(seed)
    angle, radius = random.uniform(0, 2 * np.pi, n), np.where(random.random(n) < 1 / 3, 1.0, 2.0)
    points = radius[:, None] * np.stack((np.cos(angle), np.sin(angle)), axis=1)
    return (points + 0.08 * random.normal(size=(n, 2))).astype(np.float32)


def count_components(units: int, edges: np.ndarray) -> int:
    """Number of connected components of the graph."""
    part = np.arange(units)
    for i, j in edges:
        part[part == part[j]] = part[i]
    return len(np.unique(part))


def draw(file: Path, moments: tuple[int, int, int] = MOMENTS) -> None:
    stream = rings(moments[-1], seed=1)
    gas = sl.GrowingNeuralGas(dim=2, max_units=40, seed=1)
    figure, panels = plt.subplots(1, 3, figsize=(8, 3.15), layout="constrained")
    for axes, moment in zip(panels, moments, strict=True):
        gas.learn(stream[gas.samples : moment])
        axes.scatter(*stream[:180].T, s=3, color="0.8", zorder=0)
        axes.add_collection(LineCollection(list(gas.weights[gas.edges]), colors="tab:blue", linewidths=1.2))
        axes.scatter(*gas.weights.T, s=16, color="tab:blue", edgecolors="white", linewidths=0.5, zorder=2)
        units, edges = len(gas.weights), gas.edges
        components = count_components(units, edges)
        parts = "1 component" if components == 1 else f"{components} components"
        axes.set(xticks=[], yticks=[], aspect="equal")
        axes.set_title(
            f"after {moment:,} samples:\n{units} units, {len(edges)} edges, {parts}",
            fontsize=9,
        )
    figure.savefig(file, dpi=100, pil_kwargs={"optimize": True})
    plt.close(figure)


if __name__ == "__main__":
    draw(Path(__file__).with_suffix(".png"))
