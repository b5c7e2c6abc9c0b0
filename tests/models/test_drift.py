"""Drift of whole models: alarms on healthy streams, delays after changes, recovery."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import streamlearn as sl

N, CHANGE, END = 100_000, 20_000, 30_000
KINDS: dict[str, Callable[..., sl.Model]] = {
    "som": lambda **spec: sl.SOM(grid=(10, 10), **spec),
    "hard": lambda **spec: sl.Competitive(units=10, **spec),
    "gas": lambda **spec: sl.Competitive(units=10, mode="gas", **spec),
    "gng": sl.GrowingNeuralGas,
    "lstm": lambda **spec: sl.RNN(hidden=8, target="next", readout="adam", **spec),
    "rls": lambda **spec: sl.RNN(target="next", readout="rls", **spec),
}
FAST = [kind for kind in KINDS if kind != "rls"]
RANDOM = np.random.default_rng(11)
CENTRES = 2 * RANDOM.normal(size=(2, 8, 6))
T = np.arange(N)
WEEKEND = T // 1440 % 7 >= 5
HEALTHY = {
    "clusters": CENTRES[0, RANDOM.integers(0, 8, N)] + 0.3 * RANDOM.normal(size=(N, 6)),
    "noise": RANDOM.normal(size=(N, 6)),
    "on/off": (RANDOM.random((N, 1)) < 0.01).astype(float),
    "sine": (np.sin(2 * np.pi * T / 24) + 0.1 * RANDOM.normal(size=N))[:, None],
    "week": (np.sin(2 * np.pi * T / 1440) - 0.5 * WEEKEND + 0.1 * RANDOM.normal(size=N))[:, None],
}


def learn(kind: str, x: np.ndarray, **spec: Any) -> tuple[np.ndarray, list[int], sl.Model]:
    """Return the distance or error of each sample, the samples of the alarms, and the model."""
    scale = {} if kind == "rls" else {"scale": "standard"}
    model = KINDS[kind](dim=x.shape[1], **scale, **spec)
    out = model.learn(x)
    error = out.arrays.get("distance", out.arrays.get("error"))
    return error, np.flatnonzero(out.drift).tolist(), model


def changed(length: int) -> np.ndarray:
    """Return eight clusters that move to other places in ``length`` samples from CHANGE on."""
    random = np.random.default_rng(12)
    share = np.clip((T[:END] - CHANGE + 1) / length, 0, 1)[:, None]
    which = random.integers(0, 8, END)
    moved = CENTRES[0, which] * (1 - share) + CENTRES[1, which] * share
    return moved + 0.3 * random.normal(size=moved.shape)


@pytest.mark.parametrize("stream", HEALTHY)
@pytest.mark.parametrize("kind", FAST)
def test_a_healthy_stream_raises_at_most_one_alarm_and_a_reaction_does_no_harm(kind, stream):
    plain, alarms, model = learn(kind, HEALTHY[stream], drift="blocks")
    assert len(alarms) <= 1
    assert model.quality()["drift_settled"] or alarms
    adapted, alarms_then, _ = learn(kind, HEALTHY[stream], on_drift="adapt")
    assert len(alarms_then) <= 1
    last = slice(-20_000, None)
    assert np.nanmean(adapted[last]) <= 1.1 * np.nanmean(plain[last]) + 1e-6


@pytest.mark.parametrize("kind", FAST)
def test_a_jump_is_detected_and_the_model_recovers(kind):
    error, alarms, model = learn(kind, changed(1), on_drift="adapt")
    assert len(alarms) == 1
    assert CHANGE < alarms[0] < CHANGE + 500
    assert (alarms[0] + 1) % 64 < 2  # the end of a block; a forecast has no error of the first sample
    before, after = error[CHANGE - 2000 : CHANGE], error[CHANGE + 5000 : CHANGE + 7000]
    assert after.mean() < 1.3 * before.mean()
    assert model.quality()["drift_alarms"] == 1


@pytest.mark.parametrize("kind", FAST)
def test_a_model_recovers_from_a_gradual_change(kind):
    error, alarms, _ = learn(kind, changed(2000), on_drift="adapt")
    assert len(alarms) <= 1
    before, after = error[CHANGE - 2000 : CHANGE], error[CHANGE + 8000 : CHANGE + 10_000]
    assert after.mean() < 1.3 * before.mean()


def keyed(n: int, change: int) -> tuple[np.ndarray, list[int]]:
    """Return four sines in turn, which are faster and larger from sample ``change`` on, and their keys."""
    random, t = np.random.default_rng(13), np.arange(n)
    key = t % 4
    period, size = np.where(t < change, 24, 15), np.where(t < change, 1.0, 2.5)
    x = size * np.sin(2 * np.pi * (t // 4) / period + key) + 0.1 * random.normal(size=n)
    return np.column_stack([x, np.roll(x, 8)]), key.tolist()


@pytest.mark.parametrize("reaction", ["adapt", "reheat", "watch"])
def test_a_reaction_of_a_model_with_keys(reaction):
    """One detector reads the streams of all keys together, and any split reacts at the same sample."""
    x, keys = keyed(24_000, 12_000)
    rate = sl.Decay(0.01, 0.002, tau=2000)
    spec = {"dim": 2, "hidden": 8, "readout": "adam", "keys": 4, "learning_rate": rate, "watch_for": 500}
    spec |= {"scale": "standard", "on_drift": reaction, "alarm": {}}
    whole, parts = sl.RNN(**spec), sl.RNN(**spec)
    out = whole.learn(x, keys=keys)
    alarms = np.flatnonzero(out.drift)
    assert len(alarms) == 1
    assert 12_000 < alarms[0] < 12_500
    for begin in range(0, len(x), 1700):
        parts.learn(x[begin : begin + 1700], keys=keys[begin : begin + 1700])
    assert parts.state_hash() == whole.state_hash()
    if reaction == "watch":
        assert out.watched[alarms[0] + 1 : alarms[0] + 501].all()
        assert out.watched.sum() == 500
    else:
        plain = sl.RNN(**spec | {"on_drift": None}).learn(x, keys=keys)
        after = slice(alarms[0] + 200, alarms[0] + 2000)
        assert np.nanmean(out.error[after]) < 0.95 * np.nanmean(plain.error[after])


def test_every_kind_of_read_out_detects_a_jump():
    x = np.concatenate([HEALTHY["sine"][:9000], 3 * HEALTHY["sine"][9000:12_000][::-1] ** 3])
    _, alarms, _ = learn("rls", x, drift="blocks")
    assert len(alarms) == 1
    assert 9000 < alarms[0] < 9500


def test_reheating_by_hand_raises_no_alarm():
    x = HEALTHY["clusters"]
    som = sl.SOM(dim=6, grid=(10, 10), scale="standard", drift="blocks")
    som.learn(x[:20_000])
    assert som.quality()["drift_settled"]
    som.reheat()
    assert not som.quality()["drift_settled"]
    assert not som.learn(x[20_000:]).drift.any()
