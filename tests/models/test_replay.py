"""``replay``: earlier windows that the forecaster's GRU learns again, against float64."""

from __future__ import annotations

import numpy as np
import pytest

import streamlearn as sl
from streamlearn.errors import BadSpec
from streamlearn.kernels.forecast.sizes import REPLAYED
from streamlearn.kernels.recurrent import memory_layout
from streamlearn.kernels.recurrent.windows import PAIRS, SINCE
from streamlearn.models.recurrent import state_dict
from tests.models.test_forecaster import daily
from tests.naive.forecaster import Forecaster
from tests.naive.forecaster_net import K1, K2, KEPT, ForecasterNet
from tests.naive.rnn import Parameters

UNITS = 5


def make(**spec) -> sl.RNN:
    return sl.RNN(**{"dim": 1, "hidden": UNITS, "horizon": 3, "lags": 4, "seed": 7, **spec})


def parameters(net: sl.RNN, values: np.ndarray) -> Parameters:
    """Return PyTorch's parameters of the GRU from an array of the state."""
    blocks = state_dict.parameter_blocks(*net.spec.sizes_module.layout(net.spec))
    return {
        name: block.unpack(values).astype(float)
        for name, block in blocks.items()
        if not name.startswith("head.")
    }


@pytest.mark.parametrize("missing", [0.0, 0.2])
@pytest.mark.parametrize("replay", [0, 1, 3])
def test_forecasts_and_parameters_are_those_of_the_formulas(replay, missing):
    x = daily(400, seed=3)
    x[1:][np.random.default_rng(2).random((399, 1)) < missing] = np.nan
    ours = make(replay=replay, period=12)
    random = int(ours.state["replay.random"].view(np.uint64)[0]) if replay else 0
    net = ForecasterNet(parameters(ours, ours.state["net.parameters"][0]), replay, random)
    oracle = Forecaster(3, 4, (12,), net=net)
    made = np.array([oracle.learn(value)[0] for value in x[:, 0].astype(float)])
    out = ours.learn(x)
    np.testing.assert_allclose(out.prediction[1:, :, 0], made[:-1], rtol=0, atol=1e-3)
    quality = ours.quality()
    assert quality["updates"] == net.updates
    assert quality.get("replayed_updates", 0) == net.replayed == replay * max(net.updates - K2 // K1, 0)
    start = parameters(make(), make().state["net.parameters"][0])
    moved = max(np.abs(net.p[f"{name}_l0"] - values).max() for name, values in _by_name(start).items())
    assert moved > 0.01  # so that the bound below means something
    for name, values in parameters(ours, ours.state["net.parameters"][0]).items():
        np.testing.assert_allclose(values, net.p[name], rtol=0, atol=1e-3, err_msg=name)


def _by_name(found: Parameters) -> Parameters:
    return {name.removesuffix("_l0"): values for name, values in found.items()}


@pytest.mark.parametrize(
    "spec",
    [
        {"keys": 3, "dim": 2, "replay": 2},
        {"keys": 2, "residual": False, "horizon": 7, "replay": 4},
        {"target": "given", "dim": 2, "horizon": 2, "replay": 3},
        {"target": "given", "keys": 2, "horizon": None, "replay": 1},
    ],
    ids=str,
)
def test_an_update_learns_the_newest_window_and_then_the_drawn_ones(spec):
    """The windows are those of the state: any stream's, any target's."""
    net, random = make(**spec), np.random.default_rng(5)
    n = 3 * K1 * REPLAYED
    x = np.repeat(daily(n, seed=4), net.spec.dim, axis=1) + random.normal(0, 0.1, (n, net.spec.dim))
    x[random.random(x.shape) < 0.1] = np.nan
    rows = {"X": x.astype(np.float32)}
    if net.spec.target == "given":
        rows["y"] = np.nan_to_num(x[:, :1]).cumsum(axis=0).astype(np.float32)
    if net.spec.keys:
        rows["keys"] = random.integers(0, net.spec.keys, n)
    last = n - 60
    net.learn(**{name: values[:last] for name, values in rows.items()})
    assert net.state["replay.count"][0] > REPLAYED  # the ring is full
    checked = 0
    for row in range(last, n):
        before = net.copy_state()
        net.learn(**{name: values[row : row + 1] for name, values in rows.items()})
        after = net.copy_state()
        if after["replay.count"][0] == before["replay.count"][0]:
            continue
        checked += 1
        check_update(net, before, after)
    assert checked >= 5


def check_update(net: sl.RNN, before: dict, after: dict) -> None:
    layout, _ = net.spec.sizes_module.layout(net.spec)
    inputs = net.spec.sizes_module.net_inputs(net.spec) if net.spec.target == "given" else 2
    state, target = 16 * layout[memory_layout.STATE], 16 * layout[memory_layout.TARGET]

    def window_of(values):
        flat = values.reshape(K2, -1).astype(float)
        steps = [(slot[:inputs], slot[state : state + UNITS]) for slot in flat]
        return steps, [slot[target : target + UNITS] for slot in flat]

    for group in range(len(before["net.parameters"])):
        oracle = ForecasterNet(parameters(net, before["net.parameters"][group]), net.spec.replay)
        oracle.random = int(before["replay.random"].view(np.uint64)[0])
        moments = oracle.optimizer
        moments.t = before["net.counters"][group, 0] + before["replay.counters"][group, 0]
        moments.m = parameters(net, before["net.mean"][group])
        moments.v = parameters(net, before["net.square"][group])
        place = before["replay.count"][0] % KEPT
        oracle.learn(*window_of(after["replay.windows"][group, place]))
        for _ in range(net.spec.replay):
            oracle.learn(*window_of(before["replay.windows"][group, oracle.draw() % KEPT]))
        for name, values in parameters(net, after["net.parameters"][group]).items():
            np.testing.assert_allclose(values, oracle.p[name], rtol=0, atol=3e-6, err_msg=name)
        assert oracle.random == int(after["replay.random"].view(np.uint64)[0])
        counted = after["replay.counters"][group] - before["replay.counters"][group]
        assert counted.tolist() == [net.spec.replay, 0]


def test_the_ring_holds_the_windows_of_the_stream():
    net, x = make(replay=1), daily(K1 * 40, seed=6)
    kept = []
    for row in x:
        before = net.copy_state()
        net.learn(row[None])
        progress = before["net.progress"][0]
        if progress[PAIRS] == K2 - 1 and progress[SINCE] == K1 - 1:
            kept.append(before["net.window"][0, 0])
    layout, _ = net.spec.sizes_module.layout(net.spec)
    own, target = net.state["replay.windows"][0], layout[memory_layout.TARGET]
    assert len(kept) == net.state["replay.count"][0] > 30
    for found, window in zip(own, kept, strict=False):
        np.testing.assert_array_equal(found[: K2 - 1], window[: K2 - 1])
        # The newest pair gets its gradient in the same sample
        np.testing.assert_array_equal(found[K2 - 1, :target], window[K2 - 1, :target])


def test_watching_replays_nothing():
    net, x = make(replay=2), daily(300, seed=8)
    net.learn(x[:200])
    before = net.copy_state()
    net.pause()
    net.learn(x[200:])
    for name in "net.parameters", "replay.windows", "replay.count", "replay.random", "replay.counters":
        np.testing.assert_array_equal(net.state[name], before[name], err_msg=name)


def test_channels_share_the_draws_and_learn_alone():
    a, b = daily(300, seed=4), 100 * daily(300, seed=5)
    together, alone = make(dim=2, replay=2), make(replay=2)
    for name in "net.parameters", "net.mean", "net.square":  # the first channel of both begins the same
        np.testing.assert_array_equal(together.state[name][:1], alone.state[name])
    together.state["replay.random"][...] = alone.state["replay.random"]
    out = together.learn(np.hstack([a, b]))
    np.testing.assert_array_equal(out.prediction[:, :, :1], alone.learn(a).prediction)


def test_without_replay_there_is_no_state_of_it():
    assert not [name for name in make().state if name.startswith("replay")]
    assert "replayed_updates" not in make().quality()


def test_what_has_no_windows_refuses_replay():
    with pytest.raises(BadSpec, match="replay needs hidden units"):
        make(replay=1, hidden=0)
    with pytest.raises(BadSpec, match="readout='adam' has no replay"):
        make(replay=1, readout="adam", lags="auto")
