"""Hard competitive learning: scikit-learn's MiniBatchKMeans and river's KMeans, which learn online too.

The rule of river is the same: the nearest centre moves by a constant share of the difference. Centres of
scikit-learn move by 1 ÷ the number of their samples so far.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

import streamlearn as sl

from . import limits, peers
from .roof import roof
from .som import ERROR, quantization_error
from .timing import Absent, Contestant, Peer, Quality, Row, Settings, compare, one_by_one, over

UNITS, DIM, RATE = 16, 8, 0.1
BATCH = 1024


def rows(settings: Settings) -> Iterator[Row]:
    generator = np.random.default_rng(settings.seed)
    centres = generator.random((UNITS, DIM))
    count = settings.choose(65536, 2048)
    stream = centres[generator.integers(UNITS, size=count)] + generator.normal(0, 0.05, (count, DIM))
    stream = stream.astype(np.float32)
    start = stream[:UNITS].copy()
    learned, unseen = stream[: settings.choose(10_240, BATCH)], stream[-1000:]
    model = sl.Competitive(dim=DIM, units=UNITS, learning_rate=RATE, init=start, alarm=None)
    model.learn(learned)
    own = quantization_error(model.weights, unseen)
    contestants: list[Peer] = []
    qualities = {}
    for peer, weights in (*_scikit_learn(start, stream, learned), _river(start, stream, learned, settings)):
        contestants.append(peer)
        theirs = None if weights is None else quantization_error(weights, unseen)
        qualities[peer.name] = Quality(ERROR, own, theirs)
    ours = Contestant("ours", over(stream, model.learn))
    limit = limits.map_learning(roof(settings), UNITS, DIM, moved=16)  # one block
    name = f"competitive {UNITS}×{DIM}, hard, learn"
    yield from compare(name, ours, contestants, settings, qualities, limit)


def _scikit_learn(
    start: np.ndarray, stream: np.ndarray, learned: np.ndarray
) -> Iterator[tuple[Peer, np.ndarray | None]]:
    names = f"scikit-learn, partial_fit by {BATCH:,}", "scikit-learn, partial_fit one by one"
    cluster = peers.module("sklearn.cluster")
    if isinstance(cluster, str):
        yield from ((Absent(name, cluster), None) for name in names)
        return

    def means() -> object:
        return cluster.MiniBatchKMeans(UNITS, init=start, n_init=1, reassignment_ratio=0, random_state=1)

    for name, size in zip(names, (BATCH, 1), strict=True):
        fitted, timed = means(), means()
        fitted.partial_fit(start)  # the first call needs at least as many samples as clusters
        timed.partial_fit(start)
        for first in range(0, len(learned), size):
            fitted.partial_fit(learned[first : first + size])

        def run(n: int, timed: object = timed, size: int = size) -> None:
            for first in range(0, n, size):
                at = first % (len(stream) - size)
                timed.partial_fit(stream[at : at + size])

        yield Contestant(name, run, step=size), fitted.cluster_centers_


def _river(
    start: np.ndarray, stream: np.ndarray, learned: np.ndarray, settings: Settings
) -> tuple[Peer, np.ndarray | None]:
    name = "river KMeans"
    cluster = peers.module("river.cluster")
    if isinstance(cluster, str):
        return Absent(name, cluster), None
    means = cluster.KMeans(n_clusters=UNITS, halflife=RATE, seed=settings.seed)
    samples = [dict(enumerate(row)) for row in learned.tolist()]
    means.learn_one(samples[0])
    means.centers = {i: dict(enumerate(row)) for i, row in enumerate(start.tolist())}
    for sample in samples:
        means.learn_one(sample)
    weights = np.array([[means.centers[i][d] for d in range(DIM)] for i in range(UNITS)])
    return Contestant(name, one_by_one(samples, means.learn_one)), weights
