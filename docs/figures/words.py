"""Draw the word experiments of Rumelhart & Zipser (1985): ``python docs/figures/words.py``.

Words of two letters are shown, as points. A cluster of two units becomes a detector of one letter in one
position, a cluster of four one of whole words. And a second letter that goes with the first teaches a
grouping of first letters that they would not fall into by their looks.
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
RUNS = 1, 2  # the one learns to read the second letter, the other the first
_GAP = ((0, 0), (0, 0), (0, 1))


def show(*words: str) -> NDArray[np.float32]:
    """``(words, 35·letters)``: the points of each letter, row after row, then those of the next."""
    dots = {letter: [dot == "#" for dot in form.replace(" ", "")] for letter, form in LETTERS.items()}
    return np.array([[dot for letter in word for dot in dots[letter]] for word in words], np.float32)


def reader(
    words: Sequence[str], layers: list[list[int]], seed: int, samples: int = SAMPLES, **rule: float
) -> Grossberg:
    """A net that has seen so many words, one of these each time, at random."""
    stimuli = show(*words)
    net = Grossberg(dim=stimuli.shape[1], layers=layers, learning_rate=0.05, seed=seed, **rule)
    net.learn(stimuli[np.random.default_rng(seed + 100).integers(len(words), size=samples)])
    return net


def winners(net: Grossberg, words: Sequence[str], cluster: int = 0) -> list[int]:
    """Which unit of a cluster wins each word."""
    found: list[int] = net.predict(show(*words)).winner[:, cluster].tolist()
    return found


def _points(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Letters side by side, as they are read, with a gap between them."""
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
    plain, taught = (reader(words, [[2]], 1, samples, leak=0.005) for words in (ALONE, TAUGHT))
    for row, nets in (
        (rows[1], [(first, WORDS, "two units, a run"), (second, WORDS, "two units, another")]),
        (rows[2], [(whole, WORDS, "four units")]),
        (rows[3], [(plain, ALONE, "by their looks"), (taught, ALONE, "taught by AA BA SB EB")]),
    ):
        units = [(net, words, told, unit) for net, words, told in nets for unit in range(len(net.weights[0]))]
        for axes, (net, words, told, unit) in zip(row, units, strict=True):
            won = [word.strip() for word, by in zip(words, winners(net, words), strict=True) if by == unit]
            axes.imshow(_points(net.weights[0][unit]), cmap="Greys", vmin=0)
            axes.set_title(f"{told}: {', '.join(won) or 'none'}", fontsize=9)
    for axes in rows.flat:
        axes.set(xticks=[], yticks=[])
    figure.suptitle("Each unit's weights, and the words that it wins", fontsize=10)
    figure.savefig(file, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".png"))
