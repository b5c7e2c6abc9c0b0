"""Drift: alarms on healthy streams, delays after a change, and the error after a change with a reaction.

The detector reads the distance of each sample before it is learned. The error of a model is that distance, or
the error of its forecast. The peers of river cluster the same samples; their error is the distance to the
nearest centre, or micro-cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import streamlearn as sl
from streamlearn.models.stream.drift import Drift, DriftDetector

from .tables import Claim, Row, Settings

TITLE = "Drift"
HARM = "error with on_drift='adapt' ÷ without, most"
HEALTHY = "Alarms in 100,000 samples of healthy streams"
DELAY = "Samples from a change to the alarm of drift='blocks'"
EARLY = "White noise with a lasting rise: detected by drift='blocks'"
RECOVERY = "Error after a change ÷ error before"
TREE = "river HoeffdingAdaptiveTreeRegressor"
ABRUPT, GRADUAL = "5,000 after a jump of the clusters", "10,000 after the begin of a gradual change"

Values = NDArray[np.float64]
Make = Callable[..., Any]

UNITS = 10
KINDS: dict[str, Make] = {
    "som": lambda **spec: sl.SOM(grid=(10, 10), **spec),
    "hard": lambda **spec: sl.Competitive(units=UNITS, **spec),
    "soft": lambda **spec: sl.Competitive(units=UNITS, mode="soft", **spec),
    "gas": lambda **spec: sl.Competitive(units=UNITS, mode="gas", **spec),
    "gng": sl.GrowingNeuralGas,
    "lstm": lambda **spec: sl.RNN(hidden=16, target="next", readout="adam", alarm={}, **spec),
    "rnn": lambda **spec: sl.RNN(**{name: value for name, value in spec.items() if name != "scale"}),
}
FORECASTS = ("lstm", "rnn")
REACTING = [kind for kind in KINDS if kind != "rnn"]
"""Kinds with schedules or units that a reaction changes. The default of rnn forgets instead."""
MINUTES, HOURS = 1440, 24  # samples of a day


def healthy(settings: Settings) -> Iterator[tuple[str, Values]]:
    """Yield streams that do not change."""
    n = settings.choose(100_000, 1000)
    random, t = np.random.default_rng(settings.seed), np.arange(n)
    centres = 2 * random.normal(size=(8, 6))
    yield "eight clusters", centres[random.integers(0, 8, n)] + 0.3 * random.normal(size=(n, 6))
    yield "white noise", random.normal(size=(n, 6))
    yield "on/off, 1 % on", (random.random((n, 1)) < 0.01).astype(float)
    for name, day in (("hour", HOURS), ("minute", MINUTES)):
        sine = np.sin(2 * np.pi * t / day)
        noise = 0.1 * random.normal(size=n)
        yield f"daily sine, a sample per {name}", (sine + noise)[:, None]
        weekend = t // day % 7 >= 5
        week = sine * np.where(weekend, 0.4, 1.0) - 0.5 * weekend + noise
        yield f"day and week, a sample per {name}", week[:, None]
        louder = sine + noise * (1 + weekend)
        yield f"daily sine, twice the noise at weekends, a sample per {name}", louder[:, None]


def changes(settings: Settings) -> Iterator[tuple[str, Values, int]]:
    """Yield streams that change, and the sample at which the change begins."""
    start = settings.choose(30_000, 600)
    n = start + settings.choose(15_000, 600)
    random, t = np.random.default_rng(settings.seed), np.arange(n)
    old, new = 2 * random.normal(size=(2, 8, 6))
    which, noise = random.integers(0, 8, n), 0.3 * random.normal(size=(n, 6))
    for name, length in (
        ("jump of 8 clusters", 1),
        ("in 2,000 samples", 2000),
        ("in 10,000 samples", 10_000),
    ):
        share = np.clip((t - start + 1) / length, 0, 1)[:, None]
        yield name, old[which] * (1 - share) + new[which] * share + noise, start
    half = np.where(((t >= start) & (which < 4))[:, None], new[which], old[which])
    yield "jump of 4 of 8 clusters", half + noise, start
    for factor in (1.2, 1.5):
        louder = np.where(t < start, 1, factor)[:, None]
        yield f"white noise × {factor}", louder * random.normal(size=(n, 6)), start
    sine = np.where(t < start, 1, 2) * np.sin(2 * np.pi * t / HOURS)
    yield "amplitude of a daily sine × 2", (sine + 0.1 * random.normal(size=n))[:, None], start


def errors(kind: str, x: Values, **spec: Any) -> NDArray[np.float32]:
    """Return the error (n,) of each sample."""
    out = KINDS[kind](dim=x.shape[1], **{"scale": "standard", **spec}).learn(x)
    return np.asarray(out.error if kind in FORECASTS else out.distance, np.float32)


def detected(kind: str, x: Values) -> NDArray[np.float32]:
    """Return what the detector reads of each sample, (n,)."""
    return np.asarray(KINDS[kind](dim=x.shape[1], scale="standard").learn(x).distance, np.float32)


def alarms(error: NDArray[np.float32], detector: Any) -> list[int]:
    """Return the samples at which a detector with its defaults raises an alarm."""
    found = DriftDetector(Drift(detector, None, None, False, 64, 64)).detect(error, np.arange(len(error)))
    return [int(n) for n in np.flatnonzero(found)]


def alarms_of_river(error: NDArray[np.float32]) -> int | None:
    """Return the number of alarms of river's ADWIN on the errors, by their share of the largest one."""
    try:
        from river.drift import ADWIN
    except ImportError:
        return None
    detector, count = ADWIN(), 0
    known = error[np.isfinite(error)].astype(float)
    for value in (known / max(known.max(), 1e-30)).tolist():
        detector.update(value)
        count += detector.drift_detected
    return count


def most(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return max(known) if known else None


def rows(settings: Settings) -> Iterator[Row]:
    for name, x in healthy(settings):
        found = {kind: detected(kind, x) for kind in KINDS}
        last = len(x) // 5
        ratios = [
            float(
                np.nanmean(errors(kind, x, on_drift="adapt")[-last:])
                / max(np.nanmean(errors(kind, x)[-last:]), 1e-6)
            )
            for kind in REACTING
        ]
        yield Row(
            name,
            {
                **{kind: len(alarms(error, "blocks")) for kind, error in found.items()},
                "page_hinkley, most": most([len(alarms(each, "page_hinkley")) for each in found.values()]),
                "adwin, most": most([len(alarms(each, "adwin")) for each in found.values()]),
                "river's ADWIN, most": most([alarms_of_river(each) for each in found.values()]),
                HARM: most(ratios),
            },
            HEALTHY,
        )
    for name, x, start in changes(settings):
        delays: dict[str, float | str] = {}
        for kind in KINDS:
            first = [n - start + 1 for n in alarms(detected(kind, x), "blocks") if n >= start]
            delays[kind] = first[0] if first else "none"
        yield Row(name, delays, DELAY)
    yield from early_rises(settings)
    yield from recovery(settings)


def early_rises(settings: Settings) -> Iterator[Row]:
    """Yield how often a lasting rise is detected within 400 blocks, by the block at which it begins."""
    streams, later = settings.choose(20, 1), 400
    for size in (2, 3, 4, 6):
        found = {}
        for begin in (100, 200, 300, 500):
            count = 0
            for seed in range(streams):
                noise = np.random.default_rng(seed).normal(size=(begin + later) * 64)
                risen = np.arange(noise.size) >= 64 * begin
                level = 1 + 0.25 * noise + risen * size * 0.25 / 8  # width of the mean of a block: 0.25/8
                count += any(
                    n >= 64 * begin for n in alarms(np.maximum(level, 0).astype(np.float32) ** 1.5, "blocks")
                )
            found[f"after {begin} blocks, %"] = 100 * count / streams
        yield Row(f"rise of {size} widths of a block mean", found, EARLY)


def recovery(settings: Settings) -> Iterator[Row]:
    """Yield the errors of all kinds and peers after an abrupt and a gradual change, without scaling."""
    after = {
        "jump of 8 clusters": settings.choose(5000, 200),
        "in 2,000 samples": settings.choose(10_000, 200),
    }
    streams = [each for each in changes(settings) if each[0] in after]
    for kind in KINDS:
        figures: dict[str, float] = {}
        for reaction in (None, "adapt") if kind in REACTING else (None,):
            for column, (name, x, start) in zip((ABRUPT, GRADUAL), streams, strict=True):
                error = errors(kind, x, scale=None, on_drift=reaction)
                figures[f"{column}{', adapt' if reaction else ''}"] = ratio(error, start, after[name])
        yield Row(kind, figures, RECOVERY)
    trees = [ratio(errors_of_tree(x), start, after[name]) for name, x, start in streams]
    yield Row(TREE, dict(zip((ABRUPT, GRADUAL), trees, strict=True)), RECOVERY)
    for peer, make in peers().items():
        measured = [
            ratio(distances(make(), x, start, after[name]), start, after[name]) for name, x, start in streams
        ]
        yield Row(peer, dict(zip((ABRUPT, GRADUAL), measured, strict=True)), RECOVERY)


def errors_of_tree(x: Values) -> Values:
    """Return the error (n,) of river's adaptive tree. It predicts the last channel from the others."""
    try:
        from river.tree import HoeffdingAdaptiveTreeRegressor
    except ImportError:
        return np.full(len(x), np.nan)
    tree, found = HoeffdingAdaptiveTreeRegressor(seed=1), np.empty(len(x))
    for n, (sample, target) in enumerate(zip(x[:, :-1].tolist(), x[:, -1].tolist(), strict=True)):
        features = dict(enumerate(sample))
        found[n] = abs(tree.predict_one(features) - target)
        tree.learn_one(features, target)
    return found


def ratio(error: NDArray[np.floating], start: int, after: int) -> float:
    """Return the mean error of 2,000 samples from ``after`` on, by that of 2,000 before the change."""
    before = np.nanmean(error[max(0, start - 2000) : start])
    return float(np.nanmean(error[start + after : start + after + 2000]) / before)


def peers() -> dict[str, Make]:
    """Return the adaptive clusterers of river."""
    try:
        from river import cluster
    except ImportError:
        return {}
    return {
        "river KMeans": lambda: cluster.KMeans(n_clusters=UNITS, halflife=0.02, seed=1),
        "river STREAMKMeans": lambda: cluster.STREAMKMeans(
            chunk_size=100, n_clusters=UNITS, halflife=0.02, seed=1
        ),
        "river CluStream": lambda: cluster.CluStream(
            n_macro_clusters=UNITS, max_micro_clusters=50, time_window=1000, halflife=0.02, seed=1
        ),
        "river DenStream": lambda: cluster.DenStream(
            decaying_factor=0.01, beta=0.5, mu=2.5, epsilon=1.0, n_samples_init=200
        ),
        "river DBSTREAM": lambda: cluster.DBSTREAM(
            clustering_threshold=1.0, fading_factor=0.001, cleanup_interval=100
        ),
    }


def distances(model: Any, x: Values, start: int, after: int) -> Values:
    """Return the distance (n,) to the nearest centre of a model of river; NaN where `ratio` reads none."""
    found = np.full(len(x), np.nan)
    for n, sample in enumerate(x):
        if start - 2000 <= n < start or start + after <= n < start + after + 2000:
            centres = centres_of(model, x.shape[1])
            if len(centres):
                found[n] = np.sqrt(((centres - sample) ** 2).sum(axis=1)).min()
        model.learn_one(dict(enumerate(sample.tolist())))
    return found


def centres_of(model: Any, dim: int) -> Values:
    """Return the centres (k, dim) of a model of river, or those of its micro-clusters."""
    for name in ("p_micro_clusters", "_micro_clusters"):
        if hasattr(model, name):
            centres = [each.center for each in getattr(model, name).values()]
            break
    else:
        centres = list(model.centers.values())
    return np.array([[centre[d] for d in range(dim)] for centre in centres])


def claims(rows: Sequence[Row]) -> Sequence[Claim]:
    def of(part: str) -> list[Row]:
        return [row for row in rows if row.part == part]

    counts = [int(row.figures[kind] or 0) for row in of(HEALTHY) for kind in KINDS]
    others = [
        float(row.figures[f"{name}, most"] or 0) for row in of(HEALTHY) for name in ("page_hinkley", "adwin")
    ]
    harm = [float(row.figures[HARM] or 0) for row in of(HEALTHY)]
    jumps = [
        row.figures[kind]
        for row in of(DELAY)
        for kind in KINDS
        if row.case.endswith(("× 2", "× 1.5")) or row.case.startswith("jump")
    ]
    adapted = [
        float(row.figures[f"{column}, adapt"] or 0)
        for row in of(RECOVERY)
        if row.case in REACTING
        for column in (ABRUPT, GRADUAL)
    ]
    slowest = max((each for each in jumps if not isinstance(each, str) and each is not None), default=0)
    told = not any(isinstance(each, str) for each in jumps)
    return [
        Claim("at most one alarm with drift='blocks'", f"at most {max(counts)}", max(counts) <= 1),
        Claim("at most one with 'page_hinkley' and 'adwin'", f"at most {max(others):.0f}", max(others) <= 1),
        Claim("on_drift='adapt' does no harm there", f"error × {max(harm):.2f} at most", max(harm) <= 1.1),
        Claim(
            "a jump is detected within 500 samples",
            f"within {slowest}" if told else "not all",
            told and float(slowest) <= 500,
        ),
        Claim(
            "with on_drift='adapt' every kind is back within 1.3 times its error",
            f"at most {max(adapted):.2f}",
            max(adapted) <= 1.3,
        ),
    ]
