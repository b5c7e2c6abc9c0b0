"""Parameters and schedules reach the kernel's parameter of the same name."""

from __future__ import annotations

import inspect
import sys
from typing import Any

import numpy as np
import pytest

from streamlearn import models
from streamlearn.errors import BadSpec
from streamlearn.kernels import compiler
from streamlearn.kernels.forecast.records import CLIP as ERROR_CLIP
from streamlearn.kernels.forecast.records import MISS, RIDGE
from streamlearn.kernels.recurrent.records import CLIP, HUBER_DELTA, MOMENTUM, SCALE_CLIP
from tests.conformance.examples import SPECS, make, stream

EXAMPLES_WITH_SCHEDULES = [
    name for name, (kind, spec) in SPECS.items() if len(models.kinds()[kind].Spec(**spec).schedules) > 1
]


def with_distinct_schedules(example: str) -> models.Model:
    """The example with another constant for each schedule. A schedule that the rule does not use stays 0."""
    kind, spec = SPECS[example]
    spec = {**spec, "on_drift": None}  # reheating needs a schedule that changes
    model = models.create(kind, spec)
    for number, name in enumerate(model.spec.schedules):
        try:
            changed = {**spec, name: 0.4 - 0.1 * number}
            model = models.create(kind, changed)
        except BadSpec:
            continue
        spec = changed
    return model


CONSTANTS = {"momentum": MOMENTUM, "clip": CLIP, "delta": HUBER_DELTA, "scale_clip": SCALE_CLIP}
LEAST_SQUARES = {"ridge": RIDGE, "clip": ERROR_CLIP, "coverage": MISS}
"""Numbers of the spec of a recurrent net, with their places in the array ``constants``."""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The arguments of every call of an entry point of a learner, by parameter."""
    found: list[dict[str, Any]] = []

    def spy(dispatcher):
        signature = inspect.signature(dispatcher.py_func)

        def call(*arguments, **named):
            found.append(signature.bind(*arguments, **named).arguments)
            return dispatcher(*arguments, **named)

        call.py_func = dispatcher.py_func
        return call

    for entry_point in compiler._registry:
        dispatcher = entry_point.dispatcher
        if dispatcher.__name__ in ("learn", "run"):
            monkeypatch.setattr(sys.modules[dispatcher.__module__], dispatcher.__name__, spy(dispatcher))
    return found


@pytest.mark.parametrize("example", EXAMPLES_WITH_SCHEDULES)
def test_every_schedule_reaches_the_kernel_parameter_of_its_name(example, calls):
    model = with_distinct_schedules(example)
    given_values = model.spec.model_dump()
    values = {name: np.float32(given_values[name]) for name in model.spec.schedules}
    assert len(set(values.values())) == len(values), "two schedules with one value: a swap would go unnoticed"
    model.learn(**stream(model, 30))
    for name, value in values.items():
        received = [arguments[name] for arguments in calls if name in arguments]
        assert any(np.size(array) for array in received), f"no kernel has a parameter {name}"
        assert all((array == value).all() for array in received), name


@pytest.mark.parametrize("example", SPECS)
def test_every_number_of_the_spec_reaches_the_kernel_parameter_of_its_name(example, calls):
    model = make(example)
    model.learn(**stream(model, 30))
    numbers = {
        name: value
        for name, value in model.spec.model_dump().items()
        if type(value) in (int, float) and name not in model.spec.schedules
    }
    for arguments in calls:
        for name in numbers.keys() & arguments.keys():
            if np.isscalar(arguments[name]):
                assert np.float32(arguments[name]) == np.float32(numbers[name]), name
        constants = LEAST_SQUARES if getattr(model.spec, "least_squares", False) else CONSTANTS
        for name, index in constants.items() if "constants" in arguments else ():
            if name in numbers and (name != "delta" or model.spec.loss == "huber"):
                expected = 1 - numbers[name] if name == "coverage" else numbers[name]
                assert arguments["constants"][index] == expected, name
