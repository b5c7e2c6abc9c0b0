"""Draw hamming.png: activities of the MaxNet for a clear case, a close case and a tie.

python docs/figures/hamming.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

import streamlearn as sl

NAMES = "EFHT"
LETTERS = """
........ ........ ........ ........
.#####.. .#####.. .#....#. .#####..
.#...... .#...... .#....#. ...#....
.#...... .#...... .#....#. ...#....
.####... .####... .######. ...#....
.#...... .#...... .#....#. ...#....
.#...... .#...... .#....#. ...#....
.#####.. .#...... .#....#. ...#....
"""


def letters() -> np.ndarray:
    """Return the four letters, shape (4, 64), values −1 and 1."""
    rows = [line.split() for line in LETTERS.strip().splitlines()]
    dots = np.array([[[dot == "#" for dot in part] for part in row] for row in rows])
    return np.where(dots.transpose(1, 0, 2).reshape(len(NAMES), 64), 1.0, -1.0)


def draw_recurrence(axes: Axes, net: sl.HammingNet, sample: np.ndarray, title: str) -> None:
    """Draw the activities y of the units before and after each iteration of the MaxNet."""
    out = net.predict(sample[None])
    activities = [(net.weights @ sample + sample.size) / 2]
    for _ in range(out.iterations[0]):
        y = activities[-1]
        activities.append(np.maximum(0, y - net.spec.epsilon * (y.sum() - y)))
    for unit, style in enumerate(("-", "--", "-", ":")):  # some lines coincide
        axes.plot([y[unit] for y in activities], style, marker=".", label=NAMES[unit])
    axes.set_xlabel("iteration of the MaxNet")
    verdict = "a tie" if out.tie[0] else f"{NAMES[out.winner[0]]} wins"
    axes.set_title(f"{title}:\n{out.iterations[0]} iterations, {verdict}", fontsize=9)
    picture = axes.inset_axes((0.66, 0.64, 0.32, 0.32))
    picture.imshow(sample.reshape(8, 8), cmap="Greys")
    picture.set(xticks=[], yticks=[])


def draw(file: Path) -> None:
    patterns = letters()
    net = sl.HammingNet(dim=64, patterns=patterns)
    figure, panels = plt.subplots(1, 3, figsize=(8, 3.5), layout="constrained", sharex=True, sharey=True)
    noisy = patterns[2].copy()
    noisy[np.random.default_rng(1).permutation(64)[:12]] *= -1
    bar = np.flatnonzero(patterns[0] != patterns[1])  # the lowest bar of the E, an even number of points
    most, half = patterns[0].copy(), patterns[0].copy()
    most[bar[len(bar) // 2 + 1 :]] = half[bar[len(bar) // 2 :]] = -1
    draw_recurrence(panels[0], net, noisy, "H, 12 of 64 lines wrong")
    draw_recurrence(panels[1], net, most, "E with 3/4 of its lowest bar")
    draw_recurrence(panels[2], net, half, "E with half of its lowest bar")
    panels[0].set(ylabel="activity (at iteration 0: matching lines)", ylim=(0, 70))
    panels[0].legend(loc="upper center", ncols=1)
    figure.savefig(file, dpi=100, pil_kwargs={"optimize": True})
    plt.close(figure)


if __name__ == "__main__":
    draw(Path(__file__).with_suffix(".png"))
