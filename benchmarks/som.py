"""Self-organizing maps: MiniSom, and a plain kernel in two passes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

import streamlearn as sl

from . import limits, peers
from .roof import roof
from .timing import Absent, Contestant, Peer, Quality, Row, Settings, compare, one_by_one, over

SIGMA, RATE = 2.0, 0.1
AGAINST_MINISOM = ((10, 10, 8), (20, 20, 16), (32, 32, 64))
LARGE, SEARCHED = (100, 100, 64), (32, 32, 64)
TWO_PASSES = "two passes, blocks of 16"
ERROR = "quantization error"

Size = tuple[int, int, int]  # rows, columns, dim


def rows(settings: Settings) -> Iterator[Row]:
    sizes = AGAINST_MINISOM[: settings.choose(3, 1)]
    for size in sizes:
        yield from learning(size, settings)
    for size in sizes:
        yield from winners(size, settings)
    yield from against_two_passes(settings)


def title(size: Size) -> str:
    return f"SOM {size[0]}×{size[1]}×{size[2]}"


def som(size: Size, weights: np.ndarray | None = None) -> sl.SOM:
    """Return a map with the rule of MiniSom, from these initial weights (rows, columns, dim).

    It has no alarms: peers have none.
    """
    height, width, dim = size
    given = {} if weights is None else {"init": weights}
    rule = {"sigma": SIGMA, "learning_rate": RATE, "grid_distance": "euclidean", "alarm": None}
    return sl.SOM(dim=dim, grid=(height, width), **rule, **given)


def uniform(size: Size, settings: Settings) -> np.ndarray:
    """Return samples that are uniform in [0, 1)."""
    n = settings.choose(65536, 512)
    return np.random.default_rng(settings.seed).random((n, size[2]), dtype=np.float32)


def quantization_error(weights: np.ndarray, samples: np.ndarray) -> float:
    """Return the mean distance of samples (n, dim) to the nearest of the weights (…, dim)."""
    units = weights.reshape(-1, weights.shape[-1]).astype(np.float64)
    squares = (samples**2).sum(1)[:, None] - 2 * samples @ units.T + (units**2).sum(1)
    return float(np.sqrt(np.maximum(squares.min(1), 0)).mean())


def minisom(size: Size, settings: Settings) -> object:
    """Return a MiniSom, or the reason why there is none."""
    module = peers.module("minisom")
    if isinstance(module, str):
        return module
    height, width, dim = size
    return module.MiniSom(height, width, dim, sigma=SIGMA, learning_rate=RATE, random_seed=settings.seed)


class MiniSomTraining:
    """MiniSom's own training loop: ``update(x, winner(x), t, …)`` for each sample, without decay."""

    def __init__(self, net: object) -> None:
        self.net = net

    def learn(self, x: np.ndarray) -> None:
        self.net.update(x, self.net.winner(x), 0, 1)


def learning(size: Size, settings: Settings) -> Iterator[Row]:
    stream = uniform(size, settings)
    height, width, dim = size
    moved = limits.units_in_reach(height, width, SIGMA)
    limit = limits.map_learning(roof(settings), height * width, dim, moved)
    ours = Contestant("ours", over(stream, som(size).learn))
    net = minisom(size, settings)
    if isinstance(net, str):
        yield from compare(f"{title(size)}, learn", ours, [Absent("MiniSom", net)], settings, limit=limit)
        return
    samples = stream[: settings.choose(5000, 50)].astype(np.float64)
    same, training = som(size, net.get_weights()), MiniSomTraining(net)
    for sample in samples:
        training.learn(sample)
    same.learn(samples)
    unseen = np.random.default_rng(settings.seed + 1).random((1000, dim))
    errors = quantization_error(same.weights, unseen), quantization_error(net.get_weights(), unseen)
    peer = Contestant("MiniSom", one_by_one(samples, training.learn))
    qualities = {peer.name: Quality(ERROR, *errors)}
    yield from compare(f"{title(size)}, learn", ours, [peer], settings, qualities, limit)


def winners(size: Size, settings: Settings) -> Iterator[Row]:
    stream = uniform(size, settings)
    net = minisom(size, settings)
    model = som(size, None if isinstance(net, str) else net.get_weights())
    ours = Contestant("ours", over(stream, model.predict))
    limit = limits.map_search(roof(settings), size[0] * size[1], size[2])
    if isinstance(net, str):
        yield from compare(f"{title(size)}, winners", ours, [Absent("MiniSom", net)], settings, limit=limit)
        return
    samples = stream[: settings.choose(5000, 50)].astype(np.float64)
    found = np.array([net.winner(sample) for sample in samples])
    found = found[:, 0] * size[1] + found[:, 1]
    differ = float((model.predict(samples).winner != found).mean())
    peer = Contestant("MiniSom", one_by_one(samples, net.winner))
    qualities = {peer.name: Quality("share of other winners", differ, 0.0)}
    yield from compare(f"{title(size)}, winners", ours, [peer], settings, qualities, limit)


def against_two_passes(settings: Settings) -> Iterator[Row]:
    """The same rule in the plain way, compiled by the same compiler."""
    from .kernels import two_pass

    def reference(size: Size) -> tuple[np.ndarray, np.ndarray]:
        """Weights (blocks, dim, 16) as a map of this size has them, and its grid (2, blocks, 16)."""
        model = som(size)
        place = np.indices(size[:2]).reshape(2, -1, 1).astype(np.float32)
        grid = np.stack([blocks_of_16(axis)[:, 0] for axis in place])
        grid[:, -1, size[0] * size[1] % 16 or 16 :] = np.inf
        return blocks_of_16(np.array(model.weights.reshape(-1, size[2]))), grid

    rate, sigma = np.float32(RATE), np.float32(SIGMA)
    size = LARGE if not settings.quick else (12, 12, 8)
    stream = uniform(size, settings)
    weights, grid = reference(size)
    same, samples = som(size), stream[: settings.choose(2000, 50)]
    same.learn(samples)
    two_pass.learn(samples, weights, grid, rate, sigma)
    unseen = np.random.default_rng(settings.seed + 1).random((1000, size[2]))
    units = from_blocks(weights, size[0] * size[1])
    quality = Quality(ERROR, quantization_error(same.weights, unseen), quantization_error(units, unseen))
    plain: Peer = Contestant(
        TWO_PASSES, over(stream, lambda part: two_pass.learn(part, weights, grid, rate, sigma))
    )
    moved = limits.units_in_reach(*size[:2], SIGMA)
    limit = limits.map_learning(roof(settings), size[0] * size[1], size[2], moved)
    ours = Contestant("ours", over(stream, same.learn))
    yield from compare(f"{title(size)}, learn", ours, [plain], settings, {TWO_PASSES: quality}, limit)

    size = SEARCHED if not settings.quick else (12, 12, 8)
    stream = uniform(size, settings)
    blocks, _ = reference(size)
    model, winner = som(size), np.empty(len(stream), np.int32)
    two_pass.winners(stream, blocks, winner)
    differ = float((model.predict(stream).winner != winner).mean())
    plain = Contestant(TWO_PASSES, over(stream, lambda part: two_pass.winners(part, blocks, winner)))
    limit = limits.map_search(roof(settings), size[0] * size[1], size[2])
    ours = Contestant("ours", over(stream, model.predict))
    quality = Quality("share of other winners", differ, 0.0)
    yield from compare(f"{title(size)}, winners", ours, [plain], settings, {TWO_PASSES: quality}, limit)


def blocks_of_16(units: np.ndarray) -> np.ndarray:
    """Return units (n, dim) as blocks (blocks, dim, 16); unused lanes are far away."""
    count, dim = units.shape
    padded = np.full((-(-count // 16) * 16, dim), 1e18, np.float32)
    padded[:count] = units
    return np.ascontiguousarray(padded.reshape(-1, 16, dim).transpose(0, 2, 1))


def from_blocks(blocks: np.ndarray, count: int) -> np.ndarray:
    """Return the ``count`` units of blocks (blocks, dim, 16) as (count, dim)."""
    return blocks.transpose(0, 2, 1).reshape(-1, blocks.shape[1])[:count]
