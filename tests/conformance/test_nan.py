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
