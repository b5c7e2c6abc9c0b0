"""A text streamed once as characters: bits per character and speed, against PyTorch at the same size.

1 MB from a seeded grammar, an LSTM with 64 units, Adam, windows of 64.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator

import numpy as np

import streamlearn as sl

from . import peers
from .recurrent import PYTORCH
from .timing import Quality, Row, Settings

GRAMMAR = {
    "text": ["sentence", "sentence", "sentence", "question"],
    "sentence": [
        "the thing is state. ",
        "the thing verb the thing. ",
        "when the thing verb, the thing is state. ",
    ],
    "question": ["is the thing state? ", "which thing verb the thing? "],
    "thing": ["pump", "valve", "motor", "sensor", "fan", "state thing"],
    "state": ["warm", "cold", "open", "closed", "noisy", "new"],
    "verb": ["drives", "follows", "stops", "heats", "cools"],
}
RATE = 0.003


def generate(length: int, seed: int) -> str:
    """Generate ``length`` characters of sentences."""
    random = np.random.default_rng(seed)

    def expand(word: str) -> str:
        bare = word.strip(".,?")
        if bare not in GRAMMAR:
            return word
        chosen = GRAMMAR[bare][int(random.integers(len(GRAMMAR[bare])))]
        return word.replace(bare, " ".join(expand(part) for part in chosen.split(" ")))

    parts: list[str] = []
    written = 0
    while written < length:
        parts.append(expand("text"))
        written += len(parts[-1])
    return "".join(parts)[:length]


def codes(length: int, seed: int) -> tuple[np.ndarray, str]:
    """Return a text as character codes (length, 1), and the alphabet that they index."""
    text = generate(length, seed)
    letters = "".join(sorted(set(text)))
    index = {letter: code for code, letter in enumerate(letters)}
    return np.array([[index[letter]] for letter in text], np.float32), letters


def bits(stream: np.ndarray, symbols: int, hidden: int, window: int) -> tuple[float, float]:
    """Return the bits per character of ours and of PyTorch, over the stream without its first window."""
    net, theirs = ours(symbols, hidden, window), pytorch(symbols, hidden, window)
    return _mean(net.learn(stream).error[1:], window), _mean(theirs(net_start(net), stream), window)


def net_start(net: sl.RNN) -> dict[str, np.ndarray]:
    """Return the initial parameters of a net with the same spec."""
    return {name: values.copy() for name, values in sl.RNN.from_spec(net.spec_dict()).parameters.items()}


def ours(symbols: int, hidden: int, window: int) -> sl.RNN:
    return sl.RNN(
        readout="adam",
        dim=1,
        hidden=hidden,
        symbols=symbols,
        loss="cross_entropy",
        tbptt=(window, window),
        learning_rate=RATE,
    )


def pytorch(
    symbols: int, hidden: int, window: int
) -> Callable[[dict[str, np.ndarray], np.ndarray], np.ndarray]:
    """Return a function that learns a stream window by window, with carried, detached state.

    It returns −log p of every character but the first, in nats.
    """
    import torch

    torch.set_num_threads(1)
    net, head = torch.nn.LSTM(symbols, hidden), torch.nn.Linear(hidden, symbols)
    optimizer = torch.optim.Adam([*net.parameters(), *head.parameters()], lr=RATE)

    def learn(start: dict[str, np.ndarray], stream: np.ndarray) -> np.ndarray:
        start = {name: torch.from_numpy(values) for name, values in start.items()}
        net.load_state_dict({name: values for name, values in start.items() if "head" not in name})
        head.load_state_dict({name[5:]: values for name, values in start.items() if "head" in name})
        whole, one_hot, state = torch.from_numpy(stream[:, 0]).long(), torch.eye(symbols), None
        losses = []
        for first in range(0, len(whole) - window, window):
            x, y = whole[first : first + window], whole[first + 1 : first + 1 + window]
            out, state = net(one_hot[x][:, None], state)
            nats = torch.nn.functional.cross_entropy(head(out[:, 0]), y, reduction="none")
            optimizer.zero_grad()
            nats.mean().backward()
            optimizer.step()
            state = tuple(part.detach() for part in state)
            losses.append(nats.detach().numpy())
        return np.concatenate(losses)

    return learn


def _mean(nats: np.ndarray, window: int) -> float:
    return float(nats[window:].mean(dtype=np.float64) / math.log(2))


def rows(settings: Settings) -> Iterator[Row]:
    length = settings.choose(1_000_000, 2_000)
    stream, letters = codes(length, settings.seed)
    size = len(letters), 64, 64
    net = ours(*size)
    start = net_start(net)
    began = time.thread_time()
    bits_of_ours = _mean(net.learn(stream).error[1:], 64)
    rate = length / (time.thread_time() - began)
    name, unit, measure = "text, LSTM of 64, TBPTT(64, 64), Adam, learn", "characters/s", "bits per character"
    torch = peers.torch()
    if isinstance(torch, str):
        yield Row(name, rate, unit, PYTORCH, quality=Quality(measure, bits_of_ours, None), absent=torch)
        return
    began = time.thread_time()
    bits_of_theirs = _mean(pytorch(*size)(start, stream), 64)
    theirs = length / (time.thread_time() - began)
    quality = Quality(measure, bits_of_ours, bits_of_theirs)
    yield Row(name, rate, unit, PYTORCH, theirs, rate / theirs, quality=quality)
