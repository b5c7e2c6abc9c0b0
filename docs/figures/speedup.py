"""Draw speedup.png: how many times as fast as other libraries, in one run.

python docs/figures/speedup.py           draws the results in docs/data/bench.json
"""

from __future__ import annotations

import json
from pathlib import Path

from matplotlib import pyplot as plt

DATA = Path(__file__).parents[1] / "data"
SUITES = ("som", "competitive", "recurrent", "steps")


def ratios(file: Path) -> dict[str, float]:
    """Return the ratio of each comparison by its label."""
    suites = json.loads(file.read_text())["suites"]
    rows = [row for suite in SUITES for row in suites[suite] if "ratio" in row]
    return {f"{row['name']} / {row['peer']}": row["ratio"] for row in rows}


def draw(file: Path) -> None:
    now, before = ratios(DATA / "bench.json"), ratios(DATA / "bench-before.json")
    labels = list(now)[::-1]
    figure, axes = plt.subplots(figsize=(10, 0.28 * len(labels) + 1), layout="constrained")
    places = range(len(labels))
    axes.barh(places, [now[label] for label in labels], color="tab:blue", label="now")
    earlier = [(place, before[label]) for place, label in zip(places, labels, strict=True) if label in before]
    axes.plot([value for _, value in earlier], [place for place, _ in earlier], "k|", ms=9, label="before")
    axes.set_yticks(places, labels, fontsize=8)
    axes.set_xscale("log")
    axes.set_xlabel("times as fast")
    axes.margins(y=0.01)
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(file, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    draw(Path(__file__).with_suffix(".png"))
