"""Online scaling against statistics that are computed from the whole history at every step."""

from __future__ import annotations

import math

import numba as nb
import numpy as np
import pytest

from streamlearn.kernels.stream import scaling
from tests.naive.scale import Scaler

METHODS = ["standard", "ewma", "minmax", None]


@nb.njit(error_model="numpy")
def _run(method, clip, decay, x, scaled, present, restored, statistics):
    scale = scaling.Scaling(method, statistics, clip)
    for n in range(x.shape[0]):
        present[n] = scaling.transform(scale, x, n, scaled[n])
        for c in range(x.shape[1]):
            restored[n, c] = scaling.restore(scale, c, scaled[n, c])
        scaling.update(scale, decay, x, n)


def run(method, x, clip=6.0, decay=0.98):
    """Return (scaled, number of present values, restored, statistics) of ``x`` ``(n, channels)``."""
    x = np.ascontiguousarray(x, np.float32)
    scaled, restored = np.empty_like(x), np.empty_like(x)
    present, statistics = np.empty(len(x), np.int64), np.zeros((3, x.shape[1]))
    _run(scaling.METHODS[method], clip, decay, x, scaled, present, restored, statistics)
    return scaled, present, restored, statistics


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
    "large offset": stream(offset=1e6, spread=2.0),
    "large values": stream(spread=1e37),
    "tiny values": stream(spread=1e-37),
    "a channel that is always missing": np.column_stack([stream(), np.full(300, np.nan)]),
    "a step": np.concatenate([stream()[:150], 50 + stream()[150:]]),
}


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("method", METHODS)
def test_same_as_the_whole_history(method, name):
    x = STREAMS[name]
    scaled, present, _, _ = run(method, x)
    assert np.allclose(scaled, oracle(method, x), rtol=2e-5, atol=2e-6, equal_nan=True)
    assert np.array_equal(present, (~np.isnan(x)).sum(axis=1))


@pytest.mark.parametrize("method", METHODS[:3])
def test_constant_channel_is_zero(method):
    x = np.full((50, 1), 16777.217, np.float32)
    scaled, _, _, _ = run(method, x)
    assert not scaled.any()


@pytest.mark.parametrize("method", METHODS[:3])
def test_the_first_value_is_zero_and_extremes_are_clipped(method):
    x = np.concatenate([np.random.default_rng(5).normal(size=(100, 1)), [[1e30]], [[-1e30]]])
    scaled, _, _, _ = run(method, x, clip=3.5)
    assert scaled[0] == 0
    assert np.abs(scaled).max() == 3.5
    assert scaled[100] == 3.5


@pytest.mark.parametrize("method", METHODS)
def test_restore_undoes_transform(method):
    x = stream(offset=10.0)
    scaled, _, restored, _ = run(method, x, clip=1e6)
    varied = slice(0 if method is None else 2, None)
    assert np.allclose(restored[varied], x[varied], rtol=1e-5)
    assert np.isfinite(scaled).all()


@pytest.mark.parametrize("method", METHODS[:3])
def test_missing_values_do_not_change_the_statistics(method):
    """A channel with missing values has the same statistics as without them."""
    x = stream()[:, :1]
    with_gaps = np.full((600, 1), np.nan, np.float32)
    with_gaps[::2] = x
    assert np.array_equal(run(method, with_gaps)[3], run(method, x)[3])


def test_the_standard_deviation_divides_by_n():
    x = np.array([[2], [4], [4], [4], [5], [5], [7], [9], [11]])  # the first eight: mean 5, deviation 2
    assert run("standard", x)[0][-1] == 3


def test_ewma_forgets_and_standard_does_not():
    x = np.concatenate([np.zeros((500, 1)), np.full((500, 1), 10.0)])
    x += np.random.default_rng(6).normal(size=x.shape)
    _, _, _, ewma = run("ewma", x, decay=0.95)
    _, _, _, standard = run("standard", x)
    assert ewma[scaling.CENTRE, 0] == pytest.approx(10, abs=1)
    assert standard[scaling.CENTRE, 0] == pytest.approx(5, abs=0.2)
    assert math.sqrt(ewma[scaling.SPREAD, 0]) == pytest.approx(1, abs=0.4)
