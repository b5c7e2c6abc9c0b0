"""Shared by the comparisons with the float64 references: whether both have learned the same parameters."""

from __future__ import annotations

import numpy as np

import streamlearn as sl
from tests.naive import bidirectional, rnn

SHARE = 3e-4  # of the change of the parameters: a gradient error of 1 % is 30 times that
ROUNDING = 3e-7  # of float32 parameters below ½ over a hundred updates: ten units in the last place


def assert_same_parameters(ours: sl.RNN | sl.BidirectionalRNN, slow: rnn.Net | bidirectional.Net) -> None:
    """Assert equal parameters, relative to the change of each array since the start of learning."""
    start = type(ours).from_spec(ours.spec_dict()).parameters
    for name, values in ours.parameters.items():
        gone = np.abs(slow.p[name] - start[name]).max()
        most = SHARE * gone + ROUNDING if gone else 0.0
        assert np.abs(values - slow.p[name]).max() <= most, name
