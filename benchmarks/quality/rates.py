"""Learning rates: the error after one pass over short and long streams, and after a jump, by rate.

The error is the mean squared distance to the nearest unit, of samples that come after the learned ones. All
channels have variance 1, and no model scales. Streams are learned once, in order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import cluster, datasets
from sklearn.metrics import roc_auc_score

import streamlearn as sl
from streamlearn.cli.demo.data import shuttle

from .. import peers
from . import anomalies
from .anomalies import clusters
from .tables import Claim, Row, Settings

TITLE = "Learning rates"
DIGITS = "Handwritten digits (1,797 samples of 64 channels): error of the learned samples"
JUMP = "Error 5,000 samples after a jump of eight clusters ÷ error before"
RANKS = "Area under the ROC curve of the score, from the second tenth of the stream on"
UNITS = 50
SHORT = 2000  # samples
BEFORE, DEFAULT = "0.5 → 0.02, τ 5,000", "default"
K_MEANS, MINISOM = "mini-batch k-means", "MiniSom"

Values = NDArray[np.float64]
Spec = Mapping[str, Any]
Make = Callable[..., Any]

SLOW = sl.Decay(0.5, 0.02, tau=5000)


def som(dim: int, units: int, **spec: Any) -> sl.SOM:
    """Return a square map, of at most ``units`` units."""
    side = int(np.sqrt(units))
    if spec.pop("before", False):
        spec["sigma"] = sl.Decay(side / 2, 1.5, tau=5000)
    return sl.SOM(dim=dim, grid=(side, side), **spec)


def competitive(mode: str) -> Make:
    def make(dim: int, units: int, **spec: Any) -> sl.Competitive:
        if spec.pop("before", False) and mode == "gas":
            spec["spread"] = sl.Decay(max(1, units / 4), 0.5, tau=5000)
        return sl.Competitive(dim=dim, units=units, mode=mode, **spec)

    return make


def gng(dim: int, units: int, **spec: Any) -> sl.GrowingNeuralGas:
    return sl.GrowingNeuralGas(dim=dim, max_units=units, **spec)


KINDS: dict[str, Make] = {
    "hard": competitive("hard"),
    "soft": competitive("soft"),
    "gas": competitive("gas"),
    "som": som,
    "gng": gng,
}
OWN = {f"1/n, floor {floor}": {"learning_rate": "1/n", "rate_floor": floor} for floor in (0, 0.005, 0.1)}
EARLIER: Spec = {"learning_rate": SLOW, "before": True, "rare_below": 0.0}
RATES: dict[str, dict[str, Spec]] = {
    "hard": {BEFORE: EARLIER, "rate 0.02": {"learning_rate": 0.02}, **OWN, DEFAULT: {}},
    "soft": {BEFORE: EARLIER, DEFAULT: {}},
    "gas": {BEFORE: EARLIER, "1/n": {"learning_rate": "1/n"}, DEFAULT: {}},
    "som": {BEFORE: EARLIER, DEFAULT: {}, "σ ends at 0.5": {"sigma": sl.Decay(3.5, 0.5, tau=100)}},
    "gng": {
        "insert_every=100": {"insert_every": 100, "rare_below": 0.0},
        "rate 0.05": {"learning_rate": 0.05},
        DEFAULT: {},
    },
}


def sines(n: int, random: np.random.Generator) -> Values:
    """Return windows of 16 values of two sines with noise."""
    t = np.arange(n + 15)
    values = np.sin(2 * np.pi * t / 40) + 0.5 * np.sin(2 * np.pi * t / 17) + 0.1 * random.normal(size=n + 15)
    return np.lib.stride_tricks.sliding_window_view(values, 16)


def standardised(x: NDArray[Any], clip: float = 6.0) -> Values:
    """Return ``x`` with channels of mean 0 and variance 1, cut at ``clip``; constant ones are 0."""
    x = np.asarray(x, np.float64)
    deviation = x.std(axis=0)
    return np.clip((x - x.mean(axis=0)) / np.where(deviation > 0, deviation, 1), -clip, clip)


def digits() -> Values:
    return standardised(datasets.load_digits().data, np.inf)


def streams(settings: Settings) -> Iterator[tuple[str, Values, Values]]:
    """Yield name, learned samples and held-out samples, which come after them."""
    random = np.random.default_rng(settings.seed)
    for name, load in (
        ("iris", datasets.load_iris),
        ("wine", datasets.load_wine),
        ("breast cancer", datasets.load_breast_cancer),
    ):
        x = random.permutation(standardised(load().data))
        n = 3 * len(x) // 4
        yield f"{name}, {n}", x[:n], x[n:]
    yield "digits, 1,347", *np.split(digits(), [1347])
    lengths = [200, 500, 1797, 20_000, 200_000] if not settings.quick else [100]
    for n in lengths:
        yield f"eight clusters, {n:,}", *np.split(standardised(clusters(n + 2000, random)), [n])
    for n in lengths[1:4:2]:
        yield f"two sines, {n:,}", *np.split(standardised(sines(n + 2000, random)), [n])
    for n in lengths[2:4]:
        yield f"white noise, {n:,}", *np.split(random.normal(size=(n + 2000, 6)), [n])
        yield f"clusters that move, {n:,}", *np.split(standardised(clusters(n + 2000, random, 0.01)), [n])
    if not settings.quick:
        x = standardised(shuttle().x)
        yield "Shuttle, 1,797", x[:1797], x[1797:3797]
        yield "Shuttle, 40,000", x[:40_000], x[40_000:]


def inertia(weights: NDArray[Any], x: Values) -> float:
    """Return the mean squared distance of samples (n, dim) to the nearest of weights (…, dim)."""
    weights = np.asarray(weights, np.float64).reshape(-1, x.shape[1])
    squares = (x**2).sum(axis=1)[:, None] - 2 * x @ weights.T + (weights**2).sum(axis=1)
    return float(np.maximum(squares.min(axis=1), 0).mean())


def learned(kind: str, x: Values, units: int, spec: Spec, seed: int) -> NDArray[Any]:
    """Return the weights of a model after one pass over ``x``."""
    model = KINDS[kind](dim=x.shape[1], units=units, seed=seed, **spec)
    model.learn(x)
    return np.asarray(model.weights)


def k_means(x: Values, units: int, seed: int) -> NDArray[Any]:
    """Return the centres of scikit-learn's mini-batch k-means after one pass."""
    batch = max(100, units, len(x) // 200)
    model = cluster.MiniBatchKMeans(units, random_state=seed, n_init=1)
    ends = [*range(batch, len(x) - batch + 1, batch), len(x)]
    for begin, end in zip([0, *ends], ends, strict=False):
        model.partial_fit(x[begin:end])
    return np.asarray(model.cluster_centers_)


def minisom(x: Values, units: int, seed: int) -> NDArray[Any] | None:
    """Return the weights of MiniSom with its defaults after one pass. It gets the length of the stream."""
    module = peers.module("minisom")
    if isinstance(module, str):
        return None
    side = int(np.sqrt(units))
    net = module.MiniSom(side, side, x.shape[1], random_seed=seed)
    net.train(x, len(x))
    return np.asarray(net.get_weights())


def of_river(name: str, x: Values, units: int) -> NDArray[Any] | None:
    """Return the centres of a clusterer of river after one pass."""
    module = peers.module("river.cluster")
    if isinstance(module, str):
        return None
    options = {"chunk_size": max(100, units)} if name == "STREAMKMeans" else {}
    model = getattr(module, name)(n_clusters=units, halflife=0.02, seed=1, **options)
    for sample in x.tolist():
        model.learn_one(dict(enumerate(sample)))
    return np.array([[centre[d] for d in range(x.shape[1])] for centre in model.centers.values()])


def error(weights: NDArray[Any] | None, x: Values) -> float | None:
    return None if weights is None else inertia(weights, x)


def before(kind: str) -> str:
    """Return the rate of the default before the present one."""
    return "insert_every=100" if kind == "gng" else BEFORE


def rows(settings: Settings) -> Iterator[Row]:
    x, seed = digits()[: settings.choose(1797, 150)], settings.seed
    for units in (9, 25, 64, 100)[: settings.choose(4, 1)]:
        figures: dict[str, float | None] = {
            f"{kind}, {rate}": error(learned(kind, x, units, rates[rate], seed), x)
            for kind, rates in RATES.items()
            for rate in (before(kind), DEFAULT)
        }
        figures[K_MEANS] = error(k_means(x, units, seed), x)
        figures[MINISOM] = error(minisom(x, units, seed), x)
        yield Row(f"{units} units", figures, DIGITS)
    for name, x, later in streams(settings):
        centres = error(k_means(x, UNITS, seed), later)
        for kind, rates in RATES.items():
            found = {rate: error(learned(kind, x, UNITS, spec, seed), later) for rate, spec in rates.items()}
            peer = {K_MEANS: centres} | slow_peers(kind, x, later, seed)
            yield Row(name, found | peer, f"{kind}, {UNITS} units: error of later samples")
    yield from after_a_jump(settings)
    yield from ranking(settings)


def slow_peers(kind: str, x: Values, later: Values, seed: int) -> dict[str, float | None]:
    """Return the errors of MiniSom and river, which learn the short streams."""
    short = len(x) < SHORT
    slow = x.size > 20_000  # for river, in Python
    if kind == "som":
        return {MINISOM: error(minisom(x, UNITS, seed), later) if short else None}
    names = ("KMeans", "STREAMKMeans") if kind == "hard" else ()
    return {f"river {name}": None if slow else error(of_river(name, x, UNITS), later) for name in names}


def after_a_jump(settings: Settings) -> Iterator[Row]:
    """Yield the errors after a jump of all clusters, without and with a reaction; the mean of four streams.

    Nets have ten units, maps and growing nets a hundred.
    """
    start, after = settings.choose(10_000, 600), settings.choose(5000, 200)
    for kind, rates in RATES.items():
        for rate, spec in rates.items():
            figures = {}
            for reaction in (None, "adapt"):
                ratios = []
                for seed in range(settings.seed, settings.seed + settings.choose(4, 1)):
                    random = np.random.default_rng(seed)
                    x = np.concatenate([clusters(start, random), clusters(after + 2000, random)])
                    units = 100 if kind in ("som", "gng") else 10
                    model = KINDS[kind](dim=6, units=units, seed=seed, on_drift=reaction, **spec)
                    distance = model.learn(x).distance.astype(np.float64)
                    level = np.nanmean(distance[max(0, start - 2000) : start])
                    ratios.append(np.nanmean(distance[start + after :]) / level)
                figures[f"on_drift={reaction!r}"] = float(np.mean(ratios))
            yield Row(f"{kind}, {rate}", figures, JUMP)


def ranking(settings: Settings) -> Iterator[Row]:
    """Yield the area under the ROC curve on streams with labelled anomalies; the mean of two nets."""
    for name, x, label in anomalies.streams(settings):
        figures = {}
        for kind, make in KINDS.items():
            for rate in (before(kind), DEFAULT):
                units = 100 if kind == "som" else UNITS
                found, begin = [], len(x) // 10
                for seed in (settings.seed, settings.seed + 1):
                    spec = {"seed": seed, "scale": "standard", **RATES[kind][rate]}
                    score = np.nan_to_num(make(x.shape[1], units, **spec).learn(x).score, nan=0.5)
                    found.append(roc_auc_score(label[begin:], score[begin:]))
                figures[f"{kind}, {rate}"] = float(np.mean(found))
        yield Row(name, figures, RANKS)


def claims(rows: Sequence[Row]) -> Iterator[Claim]:
    parts = [row for row in rows if row.part not in (DIGITS, JUMP, RANKS)]
    for kind in KINDS:
        ratios = [
            float(row.figures[DEFAULT] or 0) / float(row.figures[before(kind)] or 1)
            for row in parts
            if row.part.startswith(f"{kind},")
        ]
        yield Claim(
            f"{kind}: the default is better than {before(kind)} in most streams, and nowhere much worse",
            f"error × {np.median(ratios):.2f} in the median, × {max(ratios):.2f} at most",
            np.median(ratios) < 1 and max(ratios) <= 1.2,
        )
    adapted = [
        float(row.figures["on_drift='adapt'"] or 0)
        for row in rows
        if row.part == JUMP and DEFAULT in row.case
    ]
    yield Claim(
        "after a jump every default with on_drift='adapt' is back within 1.3 times its error",
        f"at most {max(adapted):.2f}",
        max(adapted) <= 1.3,
    )
    ranks = [row.figures for row in rows if row.part == RANKS]
    for kind in KINDS:
        gains = [
            float(row[f"{kind}, {DEFAULT}"] or 0) - float(row[f"{kind}, {before(kind)}"] or 0)
            for row in ranks
        ]
        yield Claim(
            f"{kind}: the default ranks anomalies better, in the mean of all streams",
            f"{np.mean(gains):+.3f}; {min(gains):+.3f} at least",
            np.mean(gains) > 0,
        )
