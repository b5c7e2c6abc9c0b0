"""Where a sample's nanoseconds and a batch's microseconds go.

A sample: parts are switched off one after another, and the difference is the part. A map without scaling, a
map that only predicts, and a map of one unit leave out the scaling, the adaptation and the search. The score
is timed by itself. Adaptation is what learning costs beyond the search: one pass does both.

A batch: `traced_daemon` measures the functions of a running daemon.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
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
from .timing import Contestant, Row, Settings, calibrate, measure, over

SIZES = ((10, 10, 8), (32, 32, 64))
NANOSECONDS = "ns/sample"
MICROSECONDS = "µs/batch"
TRACED_MODULE = "benchmarks.traced_daemon"


def rows(settings: Settings) -> Iterator[Row]:
    for size in SIZES[: settings.choose(2, 1)]:
        yield from sample_of_a_map(size, settings)
    yield from sample_of_a_network(settings)


def nanoseconds(call: Callable[[np.ndarray], object], stream: np.ndarray, settings: Settings) -> float:
    """Return the time of one sample: the best of several runs."""
    contestant = Contestant("part", over(stream, call))
    n = calibrate(contestant, settings.seconds)
    return 1e9 / max(measure(contestant, n) for _ in range(settings.rounds))


def sample_of_a_map(size: tuple[int, int, int], settings: Settings) -> Iterator[Row]:
    height, width, dim = size
    rule = {"dim": dim, "sigma": SIGMA, "learning_rate": RATE, "grid_distance": "euclidean", "alarm": None}
    stream = uniform(size, settings)
    scaling, plain = (sl.SOM(grid=(height, width), scale=scale, **rule) for scale in ("standard", None))
    single = sl.SOM(grid=(1, 1), scale=None, **rule)
    scaled, learned, predicted, one_learned, one_predicted = (
        nanoseconds(call, stream, settings)
        for call in (scaling.learn, plain.learn, plain.predict, single.learn, single.predict)
    )
    scored = score_nanoseconds(single, settings)
    parts = {
        "scaling": scaled - learned,
        "search": predicted - one_predicted,
        "adaptation": (learned - predicted) - (one_learned - one_predicted),
        "score": scored,
        "counts, outputs and the rest": one_learned - scored,
        "all": scaled,
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
    return nanoseconds(lambda part: _score(reference, model.dim, model.decay, part, out), distances, settings)


def sample_of_a_network(settings: Settings) -> Iterator[Row]:
    stream = waves(8, settings.choose(4000, 40), settings.seed)
    net = network("lstm", 8, 32, (20, 20))
    learned, predicted = (nanoseconds(call, stream, settings) for call in (net.learn, net.predict))
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
