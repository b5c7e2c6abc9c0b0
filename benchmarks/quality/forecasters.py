"""Forecasters of one series, in order: ours, naive ones, recursive least squares, river and PyTorch.

A forecaster takes the values (n,) and the season's period, and returns forecasts (n, H). Row t, column h − 1
is the forecast of sample t + h, made after sample t and before sample t + 1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import streamlearn as sl

from .. import peers
from .series import Values

HORIZON = 24
Forecaster = Callable[[Values, int | None], np.ndarray | None]  # None: the peer is absent


def ours(values: Values, period: int | None) -> np.ndarray:
    """The default settings. ``period`` is the only parameter that depends on the series."""
    season = {} if period is None else {"period": period}
    return forecasts_of(sl.RNN(dim=1, horizon=HORIZON, seed=1, **season), values)


def lstm(values: Values, period: int | None) -> np.ndarray:
    """Our LSTM of 32 units, trained by gradients alone."""
    net = sl.RNN(readout="adam", dim=1, scale="standard", horizon=HORIZON, seed=1)
    return forecasts_of(net, values)


def forecasts_of(net: sl.RNN, values: Values) -> np.ndarray:
    """Return the forecasts after each sample. ``learn`` returns those that were made before it."""
    before = net.learn(values[:, None]).prediction[:, :, 0].astype(float)
    return np.vstack([before[1:], net.forecast(HORIZON)[:, 0]])


def persistence(values: Values, period: int | None) -> np.ndarray:
    """The last value."""
    return np.repeat(values[:, None], HORIZON, axis=1)


def seasonal(values: Values, period: int | None) -> np.ndarray | None:
    """The value of the last season. NaN where there was none."""
    if period is None:
        return None
    seasons_back = -(-np.arange(1, HORIZON + 1) // period) * period
    source = np.arange(len(values))[:, None] + np.arange(1, HORIZON + 1) - seasons_back
    return np.where(source >= 0, values[np.maximum(source, 0)], np.nan)


def least_squares(values: Values, period: int | None) -> np.ndarray:
    """Recursive least squares on 48 lags, one P for all horizons (Haykin, Adaptive Filter Theory).

    It learns from the first sample on whose lags are known. P_0 is the best of 0.1, 1 and 100.
    """
    lags, forget, start = 48, 0.9995, 0.1
    m = lags + 1
    P, W = start * np.eye(m), np.zeros((HORIZON, m))
    past, (mean, width) = np.full(lags, values[0]), standardising(values)
    z, found = np.ones((len(values), m)), np.empty((len(values), HORIZON))
    for t, value in enumerate(values):
        past[1:] = past[:-1]
        past[0] = value
        z[t, 1:] = (past - mean[t]) / width[t]
        made = t - HORIZON  # its last target is this sample
        if made >= lags - 1:  # all its lags are known
            y = (values[made + 1 : t + 1] - mean[made]) / width[made]
            Pz = P @ z[made]
            gain = Pz / (forget + z[made] @ Pz)
            W += np.outer(y - W @ z[made], gain)
            P = (P - np.outer(gain, Pz)) / forget
            P = (P + P.T) / 2
            P *= min(1.0, start * m / np.trace(P))  # bounds what forgetting adds where nothing changes
        found[t] = mean[t] + width[t] * (W @ z[t])
    return found


def standardising(values: Values) -> tuple[Values, Values]:
    """Return the mean and the width of the samples so far (n,), those of the first eight for these."""
    count = np.arange(1, len(values) + 1)
    mean = np.cumsum(values) / count
    width = np.sqrt(np.maximum(np.cumsum((values - values[0]) ** 2) / count - (mean - values[0]) ** 2, 1e-12))
    mean[:8], width[:8] = mean[7], width[7]
    return mean, width


def holt_winters(values: Values, period: int | None) -> np.ndarray | None:
    """river's HoltWinters with a trend and the season."""
    return _river(values, lambda river: river.time_series.HoltWinters(
        alpha=0.3, beta=0.1, gamma=0.6 if period else None, seasonality=period or 0
    ), 2 * (period or 1) + 1)  # fmt: skip


def snarimax(values: Values, period: int | None) -> np.ndarray | None:
    """river's SNARIMAX on differences, with lags of the season; river's own regressor."""
    seasonal = {"m": period, "sp": 2, "sq": 0, "sd": 0} if period else {}
    return _river(values, lambda river: river.time_series.SNARIMAX(
        p=12, d=1, q=0, **seasonal,
        regressor=river.preprocessing.StandardScaler() | river.linear_model.LinearRegression(
            intercept_init=0, optimizer=river.optim.SGD(0.001), intercept_lr=0.001
        ),
    ), 2 * (period or 1) + 14)  # fmt: skip


def _river(values: Values, make: Callable, begin: int) -> np.ndarray | None:
    modules = [
        peers.module(f"river.{name}") for name in ("time_series", "preprocessing", "linear_model", "optim")
    ]
    if any(isinstance(module, str) for module in modules):
        return None
    model = make(peers.module("river"))
    found = np.full((len(values), HORIZON), np.nan)
    for t, value in enumerate(values):
        model.learn_one(float(value))
        if t >= begin:
            found[t] = model.forecast(HORIZON)
    return found


def pytorch(values: Values, period: int | None) -> np.ndarray | None:
    """An LSTM of 32 units in PyTorch, TBPTT(16, 16) with carried state, Adam.

    Values are standardised by their mean and width so far. The rate is the best of 0.001, 0.005 and 0.01.
    """
    torch = peers.torch()
    if isinstance(torch, str):
        return None
    torch.manual_seed(1)
    cells, head = torch.nn.LSTM(1, 32), torch.nn.Linear(32, HORIZON)
    optimizer = torch.optim.Adam([*cells.parameters(), *head.parameters()], lr=0.01)
    n, (mean, width) = len(values), standardising(values)
    state, found, k = None, np.empty((n, HORIZON)), 16
    made: list = []
    for t in range(n):
        x = torch.tensor([[(values[t] - mean[t]) / width[t]]], dtype=torch.float32)
        made.append((x, t, state))
        with torch.no_grad():
            hidden, state = cells(x, state)
            found[t] = mean[t] + width[t] * head(hidden)[0].double().numpy()
        if len(made) == k + HORIZON:  # the first k have all their targets
            window = made[:k]
            made = made[k:]
            hidden, _ = cells(torch.cat([x for x, _, _ in window]), window[0][2])
            targets = np.stack([(values[s + 1 : s + 1 + HORIZON] - mean[s]) / width[s] for _, s, _ in window])
            loss = torch.nn.functional.mse_loss(head(hidden), torch.from_numpy(targets.astype(np.float32)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return found
