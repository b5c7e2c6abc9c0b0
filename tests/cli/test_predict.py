"""The columns of the command's output."""

from __future__ import annotations

import numpy as np
import pytest

from streamlearn.cli.predict import flatten
from streamlearn_client.outputs import Outputs


@pytest.mark.parametrize(
    ("shape", "names"),
    [
        ((2,), ["values"]),
        ((2, 3), ["values_0", "values_1", "values_2"]),
        ((2, 1), ["values_0"]),
        ((2, 2, 2), ["values_0_0", "values_0_1", "values_1_0", "values_1_1"]),
        ((0, 2), ["values_0", "values_1"]),
    ],
)
def test_a_column_is_named_by_its_place(shape, names):
    values = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    found, columns = flatten(Outputs(values=values))
    assert found == names
    for name, column in zip(found, columns, strict=True):
        place = tuple(int(each) for each in name.split("_")[1:])
        assert column == [int(row[place]) for row in values]


def test_a_forecast_of_several_steps_is_told_by_step_and_channel():
    prediction = np.array([[[1.1, 2.2], [np.nan, 4.4]]], np.float32)  # one row, two steps, two channels
    names, columns = flatten(Outputs(prediction=prediction, present=np.array([2], np.int32)))
    assert dict(zip(names, columns, strict=True)) == {
        "prediction_0_0": [1.1],
        "prediction_0_1": [2.2],
        "prediction_1_0": [None],
        "prediction_1_1": [4.4],
        "present": [2],
    }


def test_channels_with_names():
    prediction = np.arange(4, dtype=np.float32).reshape(1, 2, 2)
    out = Outputs(prediction=prediction, coords=np.array([[1, 2]], np.int32))
    names, columns = flatten(out, ["flow", "level"])
    flat = ["prediction_0_flow", "prediction_0_level", "prediction_1_flow", "prediction_1_level"]
    assert names == [*flat, "coords_0", "coords_1"]
    assert columns == [[0.0], [1.0], [2.0], [3.0], [1], [2]]
    assert flatten(Outputs(prediction=prediction[0, :, :1]), ["flow", "level"])[0] == ["prediction_0"]
