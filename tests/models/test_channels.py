"""Names and units of channels in the spec."""

from __future__ import annotations

import pytest

import streamlearn as sl
from streamlearn.errors import BadSpec


def model(**parameters) -> sl.SOM:
    return sl.SOM(dim=2, grid=(2, 2), **parameters)


def test_names_and_units_are_part_of_the_spec():
    named = model(channels=["flow", "pressure"], channel_units=["m³/h", ""])
    assert (named.spec.channels, named.spec.channel_units) == (("flow", "pressure"), ("m³/h", ""))
    assert named.spec_dict()["channels"] == ["flow", "pressure"]
    assert (model().spec.channels, model().spec.channel_units) == (None, None)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"channels": ["flow"]}, "channels has 1 entries; dim=2 needs one for each channel"),
        ({"channel_units": ["bar"] * 3}, "channel_units has 3 entries"),
        ({"channels": ["flow", "flow"]}, "channels has 'flow' twice"),
        ({"channels": ["", "flow"]}, "channels.0"),
        ({"channels": ["flow ", "x"]}, "has spaces around it"),
        ({"channels": ["a\nb", "x"]}, "not printable"),
        ({"channels": "ab"}, "channels: Input should be a list"),
        ({"channels": [1, 2]}, "channels.1"),
        ({"channels": ["a" * 65, "x"]}, "at most 64 characters"),
    ],
)
def test_wrong_names_are_refused(parameters, message):
    with pytest.raises(BadSpec, match=message.replace("(", r"\(")):
        model(**parameters)
