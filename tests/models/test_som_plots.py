"""What is drawn of a map: one polygon for each unit, where it lies on the grid, with its value."""

from __future__ import annotations

import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt

import streamlearn as sl
from streamlearn.errors import BadValue

mpl.use("Agg")


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def trained(**spec) -> sl.SOM:
    som = sl.SOM(dim=3, scale="standard", **spec)
    som.learn(np.random.default_rng(1).normal(size=(200, 3)))
    return som


def units(ax) -> tuple[np.ndarray, np.ndarray]:
    """The polygons, ``(units, corners, 2)`` in screen coordinates (y downwards), and their values."""
    ax.figure.canvas.draw()
    (collection,) = ax.collections
    corners = np.array([path.vertices[:-1] for path in collection.get_paths()])
    to_screen = ax.transData.transform(corners.reshape(-1, 2)).reshape(corners.shape)
    return to_screen * [1, -1], np.asarray(collection.get_array())


def plots(som: sl.SOM) -> dict[str, tuple]:
    return {
        "u_matrix": (som.plot_u_matrix, som.u_matrix()),
        "component": (lambda ax=None: som.plot_component(2, ax), som.prototypes[..., 2]),
        "hits": (som.plot_hits, som.hits),
    }


@pytest.mark.parametrize("which", ["u_matrix", "component", "hits"])
@pytest.mark.parametrize("grid", [(4, 6), (7,)])
@pytest.mark.parametrize("topology", ["rectangular", "hexagonal"])
def test_every_unit_is_drawn_with_its_value(which, grid, topology):
    som = trained(grid=grid, topology=topology)
    before = som.state_hash()
    plot, expected = plots(som)[which]
    polygons, values = units(plot())
    assert polygons.shape == (np.prod(grid), 6 if topology == "hexagonal" else 4, 2)
    assert np.array_equal(values, np.ravel(expected))
    assert len(set(values.tolist())) > 3
    assert som.state_hash() == before


@pytest.mark.parametrize("topology", ["rectangular", "hexagonal"])
def test_units_lie_as_on_the_grid(topology):
    """Row 0 on top; of hexagons odd rows half a step to the right. Those that touch share an edge, and no two
    overlap."""
    som = trained(grid=(4, 5), topology=topology)
    polygons, _ = units(som.plot_hits())
    centres = polygons.mean(axis=1).reshape(4, 5, 2)
    step = centres[0, 1, 0] - centres[0, 0, 0]
    assert step > 10
    hexagonal = topology == "hexagonal"
    for row in range(4):
        for column in range(5):
            x = column + (row % 2) / 2 if hexagonal else column
            y = row * np.sqrt(3) / 2 if hexagonal else row
            assert (centres[row, column] - centres[0, 0]) / step == pytest.approx([x, y], abs=1e-6)
    shared = [
        sum(np.linalg.norm(a - b) < 1e-6 * step for a in polygons[0] for b in polygons[other])
        for other in (1, 5)
    ]
    assert shared == [2, 2]
    x, y = np.moveaxis(polygons - polygons.mean(axis=1, keepdims=True), -1, 0)
    area = np.abs(x * np.roll(y, 1, axis=1) - y * np.roll(x, 1, axis=1)).sum(axis=1) / 2
    assert area == pytest.approx(step**2 * (np.sqrt(3) / 2 if hexagonal else 1))


def test_all_of_it_is_in_view():
    ax = trained(grid=(3, 8), topology="hexagonal").plot_u_matrix()
    polygons, _ = units(ax)
    box = ax.get_window_extent()
    assert polygons[..., 0].min() >= box.x0 - 1
    assert polygons[..., 0].max() <= box.x1 + 1
    assert -polygons[..., 1].min() <= box.y1 + 1
    assert -polygons[..., 1].max() >= box.y0 - 1


def test_larger_values_are_other_colours():
    ax = trained(grid=(4, 4)).plot_component(0)
    (collection,) = ax.collections
    ax.figure.canvas.draw()
    colours = collection.get_facecolors()
    order = np.argsort(collection.get_array())
    assert np.array_equal(colours[order[0]], collection.cmap(0.0))
    assert np.array_equal(colours[order[-1]], collection.cmap(1.0))


@pytest.mark.parametrize("topology", ["rectangular", "hexagonal"])
def test_labels_are_colours(topology):
    """One colour for each class; nothing is drawn of a unit that has none."""
    som = sl.SOM(dim=2, grid=(3, 4), topology=topology, labels=5, learning_rate=0.01, sigma=0.5)
    random = np.random.default_rng(2)
    som.learn(random.normal(size=(9, 2)), random.choice([1, 2, 4], 9))
    labels = som.labels.ravel()
    assert {-1, 1, 2, 4} == set(labels.tolist())
    ax = som.plot_labels()
    polygons, values = units(ax)
    assert len(polygons) == 12
    (collection,) = ax.collections
    drawn = labels >= 0
    assert values[drawn].tolist() == labels[drawn].tolist()
    colours = collection.get_facecolors()
    assert (colours[~drawn, 3] == 0).all()
    assert np.array_equal(colours[drawn], collection.cmap(labels[drawn]))
    assert len(np.unique(colours[drawn], axis=0)) == 3
    assert collection.cmap.N == 5


def test_a_map_without_labels_has_none_to_draw():
    with pytest.raises(BadValue, match="no labels to draw"):
        trained(grid=(2, 2)).plot_labels()


def test_axes_may_be_given(tmp_path):
    som = trained(grid=(3, 3))
    figure, axes = plt.subplots(1, 3)
    assert som.plot_u_matrix(axes[0]) is axes[0]
    assert som.plot_component(1, ax=axes[1]) is axes[1]
    assert som.plot_hits(ax=axes[2]) is axes[2]
    assert [len(ax.collections) for ax in axes] == [1, 1, 1]
    labels = [ax.get_ylabel() for ax in figure.axes[3:]]
    assert labels == ["mean distance to neighbours", "channel 1", "recent wins"]
    figure.savefig(tmp_path / "som.png")
    assert plt.get_fignums() == [figure.number]


@pytest.mark.parametrize("channel", [-1, 3, 100])
def test_a_channel_that_is_not_there_is_refused(channel):
    with pytest.raises(BadValue, match="0 … 2"):
        trained(grid=(2, 2)).plot_component(channel)


def test_absent_matplotlib_is_told(monkeypatch):
    som = trained(grid=(2, 2))
    monkeypatch.setitem(sys.modules, "matplotlib.collections", None)
    with pytest.raises(ImportError, match=r"streamlearn\[plots\]"):
        som.plot_hits()
