"""What a wrong spec is answered with."""

from __future__ import annotations

import numpy as np
import pytest

import streamlearn as sl
from streamlearn.errors import BadSpec

OF_A_DECAY = "start, end, tau, half_life, unit, form"
WRONG = {
    "unknown": ({"lr": 1}, "lr", "unknown parameter 'lr'; known: dim, scale, "),
    "a name of a part": ({"unit": 1}, "unit", "unknown parameter 'unit' (did you mean init?); known: dim, "),
    "nearly": (
        {"learningrate": 1},
        "learningrate",
        "unknown parameter 'learningrate' (did you mean learning_rate?); known: dim, ",
    ),
    "missing": ({"grid": None}, "grid", "grid is missing"),
    "unknown within": (
        {"sigma": {"start": 1, "end": 0, "ends": 2}},
        "sigma.ends",
        f"unknown parameter 'ends' of sigma (did you mean end?); known: {OF_A_DECAY}",
    ),
    "missing within": ({"sigma": {"start": 1}}, "sigma.end", "sigma.end is missing"),
    "value": ({"dim": 0}, "dim", "Input should be greater than or equal to 1"),
    "one of several": ({"grid": (3, 0)}, "grid.1", "Input should be greater than or equal to 1"),
    "of ours": ({"learning_rate": 7}, "learning_rate", "must stay within 0 … 1"),
    "of the whole": (
        {"on_drift": "reheat", "learning_rate": 0.1, "sigma": 1},
        "spec",
        "on_drift='reheat' needs a schedule that changes",
    ),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_mistake_is_told_as_it_was_written(mistake):
    wrong, field, reported = WRONG[mistake]
    given = {name: value for name, value in {"dim": 2, "grid": (3, 3), **wrong}.items() if value is not None}
    with pytest.raises(BadSpec) as caught:
        sl.SOM(**given)
    first = caught.value.detail["errors"][0]
    assert first["field"] == field
    assert first["message"].startswith(reported)
    assert first["message"] in str(caught.value)


def test_all_parameters_are_named():
    with pytest.raises(BadSpec) as caught:
        sl.RNN(readout="adam", units=8)
    missing, unknown = (each["message"] for each in caught.value.detail["errors"])
    assert missing == "dim is missing"
    assert unknown.endswith(f"known: {', '.join(sl.RNN.Spec.model_fields)}")


@pytest.mark.parametrize("grid", [7, np.int64(7), (7,), [7]])
def test_one_number_makes_a_chain(grid):
    chain = sl.SOM(dim=2, grid=grid)
    assert chain.spec_dict()["grid"] == [7]
    assert chain.weights.shape == (7, 2)
    assert chain.state_hash() == sl.SOM(dim=2, grid=(7,)).state_hash()
