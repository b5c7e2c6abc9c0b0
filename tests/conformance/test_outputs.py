"""The outputs of every kind have the names, shapes and dtypes that its output class declares."""

from __future__ import annotations

import re

import numpy as np
import pytest

from streamlearn.models import Model
from streamlearn.models.outputs import (
    ALARM,
    BANDS,
    COMPARED,
    DRIFT,
    LABELS,
    SEQUENCE,
    TIMES,
    WATCHED,
    columns,
)
from streamlearn_client.outputs import NamedArrays
from tests.conformance.examples import SPECS, make, predict_arguments, stream


def assert_as_declared(model: Model, out: NamedArrays, cls: type[NamedArrays], learned: bool) -> None:
    assert type(out) is cls
    spec = model.spec
    conditions = {
        "": True,
        LABELS: bool(getattr(spec, "labels", None)) or "labels.given" in model.state,
        TIMES: learned and model.uses_time and not model.has_lookahead,
        BANDS: bool(getattr(spec, "has_bands", False)),
        COMPARED: bool(getattr(spec, "compares_channels", False)),
        ALARM: learned and spec.alarm is not None,
        SEQUENCE: learned and spec.alarm is not None and spec.alarm.compares_winners,
        DRIFT: learned and spec.drift is not None,
        WATCHED: learned,
    }
    declared = {name: column for name, column in columns(cls).items() if conditions[column[1].condition]}
    assert out.arrays.keys() == declared.keys()
    sizes = {"n": len(out), "outputs": model.outputs, "dim": model.dim, "target_dim": model.target_dim or -1}
    sizes["cells"] = getattr(model, "cells", -1)
    sizes["horizon"] = getattr(spec, "horizon", None) or -1
    sizes["clusters"] = sum(map(len, spec.layers)) if model.kind == "grossberg" else -1
    for name, (dtype, column) in declared.items():
        shapes = [re.findall(r"\w+", shape) for shape in column.shapes]
        allowed = [tuple(sizes.get(axis) or int(axis) for axis in shape) for shape in shapes if shape]
        if len(out):
            assert out.arrays[name].shape in allowed, name
        assert out.arrays[name].dtype == dtype, name


@pytest.mark.parametrize("example", SPECS)
def test_learn_and_predict(example):
    model = make(example)
    batch = stream(model, 40)
    assert_as_declared(model, model.learn(**batch), model.outputs_class, learned=True)
    assert_as_declared(model, model.predict(**predict_arguments(batch)), model.outputs_class, learned=False)


@pytest.mark.parametrize("example", [name for name in SPECS if make(name).accepts_late_targets])
def test_learn_targets(example):
    model = make(example)
    batch = stream(model, 40)
    model.learn(**batch)
    keys = {"keys": batch["keys"]} if model.needs_keys else {}
    out = model.learn_targets(batch["ids"], batch["y"], **keys)
    assert_as_declared(model, out, model.target_outputs_class, learned=True)


def test_a_class_of_outputs_adds_no_arrays():
    out = make("som").predict(np.zeros((1, 5)))
    assert "label" not in dir(out)
    with pytest.raises(AttributeError, match="winner"):
        _ = out.label
