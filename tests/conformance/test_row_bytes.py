"""The size of an answer is known before it is computed."""

from __future__ import annotations

import pytest

from streamlearn.models.outputs import row_bytes
from tests.conformance.examples import make, predict_arguments, specs, stream


@pytest.mark.parametrize("example", specs())
def test_no_row_of_a_prediction_is_larger_than_declared(example: str) -> None:
    model = make(example)
    rows = 40
    batch = stream(model, rows)
    model.learn(**batch)
    out = model.predict(**predict_arguments(batch))
    measured = sum(array.nbytes for array in out.arrays.values())
    assert measured <= len(out) * row_bytes(model, model.outputs_class)
    assert len(out) == rows or model.has_lookahead
    conditional = 32  # bytes of columns that only some specs have
    assert len(out) * (row_bytes(model, model.outputs_class) - conditional) <= measured
