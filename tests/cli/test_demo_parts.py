"""The demo's own arithmetic, against other libraries and against stories with a known end."""

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
from streamlearn.cli.demo.cast import LSTM, MAP, NET
from streamlearn.cli.demo.measure import OneStep, one_step, roc_auc
from streamlearn.cli.demo.promises import Quality, promises
from streamlearn.cli.demo.questions import Outage, digest
from streamlearn.cli.demo.story import Killed, Played, Story
from streamlearn.cli.demo.umatrix import Picture, draw, pictures, save_png
from streamlearn.store.finding import Finding

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


def test_without_river_it_says_what_to_install():
    program = (
        "import sys; sys.modules['river'] = None; from streamlearn.cli import main; sys.exit(main(['demo']))"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert said.returncode == 1
    assert "pip install 'streamlearn[demo]'" in said.stderr
    assert "Traceback" not in said.stderr


# the measures


@given(st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), min_size=1, max_size=50))
def test_roc_auc_is_scikit_learns(pairs):
    positive, score = (np.array(column) for column in zip(*pairs, strict=True))
    if positive.all() or not positive.any():
        assert np.isnan(roc_auc(positive, score))
    else:
        assert roc_auc(positive, score) == pytest.approx(roc_auc_score(positive, score), abs=1e-12)


def test_one_step_looks_at_the_second_half_and_at_what_is_known():
    nan = np.nan
    changes = np.array([9, 9, 9, 1, nan, -3], np.float32)[:, None]
    forecast = np.array([0, 0, 0, 0.5, 7, -2], np.float32)[:, None]
    assert one_step(changes, forecast) == OneStep(model=0.75, persistence=2.0, forecasts=2)


def test_answers_are_told_apart_by_the_outage_they_fell_into():
    seen = np.array(
        [  # began, seconds, model, lsn, answered
            [0.0, 0.1, 0, 1, 1],
            [1.0, 0.2, 1, 5, 1],
            [2.0, 3.0, 0, 4, 1],  # asked before the kill, answered after the restart
            [6.0, 0.3, 1, 5, 1],
            [7.0, 0.4, 0, 3, 1],  # knows less than 4
            [8.0, 9.0, 1, 0, 0],
        ]
    )
    answers = digest(seen, [Outage(2.5, 4.5)])
    assert (answers.asked, answers.answered, answers.over_kill) == (6, 5, 1)
    assert answers.longest_over_kill == 3.0
    assert answers.p50 == pytest.approx(0.25)
    assert answers.longest == pytest.approx(0.4)
    assert answers.phases == (2, 2)
    assert answers.went_back == 1
    assert answers.states == 4


# the pictures


def test_pictures_count_who_won_what():
    u_matrix = np.array([[0.5, 1.0], [2.0, 0.0]], np.float32)
    winner = np.array([0, 0, 0, 3, -1], np.int32)
    anomaly = np.array([True, False, False, True, True])
    drawn = pictures(u_matrix, winner, anomaly)
    np.testing.assert_array_equal(drawn[0].values, u_matrix)
    np.testing.assert_allclose(drawn[1].values, [[1 / 3, np.nan], [np.nan, 1.0]])


def test_a_picture_in_a_terminal_without_colours_tells_levels_by_shade():
    console = Console(width=100, color_system=None, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(draw([Picture("levels", np.array([[0.0, 0.3], [np.nan, 1.0]]))]))
    lines = [line.rstrip() for line in console.export_text().splitlines()]
    assert lines[0] == "levels"
    assert lines[1:3] == ["  ░░", "· ██"]
    assert lines[4].startswith("0.00 ")
    assert lines[4].endswith(" 1.00")


def test_a_picture_of_one_level_can_be_drawn():
    Console(color_system=None, quiet=True).print(draw([Picture("flat", np.ones((2, 2)))]))


def test_the_png_is_one(tmp_path):
    path = tmp_path / "new" / "map.png"
    save_png([Picture("levels", np.arange(4.0).reshape(2, 2))], path)
    assert path.read_bytes().startswith(b"\x89PNG")


# the promises

GOOD = Quality({MAP: 0.98, NET: 0.7}, OneStep(0.47, 0.5, 571))


def played(name, acknowledged=100, learned=100, state="a"):
    return Played(
        role=SimpleNamespace(name=name, kind="som", x=np.zeros((100, 1))),
        sent=100,
        acknowledged=acknowledged,
        resent=1,
        seconds=1.0,
        found={"samples": learned, "state_hash": state, "quality": {}},
        twin=SimpleNamespace(state_hash="a", seconds=0.1),
    )


def story(**changes):
    seen = np.array([[0.0, 0.1, 0, 1, 1], [5.0, 0.1, 0, 2, 1]])
    kept = Story(
        played=[played(MAP), played(NET), played(LSTM)],
        burst=played("full-speed"),
        kills=[Killed(-9, 50, 7, 52, Outage(1.0, 2.0))],
        answers=digest(seen, [Outage(1.0, 2.0)]),
        published=100,
        published_well=True,
        stopped=0,
        findings=[],
        seconds=3.0,
    )
    return replace(kept, **changes)


def test_a_good_story_keeps_every_promise():
    assert [promise.text for promise in promises(story(), GOOD) if not promise.kept] == []


@pytest.mark.parametrize(
    ("changes", "quality", "broken"),
    [
        ({"burst": played("x", acknowledged=99, learned=99)}, GOOD, ["every sample is acknowledged"]),
        ({"burst": played("x", learned=99)}, GOOD, ["what was acknowledged is learned"]),
        ({"burst": played("x", learned=101)}, GOOD, ["nothing is learned twice"]),
        (
            {"burst": played("x", state="b")},
            GOOD,
            ["each model is, bit for bit, the one of an uninterrupted run"],
        ),
        (
            {"kills": [Killed(-9, 50, 7, 49, Outage(1.0, 2.0))]},
            GOOD,
            ["what was acknowledged before kill -9 is there after it"],
        ),
        ({"published_well": False}, GOOD, ["what it publishes is what the uninterrupted model says"]),
        ({"stopped": 1}, GOOD, ["it stops cleanly, and what it leaves on disk is sound"]),
        (
            {"findings": [Finding("damage", "journal", "record 3 cannot be read")]},
            GOOD,
            ["it stops cleanly, and what it leaves on disk is sound"],
        ),
        (
            {"answers": digest(np.array([[0.0, 0.1, 0, 1, 1]]), [Outage(1.0, 2.0)])},
            GOOD,
            ["it answers while it learns, before and after kill -9"],
        ),
        (
            {"answers": digest(np.array([[0.0, 0.1, 0, 2, 1], [5.0, 0.1, 0, 1, 1]]), [Outage(1.0, 2.0)])},
            GOOD,
            ["no answer knows less than the one before"],
        ),
        ({}, GOOD._replace(auc={MAP: 0.5, NET: 0.9}), [f"{MAP}'s score ranks the labelled anomalies"]),
        ({}, GOOD._replace(auc={MAP: float("nan")}), [f"{MAP}'s score ranks the labelled anomalies"]),
        ({}, GOOD._replace(forecast=OneStep(0.5, 0.5, 9)), [f"{LSTM} forecasts better than persistence"]),
    ],
)
def test_a_broken_promise_is_named(changes, quality, broken):
    assert [promise.text for promise in promises(story(**changes), quality) if not promise.kept] == broken
