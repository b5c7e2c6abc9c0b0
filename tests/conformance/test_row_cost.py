"""What a row may cost: every kind declares it, it grows as the work does, and `create` refuses too much."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from benchmarks import row_cost as benchmark
from streamlearn import models
from streamlearn.cli.demo.models import demo_models
from streamlearn.daemon.config import LimitSettings
from streamlearn.errors import BadSpec
from streamlearn.models import Model
from streamlearn.models.row_cost import query_cost, row_cost
from streamlearn.models.spec import Spec
from tests.conformance.examples import EXAMPLES, SPECS
from tests.naive import operations

DEFAULT = LimitSettings().row_cost


def spec_of(kind: str, parameters: dict[str, Any]) -> Any:
    return models.kinds()[kind].Spec(**parameters)


@pytest.mark.parametrize("kind", models.kinds())
def test_every_kind_declares_its_cost_and_the_parameters_that_lower_it(kind):
    spec = spec_of(kind, EXAMPLES[kind].usual)
    parts = spec.row_costs()
    assert len(parts) > len(Spec.row_costs(spec))
    for part in parts:
        assert type(part.multiply_adds) is int
        assert part.multiply_adds >= 0
        assert set(part.parameters) <= set(type(spec).model_fields)
    assert row_cost(spec) == sum(part.multiply_adds for part in parts)


def recurrent(model: Model) -> int:
    """Count the work of a recurrent net from the shapes of its parameters."""
    spec = model.spec
    shapes = [values.shape for values in model.parameters.values()]
    if model.kind == "birnn":
        chunk, steps = spec.chunk[0], sum(spec.chunk)
        chunks = 1 + (spec.delay or 0) // chunk
        return operations.recurrent(shapes, steps, chunks, replays=True)
    k1, k2 = spec.tbptt
    replays = k1 < k2 or spec.target == "later"
    return operations.recurrent(shapes, k2, 1 + (spec.delay or 0) // k1, replays)


def ring(nearest: int, farthest: int) -> int:
    """Count the places of the rings of a hexagonal grid."""
    return sum(6 * k if k else 1 for k in range(nearest, farthest + 1))


# By kind: the counted work of a model, a spec, and changes that each make it larger.
COUNTED: dict[str, tuple[Callable[[Any], int], dict[str, Any], list[dict[str, Any]]]] = {
    "som": (
        lambda m: operations.units(m.units, m.dim, 2 if m.spec.neighbourhood == "mexican_hat" else 1),
        {"dim": 64, "grid": (20, 20)},
        [{"dim": 512}, {"grid": (80, 80)}, {"neighbourhood": "mexican_hat"}],
    ),
    "competitive": (
        lambda m: (
            operations.units(m.units, m.dim, 2 if m.spec.mode != "hard" or m.spec.conscience else 1)
            + (operations.ranks(m.units) if m.spec.mode == "gas" else 0)
        ),
        {"dim": 64, "units": 400},
        [
            {"dim": 512},
            {"units": 6400},
            {"mode": "soft"},
            {"conscience": 1.0},
            {"mode": "gas", "units": 3200},
        ],
    ),
    "gng": (
        lambda m: operations.graph(m.spec.max_units, m.dim),
        {"dim": 64, "max_units": 200},
        [{"dim": 512}, {"max_units": 1600}],
    ),
    "rnn": (
        recurrent,
        {"readout": "adam", "dim": 16, "hidden": 64},
        [
            {"hidden": 256},
            {"cell": "elman"},
            {"layers": 4},
            {"tbptt": (16, 128)},
            {"tbptt": (4, 4)},
            {"target": "later", "delay": 320},
        ],
    ),
    "birnn": (
        recurrent,
        {"dim": 16, "hidden": 64},
        [
            {"hidden": 256},
            {"cell": "gru"},
            {"layers": 4},
            {"chunk": (16, 100)},
            {"target": "later", "delay": 320},
        ],
    ),
    "grossberg": (
        lambda m: operations.clusters(m.spec.shapes),
        {"dim": 64, "layers": [[64, 64]]},
        [{"dim": 512}, {"layers": [[64] * 16]}, {"layers": [[64, 64], [256]]}],
    ),
    "hamming": (
        lambda m: operations.maxnet(m.units, m.dim, m.spec.max_iterations),
        {"dim": 64, "units": 512, "max_iterations": 100},
        [{"dim": 1024}, {"units": 4096}, {"max_iterations": 10_000}],
    ),
    "malsburg": (
        lambda m: operations.sheet(
            m.cells,
            m.dim,
            m.spec.steps,
            sum(ring(*pair) for pair in (m.spec.p_rings, m.spec.r_rings, m.spec.q_rings)),
        ),
        {"dim": 64, "sheet": (30, 30)},
        [{"dim": 1024}, {"sheet": (60, 120)}, {"steps": 200}, {"q_rings": (0, 6)}],
    ),
    "cognitron": (
        lambda m: operations.layers_of_cells(
            m.spec.layers, m.cells, (2 * m.spec.area + 1) ** 2, (2 * m.spec.vicinity + 1) ** 2
        ),
        {"dim": 1600, "shape": (40, 40)},
        [{"layers": 12}, {"dim": 6400, "shape": (80, 80)}, {"area": 6}, {"vicinity": 6}],
    ),
}


def test_every_kind_is_counted():
    assert COUNTED.keys() == models.kinds().keys()


@pytest.mark.parametrize("kind", COUNTED)
def test_the_cost_is_not_below_the_counted_work_and_grows_as_it_does(kind):
    count, base, changes = COUNTED[kind]
    ratios = []
    for change in [{}, *changes]:
        model = models.create(kind, {**base, **change})
        counted = count(model)
        assert counted <= row_cost(model.spec), change
        ratios.append(row_cost(model.spec) / counted)
    assert max(ratios) / min(ratios) < 3, ratios
    assert max(ratios) < 30, ratios


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("som", {"labels": 1000}),
        ("som", {"init": "pca", "init_samples": 2000}),
        ("som", {"init": "samples", "init_samples": 20_000}),
        ("competitive", {"labels": 3, "delay": 1 << 16}),
        ("rnn", {"readout": "adam", "keys": 1 << 16}),
        ("rnn", {"readout": "adam", "horizon": 500}),
        ("rnn", {"readout": "adam", "target": "given", "outputs": 5000}),
        ("rnn", {"readout": "adam", "record_lags": True, "tbptt": (100, 100)}),
        ("rnn", {"readout": "adam", "dim": 1, "symbols": 5000, "loss": "cross_entropy"}),
        ("birnn", {"classes": 5000, "loss": "cross_entropy"}),
        ("grossberg", {"layers": [[4] * 500]}),
    ],
)
def test_loops_beside_the_main_one_count_as_well(kind, change):
    usual = {**EXAMPLES[kind].usual}
    larger = spec_of(kind, {**usual, **change})
    changed = {name for part in larger.row_costs() if part.multiply_adds > 10_000 for name in part.parameters}
    assert row_cost(larger) > 1.5 * row_cost(spec_of(kind, usual))
    assert changed & change.keys()


@pytest.mark.parametrize("example", SPECS)
def test_a_row_of_a_query_costs_no_more_than_a_row_that_is_learned(example):
    kind, parameters = SPECS[example]
    spec = spec_of(kind, parameters)
    assert 0 < query_cost(spec) <= row_cost(spec)


def test_a_query_does_not_count_the_update():
    """One step forward of the LSTM: its matrices once, not once for every step of a window."""
    spec = spec_of("rnn", {"readout": "adam", "dim": 16, "hidden": 256, "tbptt": (64, 64)})
    products = 4 * 256 * (16 + 256) + 16 * 256
    assert products < query_cost(spec) < 2 * products
    assert row_cost(spec) > 64 * 2 * products


# the limit


def test_the_default_accepts_the_examples_and_the_demo_with_room():
    demo = demo_models(np.zeros((1, 9), np.float32), np.zeros((1, 1), np.float32), 1)
    for kind, spec in [*SPECS.values(), *((each.kind, each.spec) for each in demo)]:
        assert row_cost(spec_of(kind, dict(spec))) < DEFAULT / 10


def test_the_benchmark_measures_every_kind():
    assert benchmark.SPECS.keys() == models.kinds().keys()
    for kind, specs in benchmark.SPECS.items():
        for spec in specs:
            assert row_cost(spec_of(kind, spec)) > 0


TOO_MUCH = {
    "hamming-iterations": (
        "hamming",
        {"units": 100, "dim": 16, "max_iterations": 2**31 - 1},
        "max_iterations",
    ),
    "hamming-units": ("hamming", {"units": 1 << 20, "dim": 16}, "max_iterations"),
    "som": ("som", {"dim": 1000, "grid": (360, 360)}, "grid"),
    "som-pca": ("som", {"dim": 1000, "grid": (4, 4), "init": "pca", "init_samples": 4000}, "init_samples"),
    "competitive": ("competitive", {"dim": 2, "units": 1 << 20, "mode": "gas"}, "units"),
    "gng": ("gng", {"dim": 3, "max_units": 8192}, "max_units"),
    "rnn": ("rnn", {"readout": "adam", "dim": 3, "hidden": 2048, "tbptt": (64, 64)}, "hidden"),
    "rnn-late": (
        "rnn",
        {"readout": "adam", "dim": 3, "hidden": 256, "target": "later", "delay": 5000},
        "delay",
    ),
    "birnn": ("birnn", {"dim": 3, "hidden": 1024, "chunk": (64, 16)}, "hidden"),
    "grossberg": ("grossberg", {"dim": 20_000, "layers": [[5000]]}, "layers"),
    "malsburg": ("malsburg", {"dim": 20, "sheet": (500, 500), "steps": 1000}, "steps"),
    "cognitron": ("cognitron", {"dim": 10_000, "shape": (100, 100), "area": 8, "layers": 40}, "layers"),
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_a_spec_with_expensive_rows_raises_and_names_cost_limit_and_parameter(name):
    kind, spec, parameter = TOO_MUCH[name]
    cost = row_cost(spec_of(kind, spec))
    with pytest.raises(BadSpec) as caught:
        models.create(kind, spec, DEFAULT)
    error = caught.value
    for part in (f"{cost:,}", f"{DEFAULT:,}", "limits.row_cost", parameter):
        assert part in error.message
    assert error.detail["errors"][0]["field"] in models.kinds()[kind].Spec.model_fields
    assert (error.detail["row_cost"], error.detail["row_cost_limit"]) == (cost, DEFAULT)
    assert error.detail["limit"] == "limits.row_cost"
    json.dumps(error.to_wire())


def test_lowering_a_named_parameter_helps():
    spec = {"units": 100, "dim": 16, "max_iterations": 2**31 - 1}
    with pytest.raises(BadSpec, match="lower max_iterations or units"):
        models.create("hamming", spec, DEFAULT)
    models.create("hamming", {**spec, "max_iterations": 1000}, DEFAULT)


def test_in_this_process_there_is_no_limit():
    kind, spec, _ = TOO_MUCH["hamming-iterations"]
    assert models.create(kind, spec).samples == 0


def test_a_wrong_spec_is_reported_before_its_cost():
    with pytest.raises(BadSpec, match="dim is missing"):
        models.create("hamming", {"units": 100, "max_iterations": 2**31 - 1}, DEFAULT)
