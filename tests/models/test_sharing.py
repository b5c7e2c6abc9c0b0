"""Models with equal parameters share what never changes, and nothing else."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from typing import Any

import numpy as np
import pytest

import streamlearn as sl
from streamlearn import models
from streamlearn.models.maps.som import SOMSpec
from streamlearn.models.outputs import row_bytes
from streamlearn.models.row_cost import row_cost
from streamlearn.models.sharing import MOST_SHARED_KEYS, shared, with_shared_keys

X = np.random.default_rng(3).normal(size=(400, 2)).astype(np.float32)


def test_equal_parameters_give_one_spec_and_one_table() -> None:
    one, other = (sl.SOM(dim=2, grid=grid, seed=5) for grid in ((4, 4), [4, 4]))
    assert one.spec is other.spec
    assert one.pad is other.pad
    assert one._learn_arguments["grid"] is other._learn_arguments["grid"]
    assert one._schedules._table is other._schedules._table
    assert not any(np.shares_memory(one.state[name], other.state[name]) for name in one.state)
    assert sl.SOM(dim=2, grid=(4, 4), seed=6).spec != one.spec
    assert sl.SOM(dim=2, grid=(4, 4), seed=5, torus=True).spec is not one.spec


def test_what_follows_from_the_spec_alone_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in ("rate", "row_costs"):
        before = getattr(SOMSpec, name)
        compute = before.fget if isinstance(before, property) else before

        def counted(spec: SOMSpec, name: str = name, compute: Any = compute) -> Any:
            calls.append(name)
            return compute(spec)

        monkeypatch.setattr(SOMSpec, name, property(counted) if isinstance(before, property) else counted)
    made = [sl.SOM(dim=3, grid=(3, 5), seed=7) for _ in range(3)]
    assert len({(row_cost(som.spec), row_bytes(som, som.outputs_class)) for som in made}) == 1
    assert sorted(calls) == ["rate", "row_costs"]
    assert row_bytes(made[0], made[0].outputs_class) != row_bytes(made[0], made[0].explanation_class)


def test_zeros_of_both_signs_and_numbers_of_both_types_are_different() -> None:
    rates = (0.0, -0.0)
    tables = [sl.SOM(dim=2, grid=(2, 2), learning_rate=rate)._schedules._table for rate in rates]
    assert np.signbit(tables[0][0, 0]) != np.signbit(tables[1][0, 0])
    assert sl.SOM(dim=1, grid=1).spec.given_parameters() != sl.SOM(dim=1, grid=[1, 1]).spec.given_parameters()


SHARED_KEYS = """
import sys
import numpy as np
import streamlearn as sl
from streamlearn.models.one_sample import OneSample

for kind, spec in (
    (sl.SOM, {"grid": (4, 4)}),
    (sl.Competitive, {"units": 4, "init": "random"}),
    (sl.RNN, {"readout": "adam", "hidden": 4}),
    (sl.RNN, {"hidden": 4, "lags": 4}),
):
    for alarm in True, None:
        one, other = (kind(dim=2, **spec, alarm=alarm) for _ in range(2))
        for model in (one, other):
            model.learn(np.ones((1, 2), np.float32))
            assert isinstance(model._one_sample, OneSample)
        if sys.getsizeof(other.__dict__) >= sys.getsizeof(dict(one.__dict__.items())):
            print(kind.__name__, spec, alarm)
"""


def test_models_share_the_keys_of_their_attributes() -> None:
    """A dictionary with keys of its own would take 1.3 kB of each of thousands of models.

    Also if they have learned single samples. Python shares 30 keys of a class at most, and does not forget
    those of other specs: so this is a process without other models.
    """
    done = subprocess.run([sys.executable, "-c", SHARED_KEYS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("alarm", [True, None])
def test_maps_share_the_keys_of_their_arrays_and_arguments(alarm: bool | None) -> None:
    for _ in range(MOST_SHARED_KEYS):  # Python reserves less memory for each of the first objects of a class
        model = sl.SOM(dim=3, grid=5, alarm=alarm)
    state = [] if alarm else [model.state]  # with alarms there are too many arrays
    for arguments in (model._learn_arguments, model._predict_arguments, *state):
        assert len(arguments) <= MOST_SHARED_KEYS
        assert sys.getsizeof(arguments) < 0.6 * sys.getsizeof(dict(arguments.items()))


def test_dicts_with_shared_keys_are_independent() -> None:
    one, other = (with_shared_keys("test", {"a": n, "b": -n}) for n in (1, 2))
    one["a"] = 5
    one["c"] = 6
    assert one == {"a": 5, "b": -1, "c": 6}
    assert other == {"a": 2, "b": -2}


def test_parts_of_a_map_have_no_dict_of_arrays_of_their_own() -> None:
    for alarm in (True, None):
        model = sl.SOM(dim=2, grid=(4, 4), alarm=alarm)
        parts = (model._score, model._watching, model._schedules, model._detector, model._common)
        assert all(part.state is model.state for part in (*parts, model._alarms) if part is not None)


@pytest.mark.parametrize("kind", ["som", "competitive", "gng", "rnn"])
def test_a_model_learns_as_if_it_were_alone(kind: str) -> None:
    spec = {
        "som": {"grid": [4, 4]},
        "competitive": {"units": 5},
        "gng": {"max_units": 12},
        "rnn": {"readout": "adam", "hidden": 4},
    }
    parameters = {"dim": 2, **spec[kind]}
    alone = models.create(kind, parameters)
    alone.learn(X)
    expected = alone.state_hash()
    del alone
    gc.collect()
    one, other = (models.create(kind, parameters) for _ in range(2))
    untouched = other.state_hash()
    one.learn(X)
    assert one.state_hash() == expected
    assert other.state_hash() == untouched
    other.learn(X)
    assert other.state_hash() == expected


def test_a_shared_object_ends_with_its_last_model() -> None:
    one = sl.SOM(dim=2, grid=(3, 7))
    spec, pad = weakref.ref(one.spec), weakref.ref(one.pad)
    del one
    gc.collect()
    assert spec() is None
    assert pad() is None
    made = shared(("test", 1), lambda: np.zeros(1))
    assert shared(("test", 1), lambda: np.ones(1)) is made
