"""What the documents show runs, and what they say of it is so."""

from __future__ import annotations

import re

import numpy as np
import pytest

from streamlearn.models import Model
from streamlearn_client.outputs import Outputs
from tests.conformance.examples import SPECS, asked, make, stream
from tests.documents import ROOT, examples


@pytest.mark.parametrize("page", ["README.md", "docs/models.md", "docs/lecture.md", "docs/interop.md"])
def test_the_examples_run_one_after_another(page, tmp_path, monkeypatch):
    """Those of a client are in tests/e2e."""
    monkeypatch.chdir(tmp_path)
    names = {}
    alone = [example for example in examples(page) if not example.needs_a_daemon]
    assert alone
    for example in alone:
        example.run(names)


def test_every_exception_from_scikit_learns_checks_is_told():
    """The checks that do not apply are those of the tests."""
    from tests.interop.test_sklearn import ESTIMATORS

    told = set(re.findall(r"`(check_\w+)`", (ROOT / "docs/interop.md").read_text()))
    assert told == {check for _, reasons in ESTIMATORS.values() for check in reasons}


PROTOCOL = (ROOT / "docs/protocol.md").read_text()
DTYPES = {"i4": "int32", "i8": "int64", "f4": "float32", "b1": "bool"}


def table(head: str) -> list[list[str]]:
    """The cells of a table of the protocol, row by row."""
    _, _, rest = PROTOCOL.partition(f"| {head}")
    rows = rest.split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def sizes(model: Model, n: int) -> dict[str, int | None]:
    """What the words in a shape stand for."""
    return {
        "n": n,
        "clusters": sum(map(len, getattr(model.spec, "layers", []))) if model.kind == "grossberg" else None,
        "cells": getattr(model, "cells", None),
        "outputs": model.outputs,
        "horizon": getattr(model.spec, "horizon", None),
        "dim": model.dim,
    }


def promised(model: Model, learned: bool) -> dict[str, tuple[str, str]]:
    """Name, dtype and shapes of the outputs, as the table has them for this kind and spec."""
    spec = model.spec
    asked_for = {
        "label": getattr(spec, "labels", None),
        "drift": learned and spec.drift,
        "frozen": learned and (spec.on_drift or spec.freeze_missing is not None),
    }
    return {
        name: tuple(shape.split(" ", 1))
        for names, shape, of, _ in table("output | is")
        for name in re.findall(r"`(\w+)`", names)
        if ("every kind" in of or f"`{model.kind}`" in of) and asked_for.get(name, True)
    }


def assert_as_promised(model: Model, out: Outputs, learned: bool) -> None:
    told = promised(model, learned)
    assert out.arrays.keys() == told.keys()
    known = sizes(model, len(out))
    for name, array in out.arrays.items():
        dtype, shapes = told[name]
        assert array.dtype == DTYPES[dtype], name
        shown = [each.rstrip(",").split(", ") for each in re.findall(r"\(([^)]*)\)", shapes)]
        assert list(array.shape) in [
            [known[side] if side in known else int(side) for side in shape] for shape in shown
        ], name


@pytest.mark.parametrize("example", SPECS)
def test_the_protocol_names_the_outputs_of_every_kind(example):
    model = make(example)
    batch = stream(model, 40)
    assert_as_promised(model, model.learn(**batch), learned=True)
    assert_as_promised(model, model.predict(**asked(batch)), learned=False)


@pytest.mark.parametrize("example", [name for name in SPECS if make(name).accepts_late_targets])
def test_the_protocol_names_what_is_said_of_targets(example):
    model = make(example)
    batch = stream(model, 40)
    model.learn(**batch)
    keys = {"keys": batch["keys"]} if model.needs_keys else {}
    out = model.learn_targets(batch["ids"], batch["y"], **keys)
    (told,) = [names for of, names in table("of | outputs") if f"`{model.kind}`" in of]
    names = set(re.findall(r"`(\w+)`", told))
    if not model.spec.drift:
        names.discard("drift")
    if "frozen" in promised(model, learned=True):
        names.add("frozen")
    assert out.arrays.keys() == names
    assert out.sample.dtype == np.int64
