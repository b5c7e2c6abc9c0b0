"""Draw cognitron.png: activity of three layers for five digits, and its similarity between digits.

python docs/figures/cognitron.py
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

import streamlearn as sl

DIGITS = """
............ ............ ............ ............ ............
....####.... .....#...... ...#####.... ..#######... ......##....
...#....#... ....##...... ..#.....#... .......#.... .....#.#....
..#......#.. ...#.#...... ........#... ......#..... ....#..#....
..#......#.. .....#...... .......#.... .....###.... ...#...#....
..#......#.. .....#...... ......#..... ........#... ..#....#....
..#......#.. .....#...... .....#...... ........#... ..########..
..#......#.. .....#...... ....#....... ..#.....#... .......#....
...#....#... .....#...... ...#........ ...#####.... .......#....
....####.... ...#####.... ..#######... ............ .......#....
............ ............ ............ ............ ............
............ ............ ............ ............ ............
"""
ROUNDS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50)


def pictures() -> np.ndarray:
    """Return the five digits, shape (5, 144)."""
    rows = [line.split() for line in DIGITS.strip().splitlines()]
    dots = np.array([[[dot == "#" for dot in part] for part in row] for row in rows])
    return dots.transpose(1, 0, 2).reshape(5, 144).astype(np.float32)


def similarity(activity: np.ndarray) -> float:
    """Mean cosine between the activities for different digits."""
    lengths = np.linalg.norm(activity, axis=1)
    cosines = activity @ activity.T / np.maximum(np.outer(lengths, lengths), 1e-30)
    return float(cosines[np.triu_indices(len(activity), 1)].mean())


def draw(file: Path, rounds: Sequence[int] = ROUNDS) -> None:
    digits = pictures()
    figure = plt.figure(figsize=(10, 5), layout="constrained")
    activities, curves = figure.subfigures(1, 2, width_ratios=(3, 2))
    panels = activities.subplots(4, 5)
    axes = curves.subplots()
    for panel, digit in zip(panels[0], digits, strict=True):
        panel.imshow(digit.reshape(12, 12), cmap="Greys")
    panels[0][0].set_ylabel("sample")
    for layers in (1, 2, 3):  # the lower layers of a deeper net are the same
        net = sl.Cognitron(dim=144, shape=(12, 12), layers=layers)
        similarities, learned = [], 0
        for until in rounds:
            net.learn(np.tile(digits, (until - learned, 1)))
            learned = until
            activity = net.predict(digits).activity
            similarities.append(similarity(activity) if activity.max(axis=1).min() > 0.01 else np.nan)
        for panel, response in zip(panels[layers], activity, strict=True):
            panel.imshow(response.reshape(12, 12), cmap="magma", vmin=0, vmax=1)
        panels[layers][0].set_ylabel(f"layer {layers}")
        axes.plot(rounds, similarities, marker="o", label=f"layer {layers}")
    for panel in panels.flat:
        panel.set_xticks([])
        panel.set_yticks([])
    activities.suptitle(f"activity after {rounds[-1]} rounds", fontsize=10)
    axes.axhline(similarity(digits), color="grey", linestyle="--", label="the digits (input)")
    axes.set(xlabel="rounds of the five digits", ylabel="mean cosine between digits", ylim=(0, None))
    axes.set_title("responses to different digits become less similar", fontsize=10)
    axes.legend()
    figure.savefig(file, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    draw(Path(__file__).with_suffix(".png"))
