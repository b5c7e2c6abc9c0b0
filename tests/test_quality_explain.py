"""The channel of an injected fault comes first: a small part of ``benchmarks/quality/explain.py``."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import streamlearn as sl
from benchmarks.quality import explain

LEARNED, FAULTY = 12_000, 300
MACHINES = (1, 2, 3)  # seeds; with one machine of 40 cases, 5 % are two of them


COMMON = [(name, explain.machine) for name in ("hard competition, 32 units", "growing neural gas", "gru")]
EITHER = [(explain.DEFAULT, make) for make in (explain.machine, explain.separate)]


@pytest.mark.parametrize(("name", "make"), COMMON + EITHER)
def test_the_channel_of_a_fault_comes_first(name: str, make: Callable[..., explain.Samples]) -> None:
    kind, spec = explain.MODELS[name]
    missed: list[str] = []
    for seed in MACHINES:
        random = np.random.default_rng(seed)
        samples = make(random, LEARNED + FAULTY)
        model = kind(seed=seed, **spec)
        model.learn(samples[:LEARNED])
        cases = list(explain.cases(samples[LEARNED:], random))
        assert len(cases) == explain.CHANNELS * len(explain.FAULTS)
        missed += [case.fault for case in cases if not explain.ranks_first(model, case)]
    assert len(missed) <= 0.05 * len(MACHINES) * len(cases), missed


def test_a_healthy_stream_blames_no_channel() -> None:
    """Without a fault the largest mean share is not far from the others: the ranking is not a constant."""
    samples = explain.machine(np.random.default_rng(2), LEARNED + FAULTY)
    model = sl.Competitive(dim=explain.CHANNELS, units=32, init="samples", scale="standard", seed=1)
    model.learn(samples[:LEARNED])
    shares = model.explain(samples[LEARNED:]).contribution.mean(axis=0)
    assert shares.max() < 0.35
