"""The parts of a model that can be read: sizes are known before, and reading changes nothing."""

from __future__ import annotations

import numpy as np
import pytest

from streamlearn.errors import BadValue
from streamlearn.models import incoming
from streamlearn.models.readable import PARTS
from streamlearn.store import tensors
from tests.conformance.examples import SPECS, make, stream


@pytest.mark.parametrize("kind", SPECS)
def test_every_part_has_the_size_that_is_known_before(kind: str) -> None:
    model = make(kind)
    model.learn(**stream(model, 60))
    before = model.state_hash()
    for name in model._parts():
        assert name in PARTS
        (part,) = model.parts([name])
        arrays, facts = model.read_parts([name])
        assert facts.keys() | arrays.keys(), name
        assert {key.partition("/")[0] for key in [*arrays, *facts]} <= {name, "label_names", "mix_of"}
        for key, array in arrays.items():
            assert array.flags.c_contiguous
            assert array.nbytes == part.sizes[key] or (name == "lags" and array.nbytes <= part.sizes[key])
        assert arrays.keys() == part.sizes.keys()
    assert model.state_hash() == before


@pytest.mark.parametrize("kind", SPECS)
def test_a_part_that_the_kind_does_not_have_is_refused_with_those_that_it_has(kind: str) -> None:
    model = make(kind)
    has = [name for name in PARTS if name in model._parts()]
    for name in [*(part for part in PARTS if part not in has), "sum", ""]:
        with pytest.raises(BadValue, match=", ".join(has)) as error:
            model.parts(["quality", name])
        assert error.value.detail["parts"] == has


@pytest.mark.parametrize("kind", SPECS)
def test_a_file_of_another_place_becomes_the_same_model(kind: str) -> None:
    model = make(kind)
    model.learn(**stream(model, 60))
    content = tensors.encode(model.state, model.metadata())
    decoded = incoming.of_state(content, model.kind)
    decoded.check(None)
    assert decoded.build().state_hash() == model.state_hash()


def test_planes_are_the_prototypes_by_channel_in_the_streams_own_units() -> None:
    model = make("som")
    rows = np.random.default_rng(5).normal(100, 7, (300, 5)).astype(np.float32)
    model.learn(rows)
    arrays, _ = model.read_parts(["planes", "prototypes", "hits", "quality"])
    assert arrays["planes"].shape == (5, *model.spec.grid)
    for channel in range(5):
        np.testing.assert_array_equal(arrays["planes"][channel], arrays["prototypes"][..., channel])
    assert arrays["hits"].shape == model.spec.grid
