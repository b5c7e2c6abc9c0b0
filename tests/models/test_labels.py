"""Labels of units, from labels that come with samples or later, against a slow count of all that came."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

import streamlearn as sl
from streamlearn.errors import BadDtype, BadShape, BadSpec, BadValue
from streamlearn.models.maps.labels import LabelledModel
from tests.naive.labels import NaiveLabels

Make = Callable[..., LabelledModel]


def som(**spec) -> sl.SOM:
    return sl.SOM(**{"dim": 2, "grid": (3, 4), "scale": "standard", "half_life": 30.0, "labels": 3, **spec})


def competitive(**spec) -> sl.Competitive:
    return sl.Competitive(**{"dim": 2, "units": 12, "half_life": 30.0, "labels": 3, **spec})


def labelled(n: int, seed: int = 1, missing: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """Samples of three clusters, and which they are of, one in ten wrong and most not known."""
    random = np.random.default_rng(seed)
    y = random.integers(0, 3, n)
    x = np.array([[0, 3], [3, 0], [-3, -3]])[y] + random.normal(size=(n, 2))
    x[random.random(n) < missing] = np.nan
    wrong = random.random(n) < 0.1
    return x.astype(np.float32), np.where(wrong, random.integers(0, 3, n), y).astype(np.float32)


@pytest.mark.parametrize("make", [som, competitive])
@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("delay", [1, 5, 40])
@pytest.mark.parametrize("init", ["random", "range"])
def test_labels_equal_the_reference(make: Make, named, delay, init):
    """A third of the labels arrive with their samples, a third late, in any order and some twice, and a third
    never. Some labels have an unknown id."""
    random = np.random.default_rng(2)
    model = make(delay=delay, init=init, **({"init_samples": 15} if init == "range" else {}))
    naive = NaiveLabels(12, 3, delay, 30.0)
    x, y = labelled(300)
    with_sample, later = random.random((2, 300)) < [[0.33], [0.5]]
    ids = random.permutation(10**6)[:300] - 5000
    waiting: list[tuple[int, float]] = []
    for start in range(0, 300, 6):
        now = slice(start, start + 6)
        own = np.where(with_sample[now], y[now], np.nan)
        out = model.learn(x[now], own, **({"ids": ids[now]} if named else {}))
        names = ids[now].tolist() if named else range(start, start + 6)
        reported = [
            naive.learn(int(i), float(k), name if named else None)
            for i, k, name in zip(out.winner, own, names, strict=True)
        ]
        assert out.label.tolist() == reported
        waiting += [
            (name, float(k))
            for name, k, comes, there in zip(names, y[now], later[now], with_sample[now], strict=True)
            if comes and not there
        ]
        come = [waiting.pop(int(random.integers(len(waiting)))) for _ in range(min(2, len(waiting)))]
        come += come[:1] if random.random() < 0.2 else []
        come += [(name, math.nan) for name, _ in waiting[:1]]
        come += [(77_777_777, 1.0)] * (random.random() < 0.2)
        names, classes = [name for name, _ in come], [k for _, k in come]
        out = model.learn_targets(np.array(names, np.int64), np.array(classes, np.float32))
        assert list(out.arrays) == ["sample", "winner", "label", "watched"]
        reported = [naive.learn_later(*each) for each in come]
        assert list(zip(out.sample, out.winner, out.label, strict=True)) == reported
    labels = [naive.label(unit) for unit in range(12)]
    assert model.labels.ravel().tolist() == labels
    counts = [[naive.count(unit, k) for k in range(3)] for unit in range(12)]
    # A count is of what came before the next label, which makes it older by one.
    assert np.allclose(model.label_counts.reshape(12, 3), np.array(counts) * naive.decay, rtol=1e-9)
    quality = model.quality()
    assert quality["label_accuracy"] == pytest.approx(naive.accuracy())
    assert quality["labelled_units"] == sum(label >= 0 for label in labels)
    assert quality["unmatched_targets"] == naive.unmatched
    assert naive.unmatched > 5
    responses = model.predict(x)
    assert responses.label.tolist() == [naive.label(int(i)) for i in responses.winner]
    assert model.samples == 300


@pytest.mark.parametrize(("make", "spec"), [(som, {"sigma": 0.7, "init": "pca"}), (competitive, {})])
def test_tells_what_it_was_told(make: Make, spec):
    """Clusters that lie apart, units that stay where they are: a few labels name them all."""
    model = make(half_life=1000.0, learning_rate=0.05, **spec)
    x, y = labelled(3000, missing=0.0)
    known = np.arange(3000) % 20 == 0
    out = model.learn(x, np.where(known, y, np.nan))
    assert (out.label[2000:] == y[2000:]).mean() > 0.85  # a tenth of the labels are wrong
    assert model.quality()["label_accuracy"] > 0.7
    later, truth = labelled(500, seed=3, missing=0.0)
    assert (model.predict(later).label == truth).mean() > 0.85


def test_labels_lie_as_the_units_do():
    model = som(grid=(3, 4))
    assert model.labels.tolist() == [[-1] * 4] * 3
    assert model.label_counts.shape == (3, 4, 3)
    out = model.learn([[1.0, 2.0]], [2])
    row, column = out.coords[0]
    assert model.labels[row, column] == 2
    assert model.label_counts[row, column, 2] == pytest.approx(0.5 ** (1 / 30))
    assert (model.labels >= 0).sum() == 1
    assert som(grid=(5,)).labels.shape == (5,)
    assert competitive().label_counts.shape == (12, 3)
    assert sl.SOM(dim=2, grid=(2, 2)).labels.tolist() == [[-1, -1], [-1, -1]]
    assert sl.Competitive(dim=2, units=4).label_counts.shape == (4, 0)


def test_what_counts_more_lately_is_the_label():
    net = competitive(units=1, half_life=5.0)
    net.learn(np.zeros((20, 2)), np.zeros(20))
    reported = net.learn(np.zeros((10, 2)), np.ones(10)).label.tolist()
    assert reported == [0] * 5 + [1] * 5  # half of what there was is forgotten, and as much has come
    assert net.label_counts[0] == pytest.approx(
        [sum(0.5 ** (age / 5) for age in range(11, 31)), sum(0.5 ** (age / 5) for age in range(1, 11)), 0]
    )


def test_equal_counts_are_the_lowest_class():
    net = competitive(units=1, half_life=1e300)
    assert net.learn(np.zeros((4, 2)), [2, 1, 2, 1]).label.tolist() == [-1, 2, 1, 2]
    assert net.labels.tolist() == [1]


def test_one_sample_may_wait_for_one_label_only():
    net = competitive(delay=2)
    net.learn(np.zeros((3, 2)), ids=["a", "b", "c"])
    assert net.learn_targets(["a", "b", "b", "c"], [0, 0, 0, 0]).sample.tolist() == [-1, 1, -1, 2]
    assert net.quality()["unmatched_targets"] == 2
    net.learn(np.zeros((2, 2)), [1, np.nan])
    assert net.learn_targets([3, 4, 4], [0, np.nan, 1]).sample.tolist() == [-1, 4, 4]
    net.learn(np.zeros((2, 2)), ids=["same", "same"])
    assert net.learn_targets(["same"] * 3, [0, 0, 0]).sample.tolist() == [6, 5, -1]


def test_a_label_counts_for_the_unit_that_won_then():
    net = competitive(units=2, init=[[0, 0], [10, 10]], learning_rate=1.0)
    assert net.learn([[1.0, 1.0]], ids=["early"]).winner.tolist() == [0]
    net.learn([[6.0, 6.0], [4.0, 4.0]])
    net.learn_targets("early", [[2]])
    assert net.labels.tolist() == [2, -1]


def test_samples_without_a_winner():
    """A label for one is matched, and teaches nothing."""
    net = competitive()
    assert net.learn([[np.nan, np.nan]] * 2, [1, np.nan]).label.tolist() == [-1, -1]
    assert net.learn_targets([0, 1], [1, 1]).sample.tolist() == [-1, 1]
    assert net.labels.max() == -1
    assert math.isnan(net.quality()["label_accuracy"])


def test_labels_change_nothing_else():
    x, y = labelled(200)
    with_labels, without = som(), som(labels=None)
    out, plain = with_labels.learn(x, y), without.learn(x)
    for name, array in plain.arrays.items():
        assert array.tobytes() == out.arrays[name].tobytes()
    for name, array in without.state.items():
        assert array.tobytes() == with_labels.state[name].tobytes()


def test_drift_is_watched_where_there_is_a_score():
    net = competitive(drift="page_hinkley")
    net.learn(np.zeros((5, 2)))
    before = {name: array.copy() for name, array in net.state.items() if name.startswith("drift")}
    assert "drift" not in net.learn_targets([1], [1]).arrays
    assert all(np.array_equal(net.state[name], array) for name, array in before.items())


def test_what_is_no_label_is_refused():
    net = competitive()
    net.learn(np.zeros((3, 2)))
    before = net.state_hash()
    for wrong, error in (([3], BadValue), ([-1], BadValue), ([0.5], BadValue), (["a"], BadValue)):
        with pytest.raises(error):
            net.learn([[0.0, 0.0]], wrong)
        with pytest.raises(error):
            net.learn_targets([0], wrong)
    with pytest.raises(BadDtype):
        net.learn_targets([0.5], [1])
    with pytest.raises(BadShape):
        net.learn_targets([0, 1], [1])
    with pytest.raises(BadShape):
        net.learn(np.zeros((2, 2)), [1])
    assert net.state_hash() == before
    plain = sl.Competitive(dim=2, units=3)
    for use in (lambda: plain.learn([[0, 0]], [1]), lambda: plain.learn([[0, 0]], ids=[1])):
        with pytest.raises(BadShape, match="leave"):
            use()
    with pytest.raises(BadShape, match="takes no targets"):
        plain.learn_targets([0], [1])


@pytest.mark.parametrize("wrong", [{"labels": 0}, {"labels": 1 << 17}, {"delay": 0}, {"delay": 1 << 20}])
def test_a_wrong_spec_is_refused(wrong):
    with pytest.raises(BadSpec, match=next(iter(wrong))):
        competitive(**wrong)
    with pytest.raises(BadSpec, match="fewer labels"):
        competitive(units=1 << 20, labels=1 << 7)


# names, rare classes, and labels by hand


def test_a_rare_class_does_not_vanish_beside_a_frequent_one():
    """One label of class 1 among 200 of class 0 at the same unit: a majority would never show it."""
    net = competitive(units=2, init=[[0, 0], [10, 0]], learning_rate=0.01, half_life=1e300)
    x = np.zeros((200, 2))
    x[::2, 0] = 10
    net.learn(x, np.zeros(200))
    assert net.labels.tolist() == [0, 0]
    net.learn([[0.1, 0]], [1])
    assert net.labels.tolist() == [1, 0]
    assert net.label_counts[:, 0].sum() > 150
    net.learn(np.zeros((500, 2)), np.zeros(500))  # now class 0 is strongest there too, with a smaller share
    assert net.labels.tolist() == [1, 0]


def test_each_class_keeps_its_strongest_unit():
    """Class 0 has the larger share of no unit, and keeps the first of two equal ones."""
    net = competitive(units=3, init=[[0, 0], [10, 0], [20, 0]], learning_rate=0.01, half_life=1e300)
    for place, k in ((0, 0), (10, 0), (20, 1), (20, 1), (10, 1), (0, 2), (20, 2), (20, 2), (20, 2)):
        net.learn([[place, 0]], [k])
    # shares: class 0 (1/2, 1/2, 0), class 1 (0, 1/3, 2/3), class 2 (1/4, 0, 3/4)
    assert net.labels.tolist() == [0, 0, 2]


def test_names_of_classes():
    net = competitive(labels=["ok", "worn", "leak ü"])
    assert (net.spec.labels, net.spec.label_names) == (3, ("ok", "worn", "leak ü"))
    same = competitive()
    x, y = labelled(60)
    names = np.array(["ok", "worn", "leak ü"])
    net.learn(x, names[y.astype(int)])
    same.learn(x, y)
    assert net.labels.tolist() == same.labels.tolist()
    assert net.label_names == ["ok", "worn", "leak ü"]
    assert same.label_names == ["0", "1", "2"]
    net.learn(x[:2], [None, "worn"])
    net.learn_targets([60], ["leak ü"])
    same.learn(x[:2], [np.nan, 1])
    same.learn_targets([60], [2])
    assert np.array_equal(net.label_counts, same.label_counts)
    with pytest.raises(BadValue, match="y has 'oil', which is no label; the labels are ok, worn, leak ü"):
        net.learn(x[:1], ["oil"])
    assert sl.Competitive(dim=2, units=3).label_names == []
    for wrong in (["a", "a"], ["a" * 33], [""], ["a\n"]):
        with pytest.raises(BadSpec):
            competitive(labels=wrong)
    with pytest.raises(BadSpec):
        competitive(labels=1, label_names=["a", "b"])


def test_labels_by_hand():
    net = competitive(units=3, init=[[0, 0], [10, 0], [20, 0]], learning_rate=0.01)
    net.label("bearing worn", unit=1)
    assert net.label_names == ["bearing worn", "1", "2"]
    assert net.labels.tolist() == [-1, 0, -1]
    net.learn(np.tile([[10.0, 0]], (50, 1)), np.full(50, 2))
    assert net.labels.tolist() == [-1, 0, -1], "a label by hand is kept"
    net.label(None, unit=1)
    assert net.labels.tolist() == [-1, 2, -1]
    net.learn([[20.0, 0], [0.0, 0]], ids=["a", "b"])
    net.label("leak", sample="a")
    assert net.label_names == ["bearing worn", "leak", "2"]
    net.label("bearing worn", x=[0.5, np.nan])
    assert net.labels.tolist() == [0, 2, 1]
    before = net.state_hash()
    net.label("2", sample="a")  # it has its label
    assert net.quality()["unmatched_targets"] == 1
    for wrong in (
        {"unit": 3},
        {"unit": -1},
        {"unit": True},
        {},
        {"unit": 1, "sample": 2},
        {"x": [1, 2, 3]},
        {"sample": 1.5},
    ):
        with pytest.raises((BadValue, BadShape, BadDtype)):
            net.label("leak", **wrong)
    with pytest.raises(BadValue, match="no class left for the label 'oil'"):
        net.label("oil", unit=0)
    with pytest.raises(BadValue, match="only the label of a unit"):
        net.label(None, sample="a")
    for name in ("", "a" * 33, " a", 3):
        with pytest.raises(BadValue):
            net.label(name, unit=0)
    assert net.state_hash() != before
    with pytest.raises(BadValue, match="this rnn has no labels"):
        sl.RNN(dim=1).validate_label("a", 0, None, None)
