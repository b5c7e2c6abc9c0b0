"""Draw gradient_by_lag.png: norm of the gradient by lag for an Elman net, a GRU and an LSTM.

python docs/figures/gradient_by_lag.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

import streamlearn as sl

LAGS = 64


def task(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return x (n, 2), value and marker, and y (n, 1), the value at the last marker.

    A marker comes every 40 samples on average.
    """
    random = np.random.default_rng(seed)
    value, marker = random.choice([-1.0, 1.0], n), random.random(n) < 1 / 40
    marker[0] = True
    remembered = value[np.maximum.accumulate(np.where(marker, np.arange(n), 0))]
    return np.stack((value, marker), axis=1).astype(np.float32), remembered[:, None].astype(np.float32)


def learn(cell: str, n: int) -> sl.RNN:
    net = sl.RNN(
        readout="adam",
        dim=2, hidden=16, cell=cell, target="given", tbptt=(16, LAGS), learning_rate=0.003, clip=1.0,
        record_lags=True, half_life=5000.0, seed=1,
    )  # fmt: skip
    net.learn(*task(n, seed=1))
    return net


def draw(file: Path, samples: int = 60_000) -> None:
    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    for cell, name in (("elman", "Elman"), ("gru", "GRU"), ("lstm", "LSTM")):
        net = learn(cell, samples)
        norms = net.gradient_by_lag
        axes.semilogy(norms / norms[0], label=f"{name}, mean error {net.quality()['mae']:.2f}")
    axes.set_xlabel("lag j")
    axes.set_ylabel("‖∂L_t/∂s_{t−j}‖ / ‖∂L_t/∂s_t‖")
    axes.set_title("Gradient by lag: the task is to remember a value for 40 samples on average", fontsize=10)
    axes.legend()
    figure.savefig(file, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    draw(Path(__file__).with_suffix(".png"))
