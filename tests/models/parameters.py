"""What the tests beside the slow nets share: whether both have learned the same."""

from __future__ import annotations

import numpy as np

import streamlearn as sl
from tests.naive import bidirectional, rnn

SHARE = 3e-4  # of the way that a parameter went: a gradient wrong by a hundredth is 30 times that
ROUNDING = 3e-7  # of parameters below ½ in float32, ten times in the last place, over a hundred updates


def assert_same_parameters(ours: sl.RNN | sl.BidirectionalRNN, slow: rnn.Net | bidirectional.Net) -> None:
    """Relative to how far each array has gone since the start: with small steps all of them stay near it."""
    start = type(ours).from_spec(ours.spec_dict()).parameters
    for name, values in ours.parameters.items():
        gone = np.abs(slow.p[name] - start[name]).max()
        most = SHARE * gone + ROUNDING if gone else 0.0
        assert np.abs(values - slow.p[name]).max() <= most, name
