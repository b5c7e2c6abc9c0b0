"""How the time of a sample grows: units, channels, hidden units, and the length of the stream."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np

from . import limits
from .recurrent import CELLS, GATES, network, waves
from .roof import roof
from .som import SIGMA, som
from .timing import Contestant, Limit, Row, Settings, calibrate, measure, over

SIDES = (10, 18, 32, 56, 100, 178, 316)  # of square maps: 10² … 10⁵ units
DIMS = (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
HIDDEN = (8, 16, 32, 64, 128, 256, 512)
LENGTHS = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
CHUNK = 10_000  # samples per call along a stream
UNIT = "ns/sample"


def rows(settings: Settings) -> Iterator[Row]:
    few = slice(None, 2) if settings.quick else slice(None)
    for side in SIDES[few]:
        yield from map_points("by units, dim 16", (side, side, 16), side * side, settings)
    for dim in DIMS[few]:
        yield from map_points("by dim, 10×10 units", (10, 10, dim), dim, settings)
    for cell, title in CELLS.items():
        for hidden in HIDDEN[few]:
            stream = waves(8, 32 * settings.choose(32, 2), settings.seed)
            limit = limits.recurrent_learning(roof(settings), GATES[cell], 8, hidden, 8)
            learn = network(cell, 8, hidden, (32, 32)).learn
            yield point(
                f"{title} by hidden units, dim 8, TBPTT(32, 32)", hidden, learn, stream, limit, settings
            )
    yield from along_the_stream(settings)


def map_points(title: str, size: tuple[int, int, int], at: int, settings: Settings) -> Iterator[Row]:
    """One point of the curves of learning and of finding winners."""
    height, width, dim = size
    stream = np.random.default_rng(settings.seed).random((settings.choose(4096, 64), dim), dtype=np.float32)
    model = som(size)
    moved = limits.units_in_reach(height, width, SIGMA)
    learning = limits.map_learning(roof(settings), height * width, dim, moved)
    search = limits.map_search(roof(settings), height * width, dim)
    yield point(f"SOM {title}, learn", at, model.learn, stream, learning, settings)
    yield point(f"SOM {title}, winners", at, model.predict, stream, search, settings)


def point(
    name: str,
    at: float,
    call: Callable[[np.ndarray], object],
    stream: np.ndarray,
    limit: Limit,
    settings: Settings,
) -> Row:
    """The best of several runs, in ns per sample."""
    contestant = Contestant(name, over(stream, call))
    n = calibrate(contestant, settings.seconds / 2)
    best = max(measure(contestant, n) for _ in range(settings.choose(3, 1)))
    return Row(name, 1e9 / best, UNIT, at=at, limit=Limit(limit.of, 1e9 / limit.value))


def along_the_stream(settings: Settings) -> Iterator[Row]:
    """The time of a sample between two lengths of one stream."""
    for title, model in (
        ("SOM 10×10×8", som((10, 10, 8))),
        ("LSTM 4 → 16", network("lstm", 4, 16, (16, 16))),
    ):
        stream, done = waves(model.spec.dim, CHUNK, settings.seed), 0
        for length in LENGTHS[: settings.choose(len(LENGTHS), 1)]:
            began = time.thread_time()
            over(stream, model.learn)(length - done)
            nanoseconds = 1e9 * (time.thread_time() - began) / (length - done)
            yield Row(f"{title} by length of the stream", nanoseconds, UNIT, at=length)
            done = length
