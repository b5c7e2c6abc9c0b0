"""The demo's own arithmetic, against other libraries and against results with a known verdict."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from sklearn.metrics import roc_auc_score

from streamlearn.cli.demo import data
from streamlearn.cli.demo.alarm import Alarm
from streamlearn.cli.demo.checks import OneStepErrors, Quality, one_step_errors, roc_auc, run_checks
from streamlearn.cli.demo.models import LSTM, MAP, NET
from streamlearn.cli.demo.query_client import Outage, statistics
from streamlearn.cli.demo.scenario import Kill, ModelResult, Results
from streamlearn.cli.demo.umatrix import Image, draw, images, save_png
from streamlearn.store.diagnostic import Diagnostic

# the data


def test_shuttle():
    x, anomaly = data.shuttle()
    assert (x.shape, x.dtype, int(anomaly.sum())) == ((49_097, 9), np.float32, 3_511)
    assert x[0].tolist() == [50, 21, 77, 0, 28, 0, 27, 48, 22]
    assert anomaly[:2].tolist() == [True, False]


def test_water_keeps_its_gaps():
    from river import datasets

    water = data.water()
    assert (water.x.shape, water.x.dtype, water.readings) == ((1_378, 1), np.float32, 1_268)
    read = {features["Time"].timestamp() // 3600: flow for features, flow in datasets.WaterFlow()}
    first = min(read)
    changes = [read.get(first + i + 1, np.nan) - read.get(first + i, np.nan) for i in range(1_378)]
    np.testing.assert_array_equal(water.x[:, 0], np.array(changes, np.float32))
    assert int(np.isnan(water.x).sum()) == 121


def test_without_river_the_error_names_the_extra():
    program = (
        "import sys; sys.modules['river'] = None; from streamlearn.cli import main; sys.exit(main(['demo']))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert "pip install 'streamlearn[demo]'" in result.stderr
    assert "Traceback" not in result.stderr


# the measures


@given(st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), min_size=1, max_size=50))
def test_roc_auc_is_scikit_learns(pairs):
    positive, score = (np.array(column) for column in zip(*pairs, strict=True))
    if positive.all() or not positive.any():
        assert np.isnan(roc_auc(positive, score))
    else:
        assert roc_auc(positive, score) == pytest.approx(roc_auc_score(positive, score), abs=1e-12)


def test_one_step_errors_use_known_values_of_the_second_half():
    nan = np.nan
    changes = np.array([9, 9, 9, 1, nan, -3], np.float32)[:, None]
    forecast = np.array([0, 0, 0, 0.5, 7, -2], np.float32)[:, None]
    assert one_step_errors(changes, forecast) == OneStepErrors(model=0.75, persistence=2.0, forecasts=2)


def test_queries_that_met_an_outage_are_counted_apart():
    rows = np.array(
        [  # began, seconds, model, lsn, answered
            [0.0, 0.1, 0, 1, 1],
            [1.0, 0.2, 1, 5, 1],
            [2.0, 3.0, 0, 4, 1],  # sent before the kill, answered after the restart
            [6.0, 0.3, 1, 5, 1],
            [7.0, 0.4, 0, 3, 1],  # from an older state than 4
            [8.0, 9.0, 1, 0, 0],
        ]
    )
    queries = statistics(rows, [Outage(2.5, 4.5)])
    assert (queries.sent, queries.answered, queries.over_outage) == (6, 5, 1)
    assert queries.longest_over_outage == 3.0
    assert queries.p50 == pytest.approx(0.25)
    assert queries.longest == pytest.approx(0.4)
    assert queries.phases == (2, 2)
    assert queries.reversals == 1
    assert queries.states == 4


# the images


def test_images_count_wins_and_anomalies_by_unit():
    u_matrix = np.array([[0.5, 1.0], [2.0, 0.0]], np.float32)
    winner = np.array([0, 0, 0, 3, -1], np.int32)
    anomaly = np.array([True, False, False, True, True])
    drawn = images(u_matrix, winner, anomaly)
    np.testing.assert_array_equal(drawn[0].values, u_matrix)
    np.testing.assert_allclose(drawn[1].values, [[1 / 3, np.nan], [np.nan, 1.0]])


def test_an_image_without_colours_uses_shades():
    console = Console(width=100, color_system=None, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(draw([Image("levels", np.array([[0.0, 0.3], [np.nan, 1.0]]))]))
    lines = [line.rstrip() for line in console.export_text().splitlines()]
    assert lines[0] == "levels"
    assert lines[1:3] == ["  ░░", "· ██"]
    assert lines[4].startswith("0.00 ")
    assert lines[4].endswith(" 1.00")


def test_a_constant_image_can_be_drawn():
    Console(color_system=None, quiet=True).print(draw([Image("flat", np.ones((2, 2)))]))


def test_the_png_is_one(tmp_path):
    path = tmp_path / "new" / "map.png"
    save_png([Image("levels", np.arange(4.0).reshape(2, 2))], path)
    assert path.read_bytes().startswith(b"\x89PNG")


# the checks

GOOD = Quality({MAP: 0.98, NET: 0.7}, OneStepErrors(0.47, 0.5, 571))


def result(name, acknowledged=100, learned=100, state="a"):
    return ModelResult(
        model=SimpleNamespace(name=name, kind="som", x=np.zeros((100, 1))),
        sent=100,
        acknowledged=acknowledged,
        resent=1,
        seconds=1.0,
        description={"samples": learned, "state_hash": state, "quality": {}},
        reference=SimpleNamespace(state_hash="a", seconds=0.1),
    )


def results(**changes):
    rows = np.array([[0.0, 0.1, 0, 1, 1], [5.0, 0.1, 0, 2, 1]])
    good = Results(
        models=[result(MAP), result(NET), result(LSTM)],
        full_speed=result("full-speed"),
        kills=[Kill(-9, 50, 7, 52, Outage(1.0, 2.0))],
        queries=statistics(rows, [Outage(1.0, 2.0)]),
        events=100,
        events_equal=True,
        exit_code=0,
        findings=[],
        seconds=3.0,
        alarm=Alarm("temperature", 1, 0.9, 65.0, 57.0, 57.2),
    )
    return replace(good, **changes)


def test_good_results_keep_every_promise():
    assert [check.text for check in run_checks(results(), GOOD) if not check.passed] == []


@pytest.mark.parametrize(
    ("changes", "quality", "broken"),
    [
        ({"full_speed": result("x", acknowledged=99, learned=99)}, GOOD, ["every sample is acknowledged"]),
        ({"full_speed": result("x", learned=99)}, GOOD, ["every acknowledged sample is learned"]),
        ({"full_speed": result("x", learned=101)}, GOOD, ["no sample is learned twice"]),
        (
            {"full_speed": result("x", state="b")},
            GOOD,
            ["each model equals the uninterrupted run bit for bit"],
        ),
        (
            {"kills": [Kill(-9, 50, 7, 49, Outage(1.0, 2.0))]},
            GOOD,
            ["samples acknowledged before kill -9 are recovered after it"],
        ),
        ({"events_equal": False}, GOOD, ["published scores equal those of the uninterrupted run"]),
        ({"alarm": None}, GOOD, ["an alarm names the channel of a fault and the expected value"]),
        (
            {"alarm": Alarm("flow", 1, 0.9, 65.0, 57.0, 57.2)},
            GOOD,
            ["an alarm names the channel of a fault and the expected value"],
        ),
        ({"exit_code": 1}, GOOD, ["the daemon stops cleanly and leaves undamaged files"]),
        (
            {"findings": [Diagnostic("damage", "journal", "record 3 cannot be read")]},
            GOOD,
            ["the daemon stops cleanly and leaves undamaged files"],
        ),
        (
            {"queries": statistics(np.array([[0.0, 0.1, 0, 1, 1]]), [Outage(1.0, 2.0)])},
            GOOD,
            ["the daemon answers queries while it learns, before and after kill -9"],
        ),
        (
            {"queries": statistics(np.array([[0.0, 0.1, 0, 2, 1], [5.0, 0.1, 0, 1, 1]]), [Outage(1.0, 2.0)])},
            GOOD,
            ["no answer comes from an older state than the answer before it"],
        ),
        ({}, GOOD._replace(auc={MAP: 0.5, NET: 0.9}), [f"{MAP}'s score ranks the labelled anomalies"]),
        ({}, GOOD._replace(auc={MAP: float("nan")}), [f"{MAP}'s score ranks the labelled anomalies"]),
        (
            {},
            GOOD._replace(forecast=OneStepErrors(0.5, 0.5, 9)),
            [f"{LSTM} forecasts better than persistence"],
        ),
    ],
)
def test_a_broken_promise_is_named(changes, quality, broken):
    assert [check.text for check in run_checks(results(**changes), quality) if not check.passed] == broken
