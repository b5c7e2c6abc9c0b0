"""Draw the word experiments of Rumelhart & Zipser (1985): ``python docs/figures/words.py``.

The stimuli are words of two letters, drawn as points. The units of a cluster of two become detectors of one
letter in one position; those of a cluster of four become detectors of words. If the second letter correlates
with the first, it teaches a grouping of first letters that their shapes do not suggest.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streamlearn.models.classic.grossberg import Grossberg

LETTERS = {
    "A": "..#.. .#.#. #...# #...# ##### #...# #...#",
    "B": "####. #...# #...# ####. #...# #...# ####.",
    "S": ".#### #.... #.... .###. ....# ....# ####.",
    "E": "##### #.... #.... ####. #.... #.... #####",
    " ": "..... ..... ..... ..... ..... ..... .....",
}
HEIGHT, WIDTH = 7, 5
WORDS = ["AA", "AB", "BA", "BB"]
ALONE = ["A ", "B ", "S ", "E "]
TAUGHT = ["AA", "BA", "SB", "EB"]
SAMPLES = 6000
RUNS = 1, 2  # seeds: one net detects the second letter, the other the first
_GAP = ((0, 0), (0, 0), (0, 1))


def show(*words: str) -> NDArray[np.float32]:
    """``(words, 35·letters)``: the points of each letter row by row, letter after letter."""
    dots = {letter: [dot == "#" for dot in form.replace(" ", "")] for letter, form in LETTERS.items()}
    return np.array([[dot for letter in word for dot in dots[letter]] for word in words], np.float32)


def reader(
    words: Sequence[str], layers: list[list[int]], seed: int, samples: int = SAMPLES, **rule: float
) -> Grossberg:
    """Return a net that has learned ``samples`` random words of ``words``."""
    stimuli = show(*words)
    net = Grossberg(dim=stimuli.shape[1], layers=layers, learning_rate=0.05, seed=seed, **rule)
    net.learn(stimuli[np.random.default_rng(seed + 100).integers(len(words), size=samples)])
    return net


def winners(net: Grossberg, words: Sequence[str], cluster: int = 0) -> list[int]:
    """Number of the winning unit of a cluster for each word."""
    found: list[int] = net.predict(show(*words)).winner[:, cluster].tolist()
    return found


def _points(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Picture of letters side by side with a gap between them."""
    return np.pad(np.concatenate(np.pad(values.reshape(-1, HEIGHT, WIDTH), _GAP), axis=1), 1)


def draw(file: Path, samples: int = SAMPLES) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, rows = plt.subplots(4, 4, figsize=(9, 7.4), constrained_layout=True)
    for word, axes in zip(WORDS, rows[0], strict=True):
        axes.imshow(_points(show(word)[0]), cmap="Greys")
        axes.set_title(f"shown: {word}", fontsize=9)

    first, second = (reader(WORDS, [[2]], seed, samples, leak=0.005) for seed in RUNS)
    whole = reader(WORDS, [[4]], 0, samples, sensitivity=0.002)
    untaught, taught = (reader(words, [[2]], 1, samples, leak=0.005) for words in (ALONE, TAUGHT))
    for row, nets in (
        (rows[1], [(first, WORDS, "two units, seed 1"), (second, WORDS, "two units, seed 2")]),
        (rows[2], [(whole, WORDS, "four units")]),
        (rows[3], [(untaught, ALONE, "without teacher"), (taught, ALONE, "with teacher")]),
    ):
        units = [
            (net, words, title, unit) for net, words, title in nets for unit in range(len(net.weights[0]))
        ]
        for axes, (net, words, title, unit) in zip(row, units, strict=True):
            won = [word.strip() for word, by in zip(words, winners(net, words), strict=True) if by == unit]
            axes.imshow(_points(net.weights[0][unit]), cmap="Greys", vmin=0)
            axes.set_title(f"{title}: {', '.join(won) or 'none'}", fontsize=9)
    for axes in rows.flat:
        axes.set(xticks=[], yticks=[])
    figure.suptitle("Weights of each unit, and the words that it wins", fontsize=10)
    figure.savefig(file, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".png"))
