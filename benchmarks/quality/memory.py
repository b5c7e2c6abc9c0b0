"""Targets that depend on a long past of the input: first-order lags; and a short delay.

A first-order lag is a thermal mass: y ← y + (x − y)/T. The input is white noise, or a heater that is set to a
new level at random times. All see x and y of each sample in the same order, and predict y before they learn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

import streamlearn as sl

from .. import peers
from .tables import Claim, Row, Settings

TITLE = "Long memory: root mean square error ÷ width of the target"
Values = np.ndarray  # (n,)
Predictor = Callable[[Values, Values], Values | None]  # x, y → the predictions of y; None: the peer is absent
OURS, RTU, GRU = "streamlearn", "streamlearn, trace units", "streamlearn, GRU"
LAG = "lag of 400 samples"


def noise(n: int, generator: np.random.Generator) -> Values:
    return generator.normal(0, 1, n)


def heater(n: int, generator: np.random.Generator) -> Values:
    """Levels of 0 … 1 that last 150 samples on average."""
    changes = generator.random(n) < 1 / 150
    return generator.uniform(0, 1, n)[np.maximum.accumulate(np.where(changes, np.arange(n), 0))]


def lag(x: Values, constant: float) -> Values:
    """A first-order lag, of width 1."""
    y, level = np.empty_like(x), 0.0
    for t, value in enumerate(x):
        level += (value - level) / constant
        y[t] = level
    return y / y.std()


INPUTS = {"white noise": noise, "heater": heater}
TARGETS: dict[str, Callable[[Values], Values]] = {
    LAG: lambda x: lag(x, 400),
    "sum of lags of 30 and 1,500": lambda x: lag(x, 30) + lag(x, 1500),
    "delay of 3 samples": lambda x: np.concatenate([np.zeros(3), x[:-3]]),
}


def ours(x: Values, y: Values) -> Values:
    """The default settings: least squares on the last values and on running averages."""
    return sl.RNN(dim=1, target="given", seed=1).learn(x[:, None], y[:, None]).prediction[:, 0].astype(float)


def net(**parameters: Any) -> Predictor:
    def predict(x: Values, y: Values) -> Values:
        model = sl.RNN(
            readout="adam", dim=1, hidden=16, target="given", scale="standard", seed=1, **parameters
        )
        return model.learn(x[:, None], y[:, None]).prediction[:, 0].astype(float)

    return predict


def least_squares(x: Values, y: Values) -> Values:
    """Recursive least squares on 48 lags of the input."""
    lags, forget, start = 48, 0.9995, 0.1
    P, w, z = start * np.eye(lags + 1), np.zeros(lags + 1), np.zeros(lags + 1)
    z[0], found = 1.0, np.empty_like(y)
    for t, value in enumerate(x):
        z[2:], z[1] = z[1:-1].copy(), value
        found[t] = w @ z
        Pz = P @ z
        gain = Pz / (forget + z @ Pz)
        w += gain * (y[t] - found[t])
        P = (P - np.outer(gain, Pz)) / forget
        P = (P + P.T) * min(0.5, 0.5 * start * len(z) / np.trace(P))
    return found


def pytorch(x: Values, y: Values) -> Values | None:
    """A GRU of 16 units in PyTorch, TBPTT(16, 16) with carried state, Adam at 0.005; all standardised."""
    torch = peers.torch()
    if isinstance(torch, str):
        return None
    torch.manual_seed(1)
    cells, head, k = torch.nn.GRU(1, 16), torch.nn.Linear(16, 1), 16
    optimizer = torch.optim.Adam([*cells.parameters(), *head.parameters()], lr=0.005)
    inputs, targets = (
        torch.tensor((each - each.mean()) / each.std(), dtype=torch.float32) for each in (x, y)
    )
    state, found = None, np.full(len(x), np.nan)
    for first in range(0, len(x) - k + 1, k):
        hidden, state = cells(inputs[first : first + k, None], state)
        forecast = head(hidden)[:, 0]
        state, found[first : first + k] = state.detach(), forecast.detach().numpy()
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(forecast, targets[first : first + k]).backward()
        optimizer.step()
    return y.mean() + y.std() * found


PREDICTORS: dict[str, Predictor] = {
    OURS: ours,
    RTU: net(cell="rtu"),
    GRU: net(cell="gru"),
    "GRU with memory": net(cell="gru", features={"memory": [10, 30, 100, 300, 1000, 3000, 10_000]}),
    "GRU through 64 samples": net(cell="gru", tbptt=(16, 64)),
    "RLS, 48 lags": least_squares,
    "PyTorch GRU": pytorch,
}


def rows(settings: Settings) -> Iterator[Row]:
    n = settings.choose(40_000, 200)
    for part, make in INPUTS.items():
        x = make(n, np.random.default_rng(settings.seed))
        for name, target in TARGETS.items():
            y = target(x)
            yield Row(name, {peer: _error(predict(x, y), y) for peer, predict in PREDICTORS.items()}, part)


def _error(predicted: Values | None, y: Values) -> float | None:
    """The error over the second half."""
    if predicted is None:
        return None
    half = len(y) // 2
    error = (predicted - y)[half:]
    return float(np.sqrt(np.nanmean(error**2)) / y[half:].std())


def claims(rows: Sequence[Row]) -> list[Claim]:
    ratio = max(row.figures[RTU] / row.figures[GRU] for row in rows if "lag" in row.case)
    text = "lags: trace units have at most half the error of a GRU"
    worst = max(row.figures[OURS] for row in rows if row.case == LAG)
    return [
        Claim(
            "lag of 400 samples: the default has an error of 0.002", f"at most {worst:.4f}", worst <= 0.002
        ),
        Claim(text, f"at most {ratio:.0%} of it", ratio <= 0.5),
    ]
