"""Comparison of learned parameters with those of a float64 reference."""

from __future__ import annotations

import numpy as np

import streamlearn as sl
from tests.naive import bidirectional, rnn

SHARE = 3e-4  # of the change of the parameters; a gradient error of 1 % exceeds it 30 times
ROUNDING = 3e-7  # of float32 parameters below ½ in a hundred updates: ten units in the last place


def assert_same_parameters(
    ours: sl.RNN | sl.BidirectionalRNN, reference: rnn.Net | bidirectional.Net
) -> None:
    """Assert equal parameters, relative to the change of each array since the start of learning."""
    start = type(ours).from_spec(ours.spec_dict()).parameters
    for name, values in ours.parameters.items():
        change = np.abs(reference.p[name] - start[name]).max()
        bound = SHARE * change + ROUNDING if change else 0.0
        assert np.abs(values - reference.p[name]).max() <= bound, name
