"""The networks of the benchmarks do the same work as those of PyTorch: with equal parameters errors agree."""

from __future__ import annotations

import pytest

from benchmarks import timing


def test_forecasts_after_every_sample_are_as_good_as_the_peers():
    from benchmarks import recurrent  # compiles kernels

    rows = list(recurrent.one_step(timing.Settings(rounds=1, quick=True)))
    titles = {row.name.rpartition("sample")[2] for row in rows}
    assert len(titles) == 2, "in one call, and one sample per call"
    for row in rows:
        if not row.absent:
            assert row.quality is not None, row.name
            assert row.quality.ours == pytest.approx(row.quality.theirs, rel=1e-4), row.name
