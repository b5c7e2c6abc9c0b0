"""The documents agree with the program: their code blocks run, and their tables are correct."""

from __future__ import annotations

import re

import numpy as np
import pytest

from streamlearn import models
from streamlearn.daemon.config import load as load_settings
from streamlearn.models import Model
from streamlearn_client.outputs import NamedArrays
from tests.conformance.examples import SPECS, make, predict_arguments, stream
from tests.documents import LANGUAGES, PAGES, ROOT, blocks, examples, needs_a_daemon

PAGES_WITHOUT_DAEMON = [
    page for page in PAGES if examples(page) and (page == "README.md" or not needs_a_daemon(page))
]


@pytest.mark.parametrize("page", PAGES_WITHOUT_DAEMON)
def test_the_examples_of_a_page_run_in_order(page, tmp_path, monkeypatch):
    """Pages that need a daemon are in tests/e2e/test_documents.py."""
    monkeypatch.chdir(tmp_path)
    names = {}
    found = [example for example in examples(page) if not example.needs_a_daemon]
    assert found
    for example in found:
        example.run(names)


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith("docs/")])
def test_every_block_is_of_a_language_that_a_test_runs(page):
    unknown = [block.name for block in blocks(page) if block.runs and block.language not in LANGUAGES]
    assert not unknown, f"run these or mark them <!-- not run: reason -->: {unknown}"


@pytest.mark.parametrize("page", PAGES)
def test_configurations_are_accepted(page, tmp_path):
    for block in blocks(page):
        if block.language == "toml" and block.runs:
            file = tmp_path / "streamlearn.toml"
            file.write_text(block.source)
            load_settings(file)


@pytest.mark.parametrize("kind", sorted(models.kinds()))
def test_the_page_of_a_model_has_every_parameter(kind):
    """The page has the model's own parameters; the pages that it links to have the shared ones."""
    page = (ROOT / f"docs/models/{kind}.md").read_text()
    for linked in set(re.findall(r"\]\(([\w-]+)\.md#?[\w-]*\)", page)):
        page += (ROOT / f"docs/models/{linked}.md").read_text()
    named = {name for code in re.findall(r"`([^`\n]+)`", page) for name in re.findall(r"\w+", code)}
    assert set(models.kinds()[kind].Spec.model_fields) - named == set()


def test_pages_that_the_code_refers_to_exist():
    """Comments and messages refer to pages of docs/."""
    sources = [path for top in ("streamlearn", "clients", "tests") for path in (ROOT / top).rglob("*.py")]
    named = {
        (str(path.relative_to(ROOT)), page)
        for path in sources
        for page in re.findall(r"\bdocs/[\w/-]+\.md", path.read_text())
    }
    assert named
    assert not {(path, page) for path, page in named if not (ROOT / page).exists()}


def test_the_data_of_the_first_page_come_from_their_script(tmp_path):
    from docs.data import pump

    pump.write(tmp_path)
    for file in tmp_path.iterdir():
        assert file.read_text() == (ROOT / "docs/data" / file.name).read_text()


def test_the_page_lists_all_excluded_scikit_learn_checks():
    from tests.interop.test_sklearn import ESTIMATORS

    listed = set(re.findall(r"`(check_\w+)`", (ROOT / "docs/interop.md").read_text()))
    assert listed == {check for _, reasons in ESTIMATORS.values() for check in reasons}


PROTOCOL = (ROOT / "docs/protocol.md").read_text()
DTYPES = {"i4": "int32", "i8": "int64", "f4": "float32", "i1": "int8", "b1": "bool"}


def table(header: str) -> list[list[str]]:
    """Return the cells of a table of the protocol, row by row. ``header`` is the start of its header row."""
    _, _, rest = PROTOCOL.partition(f"| {header}")
    rows = rest.split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def sizes(model: Model, n: int) -> dict[str, int | None]:
    """Return the value of each name that may occur in a shape."""
    return {
        "n": n,
        "clusters": sum(map(len, getattr(model.spec, "layers", []))) if model.kind == "grossberg" else None,
        "cells": getattr(model, "cells", None),
        "outputs": model.outputs,
        "horizon": getattr(model.spec, "horizon", None),
        "dim": model.dim,
        "columns": model.dim if model.target_dim == 0 else model.target_dim,
    }


def documented_outputs(model: Model, learned: bool) -> dict[str, tuple[str, str]]:
    """Return (dtype, shapes) by name of output, as documented for this kind and spec."""
    spec = model.spec
    conditions = {
        "label": getattr(spec, "labels", None) or "labels.given" in model.state,
        "lower": getattr(spec, "has_bands", False),
        "upper": getattr(spec, "has_bands", False),
        "distance": model.kind != "rnn" or spec.compares_channels,
        "time": learned and model.uses_time and not model.has_lookahead,
        **dict.fromkeys(("alarm", "evidence", "fault"), learned and spec.alarm is not None),
        "sequence": learned and spec.alarm is not None and spec.alarm.compares_winners,
        "contribution": learned and model.explains_learning,
        "drift": learned and spec.drift,
        "watched": learned,
    }
    return {
        name: tuple(shape.split(" ", 1))
        for names, shape, of, _ in table("output | is")
        for name in re.findall(r"`(\w+)`", names)
        if ("every kind" in of or f"`{model.kind}`" in of) and conditions.get(name, True)
    }


def assert_as_documented(model: Model, out: NamedArrays, learned: bool) -> None:
    documented = documented_outputs(model, learned)
    assert out.arrays.keys() == documented.keys()
    known = sizes(model, len(out))
    for name, array in out.arrays.items():
        dtype, shapes = documented[name]
        assert array.dtype == DTYPES[dtype], name
        axes = [shape.rstrip(",").split(", ") for shape in re.findall(r"\(([^)]*)\)", shapes)]
        assert list(array.shape) in [
            [known[axis] if axis in known else int(axis) for axis in shape] for shape in axes
        ], name


@pytest.mark.parametrize("example", SPECS)
def test_the_protocol_documents_the_outputs_of_every_kind(example):
    model = make(example)
    batch = stream(model, 40)
    assert_as_documented(model, model.learn(**batch), learned=True)
    assert_as_documented(model, model.predict(**predict_arguments(batch)), learned=False)


@pytest.mark.parametrize("example", [name for name in SPECS if make(name).accepts_late_targets])
def test_the_protocol_documents_the_outputs_for_late_targets(example):
    model = make(example)
    batch = stream(model, 40)
    model.learn(**batch)
    keys = {"keys": batch["keys"]} if model.needs_keys else {}
    out = model.learn_targets(batch["ids"], batch["y"], **keys)
    (cell,) = [names for of, names in table("of | outputs") if f"`{model.kind}`" in of]
    names = set(re.findall(r"`(\w+)`", cell))
    if not model.spec.drift:
        names.discard("drift")
    if not model.spec.alarm:
        names -= {"alarm", "evidence", "fault"}
    assert out.arrays.keys() == names
    assert out.sample.dtype == np.int64
