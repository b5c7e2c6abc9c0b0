"""R7: valid and invalid samples. Invalid ones raise typed errors and leave the state unchanged."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from streamlearn.errors import BadDtype, BadShape, BadValue
from streamlearn.models import Model
from tests.conformance.examples import (
    SPECS,
    USUAL,
    Batch,
    count_init_samples,
    has_predecessor,
    inputs_of,
    make,
    make_valid,
    match_samples,
    not_finite,
    predict_arguments,
    stream,
    stream_of,
)


@pytest.fixture(params=SPECS)
def model(request: pytest.FixtureRequest) -> Model:
    return make(request.param)


# invalid samples

D = 5  # channels of every usual example


def with_value(value: Any, dtype: Any = np.float64) -> np.ndarray:
    x = np.zeros((3, D), dtype)
    x[1, 2] = value
    return x


INVALID = {
    "too few channels": (np.zeros((3, D - 1)), BadShape),
    "too many channels": (np.zeros((3, D + 1)), BadShape),
    "no channels": (np.zeros((3, 0)), BadShape),
    "channels by samples": (np.zeros((D, 3)), BadShape),
    "three axes": (np.zeros((1, 3, D)), BadShape),
    "no axis": (1.0, BadShape),
    "a vector too long": (np.zeros(2 * D), BadShape),
    "ragged": ([[1.0] * D, [1.0] * (D - 1)], BadShape),
    "ragged arrays": ([np.zeros(D), np.zeros(D - 1)], BadShape),
    "text": ("0" * D, BadDtype),
    "words": (["a"] * D, BadDtype),
    "numbers as words": (np.full((3, D), "1.0"), BadDtype),
    "bytes": (b"\0" * D, BadDtype),
    "objects": (np.full((3, D), "a", object), BadDtype),
    "nothing": (None, BadDtype),
    "a map of another column": ({"x": 1}, BadShape),
    "a map of text": ({"x": "a"}, BadDtype),
    "complex": (np.zeros((3, D), complex), BadDtype),
    "times": (np.zeros((3, D), "M8[s]"), BadDtype),
    "records": (np.zeros(3, [("a", "f4")]), BadDtype),
    "a large integer": (with_value(10**40, object), BadValue),
    "infinity": (with_value(np.inf), BadValue),
    "minus infinity": (with_value(-np.inf, np.float32), BadValue),
    "too large for float32": (with_value(1e39), BadValue),
    "too small for float32": (with_value(-1e39), BadValue),
    "far too large": (with_value(np.longdouble("1e400"), np.longdouble), BadValue),
    "infinite as float16": (with_value(np.inf, np.float16), BadValue),
}


@pytest.mark.parametrize("mistake", INVALID)
@pytest.mark.parametrize("name", USUAL)
def test_invalid_samples_raise_and_change_nothing(name, mistake):
    model = make(name)
    model.learn(**stream(model, 10))
    before = model.state_hash()
    x, error = INVALID[mistake]
    for function in (model.learn, model.predict, model.validate):
        with pytest.raises(error) as caught:
            function(x)
        assert type(caught.value) is error
        assert "x" in caught.value.message
        if error is BadValue:
            assert (caught.value.detail["row"], caught.value.detail["column"]) == (1, 2)
            assert "x[1, 2]" in caught.value.message
    assert model.state_hash() == before
    assert model.samples == 10


INVALID_TARGETS: dict[str, tuple[Callable[[int, int], Any], type[Exception]]] = {
    "too few rows": (lambda n, k: np.zeros((n - 1, k)), BadShape),
    "too many rows": (lambda n, k: np.zeros((n + 1, k)), BadShape),
    "too many columns": (lambda n, k: np.zeros((n, k + 1)), BadShape),
    "transposed": (lambda n, k: np.zeros((k, n)), BadShape),
    "three axes": (lambda n, k: np.zeros((1, n, k)), BadShape),
    "one number": (lambda n, k: 1.0, BadShape),
    "ragged": (lambda n, k: [[0.0] * k] * (n - 1) + [[0.0] * (k + 1)], BadShape),
    "words": (lambda n, k: [["?"] * k] * n, BadDtype),
    "objects": (lambda n, k: np.full((n, k), "?", object), BadDtype),
    "infinity": (lambda n, k: np.full((n, k), np.inf), BadValue),
    "too large for float32": (lambda n, k: np.full((n, k), 1e39), BadValue),
}


def test_invalid_targets_raise(model):
    """A model without targets refuses y; other models need one valid row for each sample."""
    n, k = 4, model.target_dim
    samples = stream(model, n)
    samples.pop("y", None)
    before = model.state_hash()
    if k == 0:
        with pytest.raises(BadShape, match="leave y out"):
            model.learn(**samples, y=np.zeros((n, 1)))
    else:
        if not model.accepts_late_targets:
            with pytest.raises(BadShape, match="y"):
                model.learn(**samples)
        for mistake, (make_targets, error) in INVALID_TARGETS.items():
            if mistake in ("words", "objects") and model.label_names:
                error = BadValue  # it takes names of labels
            with pytest.raises(error, match="y") as caught:
                model.learn(**samples, y=make_targets(n, k))
            assert type(caught.value) is error, mistake
    assert model.state_hash() == before


# equivalent formats of samples


FORMATS: dict[str, Callable[[np.ndarray], Any]] = {
    "double": lambda v: v.astype(np.float64),
    "long double": lambda v: v.astype(np.longdouble),
    "half": lambda v: v.astype(np.float16),
    "integer": lambda v: v.astype(np.int64),
    "small integer": lambda v: v.astype(np.int8),
    "unsigned": lambda v: v.astype(np.uint16),
    "other byte order": lambda v: v.astype(v.dtype.newbyteorder(">")),
    "lists": lambda v: v.tolist(),
    "list of rows": list,
    "Fortran order": np.asfortranarray,
    "every other row": lambda v: np.repeat(v, 2, axis=0)[::2],
    "every other column": lambda v: np.repeat(v, 2, axis=1)[:, ::2],
    "negative strides": lambda v: v[::-1, ::-1].copy()[::-1, ::-1],
    "a view of a table": lambda v: np.pad(v, 3)[3:-3, 3:-3],
    "unaligned": lambda v: np.frombuffer(b"\0" + v.tobytes(), np.uint8)[1:].view(v.dtype).reshape(v.shape),
}


def whole_numbers(batch: Batch) -> Batch:
    return {name: np.abs(np.rint(values)) if name in "Xy" else values for name, values in batch.items()}


@pytest.mark.parametrize("format_", FORMATS)
def test_equal_values_in_another_format_are_equal_samples(model, format_):
    reference = make_same(model)
    samples = whole_numbers(stream(model, 40, missing=0))
    reference.learn(**samples)
    for name in "Xy" if "y" in samples else "X":
        samples[name] = FORMATS[format_](samples[name])
    model.learn(**samples)
    assert model.state_hash() == reference.state_hash()


def make_same(model: Model) -> Model:
    return copy.deepcopy(model)


def test_read_only_samples_are_accepted(model):
    reference = make_same(model)
    samples = stream(model, 40)
    reference.learn(**samples)
    for values in samples.values():
        values.flags.writeable = False
    model.learn(**samples)
    model.predict(**predict_arguments(samples))
    assert model.state_hash() == reference.state_hash()


def test_one_channel_may_be_a_vector():
    for name in SPECS:
        model = make(name)
        if model.dim == 1 and stream(model, 1).keys() == {"X"}:
            reference = make_same(model)
            x = stream(model, 30)["X"]
            reference.learn(x)
            model.learn(x[:, 0])
            assert model.state_hash() == reference.state_hash()


# missing and extreme values


def later_scores(model: Model, batch: Batch) -> np.ndarray:
    """Learn ``batch`` and return its scores, without those of samples that have no score by definition.

    These are the first sample of each stream, and the samples for the initial weights.
    """
    first = model.samples
    out = model.learn(**batch)
    rows, index = match_samples(model, out, first)
    assert rows.size > len(batch["X"]) // 2
    later = has_predecessor(batch) & (first + np.arange(len(batch["X"])) > count_init_samples(model))
    return out.score[rows[later[index]]]


def test_present_values_are_counted_and_missing_ones_leave_the_state_finite(model):
    samples = stream(model, 60, missing=0.5)
    for function, batch in ((model.learn, samples), (model.predict, predict_arguments(samples))):
        first = model.samples
        present = (~np.isnan(inputs_of(model, samples))).sum(axis=1)
        out = function(**batch)
        rows, index = match_samples(model, out, first)
        assert rows.size > 40
        assert out.present[rows].tolist() == present[index].tolist()
    assert not_finite(model) == []


def test_batches_of_missing_values_only(model):
    for before in (0, 30):
        model.learn(**stream(model, before))
        first = model.samples
        out = model.learn(**stream_of(model, np.full((20, model.dim), np.nan)))
        rows, _ = match_samples(model, out, first)
        assert not out.present[rows].any()
        assert np.isnan(out.score[rows]).all()
        assert not_finite(model) == []
    later = stream(model, 30, missing=0)
    assert np.isfinite(later_scores(model, later)).all()
    assert model.samples == 100


def test_a_channel_that_is_always_missing(model):
    samples = stream(model, 60, missing=0)
    samples["X"][:, -1] = np.nan
    model.learn(**samples)
    assert not_finite(model) == []
    first, batch = model.samples, stream_of(model, np.zeros((20, model.dim)))
    out = model.predict(**predict_arguments(batch))
    rows, index = match_samples(model, out, first)
    assert rows.size
    present = (~np.isnan(inputs_of(model, batch))).sum(axis=1)
    assert out.present[rows].tolist() == present[index].tolist()
    assert (present >= model.dim).all()


@pytest.mark.parametrize("value", [0.0, -0.0, 1.0, -273.15, 1e-40, 1e30, -3e38])
def test_constant_input(model, value):
    batch = stream_of(model, np.full((200, model.dim), value))
    assert not np.isnan(later_scores(model, batch)).any()
    assert not_finite(model) == []


@pytest.mark.parametrize("size", [1e15, 1e19, 1e30, 3.4e38])
def test_large_values_leave_the_model_usable(model, size):
    """A distance may overflow, but the state stays finite and the scores of later samples are valid."""
    model.learn(**stream(model, 20, missing=0))
    random = np.random.default_rng(1)
    for _ in range(3):
        batch = stream(model, 30, missing=0)
        for values in (batch[name] for name in "Xy" if name in batch):
            values[::4] = size * random.uniform(-1, 1, values[::4].shape)
            values[2::9] = size
            values[3::9] = -size
        batch = make_valid(model, batch)
        model.learn(**batch)
        model.predict(**predict_arguments(batch))
        assert not_finite(model) == []
    later = stream(model, 30, missing=0)
    assert not np.isnan(later_scores(model, later)).any()
    assert not_finite(model) == []
    assert "NaN" not in (quality := json.dumps(model.quality()))
    assert "Infinity" not in quality


def test_denormal_values(model):
    model.learn(**stream_of(model, np.random.default_rng(2).normal(size=(50, model.dim)) * 1e-42))
    assert not_finite(model) == []


def test_scores_are_in_the_unit_interval(model):
    out = model.learn(**stream(model, 200))
    scores = out.score[~np.isnan(out.score)]
    assert np.all((scores >= 0) & (scores < 1))
    assert scores.size > 100
