"""``learn_below``: what it keeps out, against the rule in float64, and what it costs without a fault."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import streamlearn as sl
from streamlearn import models
from streamlearn.errors import BadCheckpoint
from streamlearn.kernels.stream import gate
from streamlearn_client.outputs import NamedArrays
from tests.models.test_watching import ALL, DIM, N, in_pieces, learnable, stream, unlearned
from tests.naive.gate import Gate


@pytest.mark.parametrize("patience", [None, 4, 100])
@pytest.mark.parametrize("kind", [name for name in ALL if name != "birnn"])
def test_samples_with_high_scores_are_watched(kind, patience):
    """The rule, from the scores. A watched sample changes nothing."""
    rule = {"learn_below": 0.7, "patience": patience}
    x, spec = stream(), {"dim": DIM, "half_life": 200.0, **ALL[kind], **rule}
    model = models.create(kind, spec)
    naive = Gate(0.7, first=settling_of(model), patience=patience)
    stretches = 0
    for row in x:
        before = unlearned(model)
        out = model.learn(**learnable(model, row[None]))
        assert out.watched[0] == naive.watches(float(out.score[0]))
        naive.follow(compared(out), bool(out.watched[0]))
        stretches += naive.stretch
        if out.watched[0]:
            assert unlearned(model) == before
    assert 20 < model.quality()["watched_samples"] < N


def compared(out: NamedArrays) -> float:
    """The distance or error of one sample, which the score compares."""
    return float(out.arrays.get("distance", out.arrays.get("error"))[0])


def rhythm(sizes: Sequence[float], period: int = 500) -> np.ndarray:
    """Noise. After 3,000 samples, the first third of each period has one of these offsets in a channel."""
    random = np.random.default_rng(12)
    x = random.normal(size=(3000 + period * len(sizes), 3))
    for i, size in enumerate(sizes):
        begin = 3000 + i * period
        x[begin : begin + period // 3, 0] += size
    return x


EPISODES: dict[str, tuple[str, dict[str, Any]]] = {
    "gas": ("competitive", {"units": 9, "mode": "gas", "rare_below": 0.0}),
    "som": ("som", {"grid": (4, 4), "rare_below": 0.0}),
    "gng": ("gng", {"max_units": 12, "rare_below": 0.0}),
    "lstm": ("rnn", {"readout": "adam", "hidden": 4, "learning_rate": 0.01}),
    "least squares": ("rnn", {"hidden": 0}),
}


@pytest.mark.parametrize("name", EPISODES)
def test_what_came_and_passed_three_times_is_learned(name):
    """The rule, from scores and distances: every sample, one by one, and what the gate keeps."""
    kind, spec = EPISODES[name]
    x = rhythm([4.0] * 6 + [8.0] + [4.0] * 3)
    model = models.create(kind, {"dim": 3, "learn_below": 0.95, "score_half_life": 2000.0, **spec})
    naive = Gate(0.95, first=settling_of(model), decay=0.5 ** (1 / 2000))
    for row in x:
        out = model.learn(row)
        assert out.watched[0] == naive.watches(float(out.score[0]))
        naive.follow(compared(out), bool(out.watched[0]))
    assert len(naive.heights) >= 3
    assert naive.passed > 0
    kept = model.state["gate"][gate.PASSED :]
    np.testing.assert_allclose(kept, naive.heights[: -gate.EPISODES - 1 : -1], rtol=1e-9)


def settling_of(model: models.Model) -> float:
    """The samples that a model with a limit of its score learns in any case."""
    return float(model.state["gate"][gate.FIRST])


def test_the_first_samples_are_learned_until_the_schedules_have_settled():
    rate, spec = sl.Decay(0.5, 0.02, 100.0), {"dim": 2, "units": 5, "learn_below": 0.99}
    assert settling_of(sl.Competitive(learning_rate=0.1, **spec)) == pytest.approx(2000)  # 20 above 0.99
    assert settling_of(sl.Competitive(learning_rate=rate, **spec)) == pytest.approx(2000)
    spec["learn_below"] = 0.95
    assert settling_of(sl.Competitive(learning_rate=rate, **spec)) == pytest.approx(400)
    halved = sl.Decay(0.5, 0.02, half_life=1000.0)
    assert settling_of(sl.Competitive(learning_rate=halved, **spec)) == pytest.approx(2000)  # two half-lives
    inverse = sl.Decay(0.5, 0.02, 1000.0, form="inverse")
    assert settling_of(sl.Competitive(learning_rate=inverse, **spec)) == pytest.approx(3000)
    seconds = sl.Decay(0.5, 0.02, 1e4, unit="seconds")
    assert settling_of(sl.Competitive(learning_rate=seconds, **spec)) == pytest.approx(400)


@pytest.mark.parametrize("limit", [0.9, 0.99])
@pytest.mark.parametrize(
    "make",
    [
        lambda **rule: sl.Competitive(dim=2, units=10, learning_rate=0.02, half_life=1000.0, **rule),
        lambda **rule: sl.GrowingNeuralGas(dim=2, max_units=16, half_life=1000.0, **rule),
    ],
    ids=["competitive", "gng"],
)
def test_a_healthy_stream_loses_nothing(make, limit):
    """Without watched samples in the score's reference, more and more samples would be above the limit."""
    x = np.random.default_rng(9).normal(size=(60_000, 2))
    ours, plain = (make(**rule).learn(x) for rule in ({"learn_below": limit}, {}))
    above = np.float32(limit)
    assert (ours.score[20_000:] > above).mean() == pytest.approx(1 - limit, rel=0.2)
    error = 0.02 if limit == 0.99 else 0.1  # a tenth of the samples, the farthest, are not learned
    assert ours.distance[20_000:].mean() == pytest.approx(plain.distance[20_000:].mean(), rel=error)


LONG: dict[str, Callable[..., models.Model]] = {
    "som": lambda **rule: sl.SOM(dim=3, grid=(6, 6), learning_rate=0.05, sigma=1.0, scale="standard", **rule),
    "hard": lambda **rule: sl.Competitive(dim=3, units=20, learning_rate=0.05, scale="standard", **rule),
    "gas": lambda **rule: sl.Competitive(
        dim=3, units=20, mode="gas", learning_rate=0.05, spread=1.0, scale="standard", **rule
    ),
    "gng": lambda **rule: sl.GrowingNeuralGas(dim=3, max_units=20, scale="standard", **rule),
    "lstm": lambda **rule: sl.RNN(
        dim=3, readout="adam", hidden=8, learning_rate=0.01, scale="standard", **rule
    ),
    "gru": lambda **rule: sl.RNN(
        dim=3, readout="adam", cell="gru", hidden=8, learning_rate=0.01, scale="standard", **rule
    ),
}


def long_fault(size: float, seed: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """A stream of three channels whose second third has a fault, and where that is, after the first third."""
    random = np.random.default_rng(seed)
    cause = np.sin(np.arange(9000) / 50)[:, None]
    x = cause * [1.0, -2.0, 0.5] + 0.1 * random.normal(size=(9000, 3))
    x[3000:6000, 1] += size
    return x, np.arange(3000, 9000) < 6000


@pytest.mark.parametrize(
    ("kind", "size"),
    [*((kind, 6.0) for kind in LONG), *((kind, 2.0) for kind in ("som", "hard", "gas", "gng"))],
)
def test_watching_keeps_the_score_of_a_long_fault(kind, size):
    """A fault that fills half of the stream: learned, it becomes normal, and the return is a fault."""
    x, fault = long_fault(size)
    rules = {"all": {}, "first": {"learn_for": 3000}, "below": {"learn_below": 0.99}}
    found = {
        name: roc_auc_score(fault, LONG[kind](half_life=1000.0, **rule).learn(x).score[3000:])
        for name, rule in rules.items()
    }
    assert found["all"] < 0.7
    assert found["below"] > found["all"] + 0.2
    assert found["below"] > found["first"] - 0.02


def new_level(kind: str) -> tuple[np.ndarray, Callable[..., models.Model]]:
    """A stream whose level changes for good after 4,000 samples, and a model of it."""
    x = np.random.default_rng(11).normal(size=(16_000, 3))
    x[4000:] += 8
    return x, LONG[kind]


@pytest.mark.parametrize("kind", ["som", "gas", "gng"])
def test_a_change_that_stays_is_learned_after_the_patience(kind):
    x, make = new_level(kind)
    plain = make().learn(x).distance[-2000:].mean()
    for patience, begin in ((1000, 5000), (None, 12_000)):  # None: twice as many as were learned
        out = make(learn_below=0.99, patience=patience).learn(x)
        assert out.watched[4010 : begin - 200].all()
        assert not out.watched[begin + 200 : begin + 300].all()
        assert out.distance[4000 : begin - 200].mean() > 3 * plain
        assert out.distance[-2000:].mean() < 1.1 * plain
        assert out.watched[-2000:].mean() < 0.03


def test_resume_accepts_what_is_watched():
    x, make = new_level("gas")
    model = make(learn_below=0.99)
    model.learn(x[:4000])
    assert model.learn(x[4000:5000]).watched.all()
    model.resume()
    out = model.learn(x[5000:])
    assert not out.watched[:50].any()
    assert out.watched[-9000:].mean() < 0.03
    assert out.distance[-2000:].mean() < 1.1 * make().learn(x).distance[-2000:].mean()


@pytest.mark.parametrize("name", ["som", "gas", "lstm"])
def test_a_rhythm_is_watched_three_times_and_then_learned(name):
    kind, spec = EPISODES[name]
    x = np.concatenate([rhythm([4.0] * 6), np.random.default_rng(13).normal(size=(1200, 3))])
    spike, fault = 6400, slice(6700, 6900)
    x[spike, 0] -= 8.0
    x[fault, 0] -= 12.0
    watched = models.create(kind, {"dim": 3, "learn_below": 0.99, **spec}).learn(x).watched
    shares = [watched[begin : begin + 166].mean() for begin in range(3000, 6000, 500)]
    assert min(shares[:3]) > 0.8
    assert max(shares[3:]) < 0.2
    assert watched[spike]  # alone
    assert watched[fault].mean() > 0.9  # higher than the rhythm


@pytest.mark.parametrize("period", [700, 1440, 4000])
def test_a_net_with_few_units_follows_a_slow_rhythm(period):
    random, angle = np.random.default_rng(14), 2 * np.pi * np.arange(60_000) / period
    x = np.c_[np.sin(angle), np.cos(angle)] + 0.1 * random.normal(size=(60_000, 2))
    ours, plain = (sl.Competitive(dim=2, units=16, **rule).learn(x) for rule in ({"learn_below": 0.99}, {}))
    assert ours.watched[30_000:].mean() < 0.05
    assert ours.distance[30_000:].mean() < 1.05 * plain.distance[30_000:].mean()


def with_episodes() -> models.Model:
    kind, spec = EPISODES["gas"]
    rate = sl.Decay(0.1, 0.05, 100.0)
    model = models.create(kind, {"dim": 3, "learn_below": 0.99, "learning_rate": rate, **spec})
    model.learn(rhythm([4.0] * 4))
    assert (model.state["gate"][gate.PASSED :] > 0).all()
    return model


def test_what_restarts_the_score_forgets_what_passed():
    model = with_episodes()
    model.state["gate"][gate.WAITING] = 1.0
    model.reheat()
    kept = model.state["gate"]
    assert (kept[gate.LATELY :] == 0).all()
    assert kept[gate.WAITING] == 0


def test_a_paused_model_keeps_what_passed():
    model = with_episodes()
    kept = model.state["gate"].copy()
    model.pause()
    model.learn(rhythm([4.0]))
    assert (model.state["gate"] == kept).all()


def test_any_split_keeps_the_same_episodes():
    kind, spec = EPISODES["gas"]
    x = rhythm([4.0] * 6).astype(np.float32)
    x[np.random.default_rng(15).random(x.shape) < 0.02] = np.nan
    whole = models.create(kind, {"dim": 3, "learn_below": 0.99, **spec})
    expected = whole.learn(x)
    assert whole.state["gate"][gate.PASSED] > 0
    for seed in range(3):
        pieces = models.create(kind, {"dim": 3, "learn_below": 0.99, **spec})
        out = in_pieces(pieces, x, seed)
        assert pieces.state_hash() == whole.state_hash()
        assert (out.watched == expected.watched).all()


def test_a_state_of_the_version_without_episodes_is_converted():
    model, x = with_episodes(), rhythm([4.0])
    arrays = model.copy_state()
    arrays["gate"] = arrays["gate"][: gate.LATELY]
    other = type(model)(**model.spec_dict())
    other.adopt(arrays)
    model.state["gate"][gate.LATELY :] = 0  # without episodes
    assert other.state_hash() == model.state_hash()
    assert (other.learn(x).watched == model.learn(x).watched).all()
    arrays["gate"] = arrays["gate"][:-1]
    with pytest.raises(BadCheckpoint, match="'gate' is float64"):
        other.adopt(arrays)


@pytest.mark.parametrize("entry", range(gate.LATELY, gate.SIZE))
@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_a_wrong_episode_is_refused(entry, value):
    model = models.create("competitive", {"dim": 3, "units": 2, "learn_below": 0.99})
    arrays = model.copy_state()
    arrays["gate"][entry] = value
    with pytest.raises(BadCheckpoint, match="gate"):
        model.adopt(arrays)
