"""Every NaN in a model's float32 state is 0x7FC00000 (R3), whatever the bits of the missing values are."""

from __future__ import annotations

import numpy as np
import pytest

from streamlearn.models import Model
from tests.conformance.examples import SPECS, make, stream

CANONICAL = 0x7FC00000
OTHERS = (0xFFC00000, 0x7FC12345)  # x86's NaN for ∞ − ∞; another payload


def nan_bits(model: Model) -> set[int]:
    """The bit patterns of all float32 NaNs in the state."""
    found: set[int] = set()
    for array in model.state.values():
        if array.dtype == np.float32:
            found |= set(array[np.isnan(array)].view(np.uint32).tolist())
    return found


@pytest.mark.parametrize("example", SPECS)
def test_nans_in_the_state_have_one_bit_pattern(example):
    hashes = set()
    for bits in (CANONICAL, *OTHERS):
        model = make(example)
        batch = stream(model, 60)
        for name in ("X", "y"):
            if name in batch:
                values = np.ascontiguousarray(batch[name], np.float32)
                values.view(np.uint32)[np.isnan(values)] = bits
                batch[name] = values
        model.learn(**batch)
        assert nan_bits(model) <= {CANONICAL}
        hashes.add(model.state_hash())
    assert len(hashes) == 1


OF_NUMBERS = [name for name, (_, spec) in SPECS.items() if not {"symbols", "classes"} & spec.keys()]


@pytest.mark.parametrize("example", OF_NUMBERS)
def test_first_samples_with_missing_values_have_no_huge_outputs(example):
    """Widths are not known yet, and a channel that is flat at first has none: no output divides by it."""
    random = np.random.default_rng(7)
    model = make(example)
    x = random.integers(0, 3, (60, model.dim)).astype(np.float32)
    x[:5] = 1
    batch = stream(model, 60)
    given = batch["X"]
    batch["X"] = np.where(random.random(x.shape) < 0.5, np.float32(np.nan), x)
    if given.shape != x.shape:
        batch["X"] = given
    out = model.learn(**batch)
    for name in {"error", "distance", "prediction", "lower", "upper"} & out.arrays.keys():
        values = np.abs(out.arrays[name][np.isfinite(out.arrays[name])])
        assert values.max(initial=0) < 300, name
