"""What all models take from ``base.py``: how fast they forget."""

from __future__ import annotations

import decimal
import math

import numpy as np
import pytest

import streamlearn as sl
from streamlearn.models import validation
from streamlearn.models.base import decay_per_sample


@pytest.mark.parametrize("half_life", [0.5, 1.0, 2.0, 7.5, 10_000.0, 1e9])
def test_half_is_left_after_a_half_life(half_life):
    """Of half-lives that libm can power up again: to its own rounding."""
    decay = decay_per_sample(half_life)
    assert decay == pytest.approx(2 ** (-1 / half_life), rel=3e-16)
    assert math.log2(decay) * half_life == pytest.approx(-1, rel=1e-6)


def test_exact_where_the_answer_is():
    assert [decay_per_sample(h) for h in (1.0, 0.5, 0.25)] == [0.5, 0.25, 0.0625]
    assert decay_per_sample(1e300) == 1
    assert decay_per_sample(1e-300) == 0
    assert decay_per_sample(5e-324, 4) == 0  # a half-life that cannot be divided
    assert [decay_per_sample(2.0, n) for n in (2, 4)] == [0.5, 0.25]
    assert sl.RNN(readout="adam", dim=1, hidden=1, half_life=5e-324).samples == 0


def test_somebody_elses_decimal_settings_change_nothing():
    """The decay is part of every state's bits."""
    expected = decay_per_sample(12.5)
    with decimal.localcontext(decimal.Context(prec=3, rounding=decimal.ROUND_UP)):
        assert decay_per_sample(12.5) == expected
        assert sl.SOM(dim=1, grid=(2, 2), half_life=12.5).decay == expected


@pytest.mark.parametrize("value", [0.0, -1.5, np.nan, 1e30, 3.4e38, np.inf, -np.inf])
@pytest.mark.parametrize("rows", [0, 1, 3, 5000])
def test_samples_that_pass_the_short_check_pass_the_long_one(value: float, rows: int) -> None:
    """And nothing else is returned unchecked: another dtype, shape or order, or memory that is read-only."""
    x = np.ones((rows, 2), np.float32)
    x[rows // 2 :, 1] = value
    passes = validation.are_rows(x, 2)
    assert not passes or validation.as_rows("x", x, 2) is x
    assert passes or rows == 5000 or not (np.abs(x) < 1e18).all()
    read_only = x.copy()
    read_only.flags.writeable = False
    others = [x.astype(np.float64), x.astype(">f4"), x[:, :1], x.reshape(-1), read_only]
    others += [np.ones((3, 4), np.float32)[:, ::2], np.ones((2, 3), np.float32).T, x.tolist()]
    assert not any(validation.are_rows(other, 2) for other in others)
