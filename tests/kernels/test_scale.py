"""Online scaling against statistics of the whole history, taken anew at every step."""

from __future__ import annotations

import math

import numba as nb
import numpy as np
import pytest

from streamlearn.kernels.stream import scaling
from tests.naive.scale import Scaler

METHODS = ["standard", "ewma", "minmax", None]


@nb.njit(error_model="numpy")
def _run(method, clip, decay, x, scaled, present, back, statistics):
    for n in range(x.shape[0]):
        present[n] = scaling.transform(method, statistics, clip, x, n, scaled[n])
        for c in range(x.shape[1]):
            back[n, c] = scaling.restore(method, statistics, c, scaled[n, c])
        scaling.update(method, statistics, decay, x, n)


def run(method, x, clip=6.0, decay=0.98):
    """(scaled, how many present, scaled back again, statistics) of the stream ``x``."""
    x = np.ascontiguousarray(x, np.float32)
    scaled, back = np.empty_like(x), np.empty_like(x)
    present, statistics = np.empty(len(x), np.int64), np.zeros((3, x.shape[1]))
    _run(scaling.METHODS[method], clip, decay, x, scaled, present, back, statistics)
    return scaled, present, back, statistics


def oracle(method, x, clip=6.0, decay=0.98) -> np.ndarray:
    scaler = Scaler(x.shape[1], method, clip, decay)
    rows = []
    for row in np.asarray(x, np.float32).tolist():
        rows.append(scaler.scaled(row))
        scaler.observe(row)
    return np.array(rows)


def stream(offset: float = 0.0, spread: float = 1.0, missing: float = 0.0) -> np.ndarray:
    random = np.random.default_rng(4)
    x = offset + spread * random.normal(size=(300, 3))
    x[:, 1] *= -3
    return np.where(random.random(x.shape) < missing, np.nan, x).astype(np.float32)


STREAMS = {
    "plain": stream(),
    "missing values": stream(missing=0.3),
    "huge offset": stream(offset=1e6, spread=2.0),
    "huge values": stream(spread=1e37),
    "tiny values": stream(spread=1e-37),
    "a channel never seen": np.column_stack([stream(), np.full(300, np.nan)]),
    "a step": np.concatenate([stream()[:150], 50 + stream()[150:]]),
}


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("method", METHODS)
def test_same_as_the_whole_history(method, name):
    x = STREAMS[name]
    ours, present, _, _ = run(method, x)
    assert np.allclose(ours, oracle(method, x), rtol=2e-5, atol=2e-6, equal_nan=True)
    assert np.array_equal(present, (~np.isnan(x)).sum(axis=1))


@pytest.mark.parametrize("method", METHODS[:3])
def test_constant_channel_is_zero(method):
    x = np.full((50, 1), 16777.217, np.float32)
    ours, _, _, _ = run(method, x)
    assert not ours.any()


@pytest.mark.parametrize("method", METHODS[:3])
def test_first_value_is_zero_and_extremes_are_cut(method):
    x = np.concatenate([np.random.default_rng(5).normal(size=(100, 1)), [[1e30]], [[-1e30]]])
    ours, _, _, _ = run(method, x, clip=3.5)
    assert ours[0] == 0
    assert np.abs(ours).max() == 3.5
    assert ours[100] == 3.5


@pytest.mark.parametrize("method", METHODS)
def test_restore_undoes_transform(method):
    x = stream(offset=10.0)
    ours, _, back, _ = run(method, x, clip=1e6)
    varied = slice(0 if method is None else 2, None)
    assert np.allclose(back[varied], x[varied], rtol=1e-5)
    assert np.isfinite(ours).all()


@pytest.mark.parametrize("method", METHODS[:3])
def test_missing_values_leave_statistics_alone(method):
    """A channel with gaps has the statistics of the same channel without them."""
    x = stream()[:, :1]
    gappy = np.full((600, 1), np.nan, np.float32)
    gappy[::2] = x
    assert np.array_equal(run(method, gappy)[3], run(method, x)[3])


def test_standard_deviation_is_the_populations():
    x = np.array([[2], [4], [4], [4], [5], [5], [7], [9], [11]])  # the first eight: mean 5, deviation 2
    assert run("standard", x)[0][-1] == 3


def test_ewma_forgets_and_standard_does_not():
    x = np.concatenate([np.zeros((500, 1)), np.full((500, 1), 10.0)])
    x += np.random.default_rng(6).normal(size=x.shape)
    _, _, _, forgetful = run("ewma", x, decay=0.95)
    _, _, _, faithful = run("standard", x)
    assert forgetful[scaling.CENTRE, 0] == pytest.approx(10, abs=1)
    assert faithful[scaling.CENTRE, 0] == pytest.approx(5, abs=0.2)
    assert math.sqrt(forgetful[scaling.SPREAD, 0]) == pytest.approx(1, abs=0.4)
