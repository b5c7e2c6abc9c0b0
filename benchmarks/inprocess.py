"""In-process, one core, float32: our models against common libraries for the same task."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

import streamlearn as sl

from .timing import Comparison, compare

SOM_DIM, SOM_GRID, SOM_SIGMA, SOM_RATE = 8, (10, 10), 2.0, 0.1
LSTM_DIM, LSTM_HIDDEN, LSTM_WINDOW = 4, 16, 16


def comparisons(rounds: int, seed: int) -> Iterator[Comparison]:
    yield som_learning(rounds, seed)
    yield som_winners(rounds, seed)
    yield clusters(rounds, seed)
    yield lstm(rounds, seed)


def _som(samples: int, seed: int) -> tuple[sl.SOM, np.ndarray]:
    stream = np.random.default_rng(seed).random((samples, SOM_DIM), dtype=np.float32)
    return sl.SOM(dim=SOM_DIM, grid=SOM_GRID, sigma=SOM_SIGMA, learning_rate=SOM_RATE), stream


def _minisom() -> object | None:
    try:
        from minisom import MiniSom
    except ImportError:
        return None
    return MiniSom(*SOM_GRID, SOM_DIM, sigma=SOM_SIGMA, learning_rate=SOM_RATE, random_seed=1)


def som_learning(rounds: int, seed: int) -> Comparison:
    """Against MiniSom's ``update(x, winner(x), …)`` per sample, as in its own training loop."""
    model, stream = _som(200_000, seed)
    peer = _minisom()
    subset = stream[:4000].astype(np.float64)

    def ours() -> int:
        model.learn(stream)
        return len(stream)

    def theirs() -> int:
        for t, x in enumerate(subset):
            peer.update(x, peer.winner(x), t, 1_000_000)
        return len(subset)

    name = f"SOM {SOM_GRID[0]}×{SOM_GRID[1]}×{SOM_DIM}, σ = {SOM_SIGMA:g}: learn"
    return compare(name, "MiniSom", ours, theirs if peer else None, rounds)


def som_winners(rounds: int, seed: int) -> Comparison:
    model, stream = _som(200_000, seed)
    peer = _minisom()
    subset = stream[:10_000].astype(np.float64)

    def ours() -> int:
        model.predict(stream)
        return len(stream)

    def theirs() -> int:
        for x in subset:
            peer.winner(x)
        return len(subset)

    name = f"SOM {SOM_GRID[0]}×{SOM_GRID[1]}×{SOM_DIM}: winners"
    return compare(name, "MiniSom", ours, theirs if peer else None, rounds)


def clusters(rounds: int, seed: int) -> Comparison:
    """Hard competitive learning against river's incremental k-means, which has the same rule."""
    units, dim = 16, 8
    stream = np.random.default_rng(seed).random((200_000, dim), dtype=np.float32)
    model = sl.Competitive(dim=dim, units=units, learning_rate=0.1)
    subset = [dict(enumerate(row)) for row in stream[:2000].tolist()]

    def ours() -> int:
        model.learn(stream)
        return len(stream)

    peer: Callable[[], int] | None
    try:
        from river.cluster import KMeans
    except ImportError:
        peer = None
    else:
        means = KMeans(n_clusters=units, halflife=0.1, seed=seed)

        def peer() -> int:
            for x in subset:
                means.learn_one(x)
            return len(subset)

    return compare(f"competitive {units}×{dim}, hard: learn", "river KMeans", ours, peer, rounds)


def lstm(rounds: int, seed: int) -> Comparison:
    """Against PyTorch on one thread: forward over a window, MSE, backward, SGD step; detached state."""
    window, dim = LSTM_WINDOW, LSTM_DIM
    stream = np.random.default_rng(seed).standard_normal((50_000, dim)).astype(np.float32)
    model = sl.RNN(
        dim=dim,
        hidden=LSTM_HIDDEN,
        cell="lstm",
        tbptt=(window, window),
        optimizer="sgd",
        learning_rate=0.01,
    )

    def ours() -> int:
        model.learn(stream)
        return len(stream)

    name = f"LSTM {dim} → {LSTM_HIDDEN}, TBPTT({window}, {window}): learn"
    return compare(name, "PyTorch, 1 thread", ours, _torch_lstm(stream[: 150 * window + 1]), rounds)


def _torch_lstm(stream: np.ndarray) -> Callable[[], int] | None:
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(1)
    torch.manual_seed(1)
    net = torch.nn.LSTM(LSTM_DIM, LSTM_HIDDEN)
    head = torch.nn.Linear(LSTM_HIDDEN, LSTM_DIM)
    optimizer = torch.optim.SGD([*net.parameters(), *head.parameters()], lr=0.01)
    samples = torch.from_numpy(stream)

    def run() -> int:
        state = (torch.zeros(1, LSTM_HIDDEN), torch.zeros(1, LSTM_HIDDEN))
        done = 0
        while done + LSTM_WINDOW < len(samples):
            inputs = samples[done : done + LSTM_WINDOW]
            targets = samples[done + 1 : done + 1 + LSTM_WINDOW]
            hidden, state = net(inputs, state)
            loss = torch.nn.functional.mse_loss(head(hidden), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            state = tuple(part.detach() for part in state)
            done += LSTM_WINDOW
        return done

    return run
