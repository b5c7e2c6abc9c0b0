"""Draw competitive.png: final positions of 24 prototypes on an uneven stream, for each learning rule.

python docs/figures/competitive.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

import streamlearn as sl

UNITS, SAMPLES = 24, 40_000
# Four clusters: centres, standard deviations, and shares of the stream.
MIDDLES = np.array([(-4.0, 2.6), (1.2, 3.2), (4.2, -0.8), (-1.2, -3.4)])
WIDTHS = np.array([0.6, 1.0, 0.4, 0.8])
SHARES = np.array([0.6, 0.2, 0.15, 0.05])
FALLING = {"learning_rate": sl.Decay(0.5, 0.02)}
RULES: dict[str, dict[str, object]] = {
    "hard, rate 0.5 → 0.02": FALLING,
    "the same, conscience 100": {**FALLING, "conscience": 100.0},
    "the same, frequency-sensitive": {**FALLING, "frequency_sensitive": True},
    "hard, rate 1/n": {},
    "soft, rate 1/n": {"mode": "soft"},
    "neural gas": {"mode": "gas"},
}


def uneven(n: int, seed: int) -> np.ndarray:
    """Return samples of all clusters in random order, shape (n, 2)."""
    random = np.random.default_rng(seed)
    cluster = random.choice(len(SHARES), size=n, p=SHARES)
    noise = WIDTHS[cluster, None] * random.normal(size=(n, 2))
    return (MIDDLES[cluster] + noise).astype(np.float32)


def draw(file: Path, samples: int = SAMPLES) -> None:
    stream = uneven(samples, seed=1)
    figure, panels = plt.subplots(2, 3, figsize=(8, 5.6), layout="constrained", sharex=True, sharey=True)
    for axes, (name, rule) in zip(panels.flat, RULES.items(), strict=True):
        net = sl.Competitive(dim=2, units=UNITS, seed=2, **rule)
        net.learn(stream)
        dead = np.isin(np.arange(UNITS), net.dead_units)
        axes.scatter(*stream[:300].T, s=3, color="0.82", zorder=0)
        axes.scatter(*net.weights[~dead].T, s=22, color="tab:blue", edgecolors="white", linewidths=0.5)
        axes.scatter(*net.weights[dead].T, s=26, color="tab:red", marker="x", linewidths=1.3)
        error = net.quality()["quantization_error"]
        axes.set_title(f"{name}\nmean distance {error:.2f}, dead units {dead.sum()}", fontsize=9)
        axes.set(xticks=[], yticks=[], aspect="equal")
    figure.savefig(file, dpi=100, pil_kwargs={"optimize": True})
    plt.close(figure)


if __name__ == "__main__":
    draw(Path(__file__).with_suffix(".png"))
