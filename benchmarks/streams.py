"""Prequential evaluation on real streams of the river wheel, against river's models.

WaterFlow: river's documentation tunes Holt–Winters on this stream (``anomaly.ThresholdFilter``). Its SNARIMAX
is taken from the AirlinePassengers example, with a season of 24 hours in place of 12 months. A "tuned" peer
is the best of several hundred settings that we tried, chosen on the evaluated half; the tuned Holt–Winters is
close to persistence (α → 1). The LSTM has default rate, windows and optimizer; inputs, size and delta are the
best of 36 on the first half. The choice of the Huber loss used the whole stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from river import anomaly, datasets, linear_model, optim, preprocessing, time_series
from sklearn.metrics import roc_auc_score

import streamlearn as sl
from streamlearn.cli.demo.data import Shuttle, shuttle

from .timing import Row, Settings

# Shuttle: find the anomalous readings


def map_auc(stream: Shuttle, grid: tuple[int, ...] = (10, 10), **parameters: Any) -> float:
    """Return the ROC AUC of a map's score."""
    som = sl.SOM(dim=9, grid=grid, **parameters)
    return roc_auc_score(stream.anomaly, som.learn(stream.x).score)


def trees_auc(stream: Shuttle) -> float:
    """Return the ROC AUC of river's half-space trees."""
    trees = preprocessing.MinMaxScaler() | anomaly.HalfSpaceTrees(seed=42)
    scores = []
    for row in stream.x.tolist():
        x = dict(enumerate(row))
        scores.append(trees.score_one(x))
        trees.learn_one(x)
    return roc_auc_score(stream.anomaly, scores)


# WaterFlow: forecast the next reading


class Water(NamedTuple):
    """Flow through a branch of a pipeline in l/s, one row per reading; some hours have none."""

    flow: np.ndarray  # (1268,)
    hour: np.ndarray  # (1268,): hour of the day, 0 … 23


def water() -> Water:
    rows = [(x["Time"], flow) for x, flow in datasets.WaterFlow()]
    return Water(np.array([flow for _, flow in rows]), np.array([time.hour for time, _ in rows]))


def mean_absolute_error(stream: Water, forecast: np.ndarray) -> float:
    """Return the MAE over the second half; the first half is for training."""
    half = len(stream.flow) // 2
    return float(np.abs(forecast - stream.flow)[half:].mean())


def persistence(stream: Water) -> np.ndarray:
    """Forecast the last reading, (n,); NaN for the first."""
    return np.concatenate([[np.nan], stream.flow[:-1]])


def lstm(stream: Water, seed: int = 0) -> np.ndarray:
    """Forecast each reading (n,) with an LSTM, from past changes and the time of day.

    The pipe is shut at times. The Huber loss limits the effect of these few readings on the gradient.
    """
    change = np.diff(stream.flow, prepend=np.nan)
    angle = 2 * np.pi * stream.hour / 24
    x = np.stack([change, np.sin(angle), np.cos(angle)], axis=1)
    net = sl.RNN(
        readout="adam",
        dim=3,
        hidden=16,
        target="given",
        outputs=1,
        loss="huber",
        delta=0.1,
        scale="standard",
        seed=seed,
    )
    forecast = net.learn(x[:-1], change[1:, None]).prediction[:, 0]
    return persistence(stream) + np.concatenate([[np.nan], forecast])


def snarimax(rate: float, **order: int) -> Any:
    regressor = linear_model.LinearRegression(optimizer=optim.SGD(rate))
    return time_series.SNARIMAX(**order, regressor=preprocessing.StandardScaler() | regressor)


def filtered_holt_winters() -> Any:
    scorer = anomaly.GaussianScorer(window_size=24 * 7, grace_period=30)
    return anomaly.ThresholdFilter(scorer, threshold=0.995) | time_series.HoltWinters(alpha=0.3, beta=0.1)


RIVER_MODELS: dict[str, Callable[[], Any]] = {
    "Holt–Winters as documented, with filter": filtered_holt_winters,
    "Holt–Winters as documented, without": lambda: time_series.HoltWinters(alpha=0.3, beta=0.1),
    "Holt–Winters as of AirlinePassengers": lambda: time_series.HoltWinters(
        alpha=0.3, beta=0.1, gamma=0.6, seasonality=24
    ),
    "Holt–Winters, tuned": lambda: time_series.HoltWinters(alpha=0.99),
    "SNARIMAX as documented": lambda: time_series.SNARIMAX(p=24, d=1, q=24, m=24, sd=1),
    "SNARIMAX as documented, SGD(0.005)": lambda: snarimax(0.005, p=24, d=1, q=24, m=24, sd=1),
    "SNARIMAX, tuned": lambda: snarimax(0.001, p=1, d=1, q=0, m=24, sp=1),
}


def river_forecast(stream: Water, name: str) -> np.ndarray:
    """Forecast each reading (n,) with a river model; NaN before its first season is complete."""
    model, forecasts = RIVER_MODELS[name](), []
    for flow in stream.flow.tolist():
        try:
            forecasts.append(model.forecast(1)[0])
        except IndexError:
            forecasts.append(np.nan)
        model.learn_one(y=flow, x={})
    return np.array(forecasts)


# rows


def rows(settings: Settings) -> Iterator[Row]:
    yield from shuttle_rows()
    yield from water_rows()


def shuttle_rows() -> Iterator[Row]:
    stream = shuttle()
    trees = trees_auc(stream)
    for grid in ((8, 8), (10, 10), (12, 12), (15, 15), (20, 20)):
        for scale in (None, "standard", "ewma", "minmax"):
            auc = float(np.mean([map_auc(stream, grid, scale=scale, seed=seed) for seed in range(3)]))
            name = f"Shuttle, anomalies: SOM {grid[0]}×{grid[1]}, scale={scale!r}, seeds 0–2"
            yield Row(name, auc, "ROC AUC", "river HalfSpaceTrees", trees, auc / trees)


def water_rows() -> Iterator[Row]:
    stream = water()
    errors = [mean_absolute_error(stream, lstm(stream, seed)) for seed in range(10)]
    ours = float(np.mean(errors))
    others = {"persistence": mean_absolute_error(stream, persistence(stream))}
    for name in RIVER_MODELS:
        others[f"river {name}"] = mean_absolute_error(stream, river_forecast(stream, name))
    for name, error in others.items():
        yield Row(
            "WaterFlow, next reading: LSTM of 16, seeds 0–9", ours, "l/s MAE", name, error, ours / error
        )
