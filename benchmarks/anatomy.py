"""Where a sample's nanoseconds and a batch's microseconds go.

A sample: parts are switched off one after another, and the difference is the part. A map that only predicts
and a map of one unit leave out the adaptation and the search. Adaptation is what learning costs beyond the
search: one pass does both. The scaling is what it costs a map of one unit: a small part of a large time would
be noise. The score is timed by itself.

A batch: `traced_daemon` measures the functions of a running daemon.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numba as nb
import numpy as np

import streamlearn as sl
from streamlearn.kernels.stream import score as scores
from streamlearn_client import Client

from .processes import daemon
from .recurrent import network, waves
from .som import RATE, SIGMA, title, uniform
from .through_daemon import BATCH, DIM, MAP
from .timing import Contestant, Row, Settings, over, race

SIZES = ((10, 10, 8), (32, 32, 64))
NANOSECONDS = "ns/sample"
MICROSECONDS = "µs/batch"
TRACED_MODULE = "benchmarks.traced_daemon"


def rows(settings: Settings) -> Iterator[Row]:
    for size in SIZES[: settings.choose(2, 1)]:
        yield from sample_of_a_map(size, settings)
    yield from sample_of_a_network(settings)


def nanoseconds(
    calls: Sequence[Callable[[np.ndarray], object]], stream: np.ndarray, settings: Settings
) -> list[float]:
    """Return the time of one sample of each call: the best of several rounds, in which they take turns."""
    contestants = [Contestant(f"part {k}", over(stream, call)) for k, call in enumerate(calls)]
    return [1e9 / max(rates) for rates in race(contestants, settings)]


def sample_of_a_map(size: tuple[int, int, int], settings: Settings) -> Iterator[Row]:
    height, width, dim = size
    rule = {"dim": dim, "sigma": SIGMA, "learning_rate": RATE, "grid_distance": "euclidean", "alarm": None}
    stream = uniform(size, settings)
    scaling, plain = (sl.SOM(grid=(height, width), scale=scale, **rule) for scale in ("standard", None))
    scaled_unit, unit = (sl.SOM(grid=(1, 1), scale=scale, **rule) for scale in ("standard", None))
    calls = scaling.learn, plain.learn, plain.predict, scaled_unit.learn, unit.learn, unit.predict
    everything, learned, predicted, unit_scaled, unit_learned, unit_predicted = nanoseconds(
        calls, stream, settings
    )
    scored = score_nanoseconds(unit, settings)
    parts = {
        "scaling": unit_scaled - unit_learned,
        "search": predicted - unit_predicted,
        "adaptation": (learned - predicted) - (unit_learned - unit_predicted),
        "score": scored,
        "counts, outputs and the rest": unit_learned - scored,
        "all": everything,
    }
    for part, value in parts.items():
        yield Row(f"{title(size)}, a sample: {part}", value, NANOSECONDS)


@nb.njit("void(f8[::1], i8, f8, f4[::1], f4[::1])", nogil=True, error_model="numpy")
def _score(reference, columns, decay, distance, out):
    """Rank and observe each distance, as a learner does."""
    score = scores.Score(reference, columns, decay)
    for n in range(distance.size):
        out[n] = scores.rank(score, distance[n], columns)
        scores.observe(score, distance[n], columns)


def score_nanoseconds(model: sl.SOM, settings: Settings) -> float:
    """Time of the score of one sample, with distances as the model has them."""
    distances = np.random.default_rng(settings.seed).gamma(8, 0.1, 4096).astype(np.float32)
    reference, out = model.state["score.reference"].copy(), distances.copy()
    (found,) = nanoseconds(
        [lambda part: _score(reference, model.dim, model.decay, part, out)], distances, settings
    )
    return found


def sample_of_a_network(settings: Settings) -> Iterator[Row]:
    stream = waves(8, settings.choose(4000, 40), settings.seed)
    net = network("lstm", 8, 32, (20, 20))
    learned, predicted = nanoseconds([net.learn, net.predict], stream, settings)
    name = "LSTM 8 → 32, TBPTT(20, 20), a sample"
    yield Row(f"{name}: forward and outputs", predicted, NANOSECONDS)
    yield Row(f"{name}: backward and update", learned - predicted, NANOSECONDS)
    yield Row(f"{name}: all", learned, NANOSECONDS)


def batch_through_the_daemon(settings: Settings) -> Iterator[Row]:
    """CPU time of the loop's thread by part, for durable batches of 256 × 16 into a map of 20×20."""
    batches = settings.choose(4000, 8)
    stream = np.random.default_rng(settings.seed).random((BATCH * 8, DIM), dtype=np.float32)
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory) / "parts.json"
        environment = {"TRACE_FILE": str(report)}
        with (
            daemon(Path(directory) / "data", environment=environment, module=TRACED_MODULE) as started,
            Client(started.requests) as client,
        ):
            client.create("traced", kind="som", **MAP)
            with client.stream("traced", batch=BATCH, ack="durable") as out:
                over(stream, out.push_many)(batches * BATCH)
        parts = json.loads(report.read_text())
    name = f"durable batches of {BATCH} × {DIM} into 20×20"
    for part, seconds in parts.items():
        yield Row(f"{name}: {part}", 1e6 * seconds / batches, MICROSECONDS)
    yield Row(f"{name}: all", 1e6 * sum(parts.values()) / batches, MICROSECONDS)
