"""Draw bidirectional.png: error rate by position in the chunk, for several lengths of right context.

python docs/figures/bidirectional.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

import streamlearn as sl

CHUNK = 16


def task(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return x (n, 1), −1 or 1 by phase plus noise of deviation 1, and y (n, 1), the phase, 0 or 1.

    A phase lasts 20 samples on average.
    """
    random = np.random.default_rng(seed)
    phase = np.cumsum(random.random(n) < 1 / 20) % 2
    x = 2 * phase - 1 + random.normal(size=n)
    return x[:, None].astype(np.float32), phase[:, None].astype(np.float32)


def error_rate(net: sl.RNN | sl.BidirectionalRNN, n: int) -> np.ndarray:
    """Return the error rate by position in the chunk, shape (CHUNK,), in the second half of the stream."""
    x, phase = task(n, seed=1)
    predicted = net.learn(x, phase).prediction.argmax(axis=1)
    errors = (predicted != phase[: len(predicted), 0]).astype(float)
    chunks = errors[: len(errors) // CHUNK * CHUNK].reshape(-1, CHUNK)
    return chunks[len(chunks) // 2 :].mean(axis=0)


def draw(file: Path, samples: int = 400_000) -> None:
    spec = {"dim": 1, "hidden": 16, "classes": 2, "loss": "cross_entropy", "seed": 1}
    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    at_once = error_rate(sl.RNN(readout="adam", target="given", tbptt=(CHUNK, CHUNK), **spec), samples).mean()
    axes.axhline(100 * at_once, color="grey", linestyle="--", label="RNN, at once")
    for context in (0, 4, 16):
        net = sl.BidirectionalRNN(chunk=(CHUNK, context), **spec)
        axes.plot(
            range(CHUNK),
            100 * error_rate(net, samples),
            label=f"both directions, {context} samples of context",
        )
    axes.set_xlabel("position in the chunk")
    axes.set_ylabel("error rate, %")
    axes.set_ylim(bottom=0)
    axes.set_title("Classification of two phases under noise", fontsize=10)
    axes.legend()
    figure.savefig(file, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    draw(Path(__file__).with_suffix(".png"))
