"""``from_state_dict`` and ``load_parameters``: dtypes, values that are not arrays, other read-outs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import streamlearn as sl
from streamlearn.errors import BadCheckpoint, BadDtype, BadShape


def bfloat16_parameters(net: sl.RNN) -> dict[str, np.ndarray]:
    """Return the parameters of the net, rounded down to bfloat16: the lower 16 bits are 0."""
    return {
        name: (values.view(np.uint32) & 0xFFFF0000).view(np.float32)
        for name, values in net.parameters.items()
    }


def write_bits(path: Path, dtype: str, arrays: dict[str, np.ndarray]) -> None:
    """Write ``arrays`` as a safetensors file that declares their type as ``dtype``."""
    header, data = {}, b""
    for name, bits in arrays.items():
        offsets = [len(data), len(data) + bits.nbytes]
        header[name] = {"dtype": dtype, "shape": bits.shape, "data_offsets": offsets}
        data += bits.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def test_bfloat16_is_read_without_loss(tmp_path):
    expected, path = (
        bfloat16_parameters(sl.RNN(readout="adam", dim=3, hidden=5)),
        tmp_path / "net.safetensors",
    )
    write_bits(
        path, "BF16", {n: (values.view(np.uint32) >> 16).astype("<u2") for n, values in expected.items()}
    )
    net = sl.RNN.from_state_dict(path)
    for name, values in net.parameters.items():
        assert np.array_equal(values, expected[name]), name


def test_the_error_for_an_unsupported_type_says_what_to_do(tmp_path):
    path = tmp_path / "net.safetensors"
    write_bits(path, "F8_E4M3", {"head.bias": np.zeros(3, np.uint8)})
    with pytest.raises(BadCheckpoint, match=r"'head\.bias' has type F8_E4M3, .* values\.float\(\)"):
        sl.RNN.from_state_dict(path)


@pytest.mark.parametrize("wrong", ["words", [[1.0], [2.0, 3.0]], {}])
def test_values_that_are_not_arrays_of_numbers_are_refused(wrong):
    net = sl.RNN(readout="adam", dim=2, hidden=3)
    before = net.state_hash()
    with pytest.raises(BadDtype, match=r"'head\.bias' must be an array of numbers"):
        net.load_parameters({**net.parameters, "head.bias": wrong})
    assert net.state_hash() == before


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({}, "has 2 outputs; expected 3, .* target='given' or target='later'"),
        ({"horizon": 4}, "has 2 outputs; expected 12, .* target='given'"),
        ({"target": "given", "loss": "cross_entropy", "classes": 4}, "has 2 outputs; expected 4$"),
    ],
)
def test_the_error_for_another_number_of_outputs_names_the_target(spec, message):
    given = sl.RNN(readout="adam", dim=3, hidden=8, target="given", outputs=2).parameters
    with pytest.raises(BadShape, match=message):
        sl.RNN.from_state_dict(given, **spec)
    assert sl.RNN.from_state_dict(given, target="later").outputs == 2
