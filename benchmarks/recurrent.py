"""Recurrent networks: PyTorch on one thread, deep-river and ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

import streamlearn as sl

from . import limits, peers
from .roof import roof
from .timing import Absent, Contestant, Peer, Quality, Row, Settings, compare, one_by_one, over
from .torch_nets import Net

SIZES = ((4, 16, 16), (8, 32, 20), (8, 64, 32), (16, 128, 32), (32, 256, 32))  # dim, hidden, k
QUICK_SIZES = SIZES[:1]
CELLS = {"lstm": "LSTM", "gru": "GRU", "elman": "Elman"}
GATES = {"lstm": 4, "gru": 3, "elman": 1}
EVERY_SAMPLE = (8, 32, 20)  # dim, hidden, k₂
RATE = 0.1
PYTORCH, DEEP_RIVER, ONNX = "PyTorch, 1 thread", "deep-river", "ONNX Runtime, 1 thread"
LOSS = "mean squared error"


def rows(settings: Settings) -> Iterator[Row]:
    for cell in CELLS:
        for size in QUICK_SIZES if settings.quick else SIZES:
            yield from windows(cell, size, settings)


def steps(settings: Settings) -> Iterator[Row]:
    """Rows of learning and of predicting on every sample."""
    yield from every_sample(settings)
    yield from one_step(settings)


def waves(dim: int, n: int, seed: int) -> np.ndarray:
    """Return sines of several periods with noise, (n, dim): a stream that a network can learn."""
    generator = np.random.default_rng(seed)
    periods = generator.uniform(8, 40, dim)
    phase = 2 * np.pi * np.arange(n)[:, None] / periods
    return (np.sin(phase) + generator.normal(0, 0.1, (n, dim))).astype(np.float32)


def network(cell: str, dim: int, hidden: int, tbptt: tuple[int, int]) -> sl.RNN:
    return sl.RNN(
        readout="adam",
        dim=dim,
        hidden=hidden,
        cell=cell,
        tbptt=tbptt,
        optimizer="sgd",
        learning_rate=RATE,
        seed=1,
    )


def half(errors: np.ndarray) -> float:
    """Return the mean over the second half."""
    return float(errors[len(errors) // 2 :].mean(dtype=np.float64))


def windows(cell: str, size: tuple[int, int, int], settings: Settings) -> Iterator[Row]:
    """TBPTT(k, k) with SGD: one update per window."""
    dim, hidden, k = size
    stream = waves(dim, settings.choose(64, 4) * 2 * k + 1, settings.seed)
    model = network(cell, dim, hidden, (k, k))
    limit = limits.recurrent_learning(roof(settings), GATES[cell], dim, hidden, dim)
    name = f"{CELLS[cell]} {dim} → {hidden}, TBPTT({k}, {k}), learn"
    torch = peers.torch()
    if isinstance(torch, str):
        ours = Contestant("ours", over(stream, model.learn))
        yield from compare(name, ours, [Absent(PYTORCH, torch)], settings, limit=limit)
        return
    net, timed = Net(torch, model), Net(torch, model)
    own = half((model.learn(stream).error[1:] ** 2).reshape(-1, k).mean(1))
    quality = Quality(LOSS, own, half(net.learn_windows(stream, k)))
    ours = Contestant("ours", over(stream, model.learn))
    peer = Contestant(PYTORCH, whole_windows(stream, lambda part: timed.learn_windows(part, k)), step=k)
    yield from compare(name, ours, [peer], settings, {PYTORCH: quality}, limit)


def whole_windows(stream: np.ndarray, learn: Callable[[np.ndarray], object]) -> Callable[[int], None]:
    """Return a run over whole windows. ``learn`` gets one more sample: the last target."""

    def run(n: int) -> None:
        while n > 0:
            part = stream[: n + 1]
            learn(part)
            n -= len(part) - 1

    return run


def every_sample(settings: Settings) -> Iterator[Row]:
    """TBPTT(1, k): an update on every sample, through the last k."""
    dim, hidden, k = EVERY_SAMPLE
    stream = waves(dim, settings.choose(2000, 50), settings.seed)
    model = network("lstm", dim, hidden, (1, k))
    contestants: list[Peer] = []
    qualities = {}
    torch = peers.torch()
    if isinstance(torch, str):
        contestants.append(Absent(PYTORCH, torch))
    else:
        net, timed = Net(torch, model), Net(torch, model)
        own = half(model.learn(stream).error[1:] ** 2)
        qualities[PYTORCH] = Quality(LOSS, own, half(net.learn_every_sample(stream, k)))
        contestants.append(Contestant(PYTORCH, over(stream, lambda part: timed.learn_every_sample(part, k))))
    with peers.deep_river(dim, hidden, k, RATE) as peer:
        contestants.append(peer)
        ours = Contestant("ours", over(stream, model.learn))
        name = f"LSTM {dim} → {hidden}, TBPTT(1, {k}), learn"
        limit = limits.recurrent_learning(roof(settings), GATES["lstm"], dim, hidden, dim, steps=k)
        yield from compare(name, ours, contestants, settings, qualities, limit)


def one_step(settings: Settings) -> Iterator[Row]:
    """Forecast after each sample, with carried state. Peers get one sample per call, as from a stream."""
    dim, hidden, _ = EVERY_SAMPLE
    stream = waves(dim, settings.choose(2000, 50), settings.seed)
    model = network("lstm", dim, hidden, (16, 16))
    model.learn(waves(dim, 1600, settings.seed + 1))
    fresh = network("lstm", dim, hidden, (16, 16))
    fresh.load_parameters(model.parameters)
    limit = limits.recurrent_step(roof(settings), GATES["lstm"], dim, hidden, dim)
    ours = Contestant("ours", over(stream, fresh.predict))
    name = f"LSTM {dim} → {hidden}, forecast after every sample"
    torch = peers.torch()
    if isinstance(torch, str):
        absent = [Absent(peer, torch) for peer in (PYTORCH, ONNX)]
        yield from compare(name, ours, absent, settings, limit=limit)
        return
    net, samples = Net(torch, fresh), list(torch.from_numpy(stream)[:, None])
    own = _error(stream, fresh.predict(stream).prediction)
    qualities = {PYTORCH: Quality(LOSS, own, _error(stream, _in_turn(net.stepper(), samples)))}
    contestants: list[Peer] = [Contestant(PYTORCH, one_by_one(samples, net.stepper()))]
    onnx = onnx_step(net)
    if isinstance(onnx, str):
        contestants.append(Absent(ONNX, onnx))
    else:
        rows = list(stream[:, None, None])
        contestants.append(Contestant(ONNX, one_by_one(rows, onnx())))
        qualities[ONNX] = Quality(LOSS, own, _error(stream, _in_turn(onnx(), rows)))
    yield from compare(name, ours, contestants, settings, qualities, limit)
    forecast, title = _forecaster(net), f"{PYTORCH}, all samples in one call"
    at_once = {title: Quality(LOSS, own, _error(stream, forecast(stream)))}
    yield from compare(name, ours, [Contestant(title, over(stream, forecast))], settings, at_once, limit)
    watching = network("lstm", dim, hidden, (16, 16))
    watching.load_parameters(model.parameters)
    watching.pause()  # it carries its state from call to call, as the peers do, and learns nothing
    earlier = _in_turn(lambda sample: watching.learn(sample).prediction, list(stream[:, None]))
    own = _error(stream, np.roll(earlier, -1, axis=0))  # each was made one sample before
    single = Contestant("ours", one_by_one(list(stream[:, None]), watching.learn))
    again = [peer for peer in contestants if isinstance(peer, Contestant)]
    qualities = {peer: replace(quality, ours=own) for peer, quality in qualities.items()}
    yield from compare(f"{name}, one sample per call", single, again, settings, qualities, limit)


def _forecaster(net: Net) -> Callable[[np.ndarray], np.ndarray]:
    return lambda part: net.forecasts(net.torch.from_numpy(part))


def _in_turn(step: Callable[[Any], np.ndarray], samples: Sequence[Any]) -> np.ndarray:
    """Return what ``step`` returns for each sample, one row each."""
    return np.concatenate([step(sample).reshape(1, -1) for sample in samples])


def _error(stream: np.ndarray, forecasts: np.ndarray) -> float:
    """Return the mean squared error of the forecasts after each sample."""
    return float(((forecasts[:-1] - stream[1:]) ** 2).mean())


def onnx_step(net: Net) -> Callable[[], Callable[[np.ndarray], np.ndarray]] | str:
    """Return a maker of steppers that carry the state through ONNX Runtime, or why there is none."""
    runtime, onnx = peers.module("onnxruntime"), peers.module("onnx")  # the export needs onnx
    for found in (runtime, onnx):
        if isinstance(found, str):
            return found
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = runtime.InferenceSession(net.as_onnx(), options, providers=["CPUExecutionProvider"])
    hidden = net.spec.hidden

    def stepper() -> Callable[[np.ndarray], np.ndarray]:
        h = c = np.zeros((1, 1, hidden), np.float32)

        def step(sample: np.ndarray) -> np.ndarray:
            nonlocal h, c
            y, h, c = session.run(None, {"x": sample, "h": h, "c": c})
            return y

        return step

    return stepper
