from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlearn.daemon.metrics import Histogram


@given(
    st.lists(st.integers(0, 10**12), min_size=1, max_size=200), st.sampled_from([0.0, 0.5, 0.9, 0.99, 1.0])
)
def test_a_quantile_is_right_to_within_an_eighth(durations: list[int], q: float) -> None:
    histogram = Histogram()
    for each in durations:
        histogram.add(each)
    exact = float(np.quantile(durations, q, method="inverted_cdf")) / 1e9
    quantile = histogram.quantile(q)
    assert exact <= quantile <= exact * 1.126 + 20e-9
    assert histogram.count == len(durations)
    assert histogram.nanoseconds == sum(durations)
    assert histogram.counts() == [sum(each < 2**e for each in durations) for e in range(16, 35)]


def test_an_empty_histogram_has_quantiles_of_zero() -> None:
    assert Histogram().to_map() == {"count": 0, "sum": 0.0, "p50": 0.0, "p99": 0.0, "counts": [0] * 19}


def test_durations_beyond_all_bounds_are_counted() -> None:
    histogram = Histogram()
    histogram.add(2**63)
    assert histogram.quantile(1.0) == pytest.approx(2**63 / 1e9, rel=0.13)
