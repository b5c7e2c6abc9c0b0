"""The benchmarks run: every suite in quick mode, and rows that name an absent peer.

Modules that compile kernels are imported by the tests that need them: all workers collect this file.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import blocks, report, results, suites, timing

ROOT = Path(__file__).parents[1]
QUICK = timing.Settings(rounds=1, quick=True)


def test_every_suite_has_names_and_finite_numbers_in_every_row(tmp_path):
    file = tmp_path / "results.json"
    command = [sys.executable, "-m", "benchmarks", "--quick", "--json", str(file)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert result.returncode == 0, result.stderr
    found = json.loads(file.read_text())["suites"]
    assert list(found) == suites.chosen(None)
    for name, rows in found.items():
        assert rows, name
        assert f"measuring {name}" in result.stderr  # progress
        for row in rows:
            assert_complete(row)


def assert_complete(row: dict) -> None:
    """A row has names, finite numbers, and a peer's number or the reason why there is none."""
    assert row["name"]
    assert row["unit"]
    numbers = [row["ours"], *(row.get(name, 1.0) for name in ("theirs", "ratio", "low", "high"))]
    numbers += [row["quality"]["ours"]] if "quality" in row else []
    numbers += [row["limit"]["value"]] if "limit" in row else []
    assert all(math.isfinite(number) for number in numbers), row
    assert ("theirs" in row) == ("peer" in row and "absent" not in row), row


def test_an_unknown_suite_is_refused_by_name():
    command = [sys.executable, "-m", "benchmarks", "--only", "sum"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 2
    assert "no suite sum; choose from roof, som" in result.stderr


def test_an_absent_peer_has_a_row_of_its_own():
    ours = timing.Contestant("ours", lambda n: sum(range(n)))
    present = timing.Contestant("present", lambda n: sum(range(n)))
    rows = list(timing.compare("sum", ours, [timing.Absent("gone", "not installed"), present], QUICK))
    assert [(row.peer, row.absent, row.theirs is None) for row in rows] == [
        ("gone", "not installed", True),
        ("present", "", False),
    ]


def test_the_rounds_are_interleaved():
    order = []

    def side(name: str) -> timing.Contestant:
        return timing.Contestant(name, lambda n: order.append(name), iter(range(10_000)).__next__)

    timing.race([side("a"), side("b")], timing.Settings(rounds=3))
    assert "".join(order).endswith("ababab")


def test_a_run_has_as_many_samples_as_asked():
    stream, seen = np.arange(10), []
    timing.over(stream, seen.extend)(23)
    assert seen == [*range(10), *range(10), *range(3)]
    seen.clear()
    timing.one_by_one(list(stream), seen.append)(12)
    assert seen == [*range(10), 0, 1]


# the limits: the compiler did not remove the loops


def test_peak_kernels_compute_what_they_claim():
    """The values are those of the plain loops, so no iteration was left out."""
    from benchmarks import roof

    start = np.arange(6 * 16, dtype=np.float32).reshape(6, 16)
    found, factor, addend = start.copy(), np.float32(0.5), np.float32(3)  # exact: no rounding differs
    roof.fma_peak(5, factor, addend, found)
    expected = start
    for _ in range(5):
        expected = expected * factor + addend
    assert np.array_equal(found, expected)

    values, totals = np.arange(12 * 16, dtype=np.float32).reshape(12, 16), np.empty((6, 16), np.float32)
    roof.distance_peak(2, np.float32(5), values, totals)
    squares = (5 - values) ** 2
    assert np.array_equal(totals, 2 * (squares[:6] + squares[6:]))

    data, sums = np.arange(16 * 16, dtype=np.float32).reshape(16, 16), np.empty((8, 16), np.float32)
    roof.read(3, data, sums)
    assert np.array_equal(sums, 3 * (data[:8] + data[8:]))
    roof.update(2, data, np.float32(2), np.float32(1))
    assert np.array_equal(data, 4 * np.arange(256, dtype=np.float32).reshape(16, 16) + 3)


def test_units_in_reach_agree_with_all_pairs():
    from benchmarks import limits

    rows, columns, sigma = 5, 7, 0.6
    places = np.indices((rows, columns)).reshape(2, -1).T
    d2 = ((places[:, None] - places) ** 2).sum(-1)
    assert limits.units_in_reach(rows, columns, sigma) == (d2 <= (5.25 * sigma) ** 2).sum(1).mean()


def test_the_reference_kernel_learns_as_the_map():
    from benchmarks import som
    from benchmarks.kernels import two_pass

    size = (7, 5, 3)
    samples = np.random.default_rng(1).random((200, 3), dtype=np.float32)
    map_ = som.som(size)
    weights = som.blocks_of_16(np.array(map_.weights.reshape(-1, 3)))
    place = np.indices(size[:2]).reshape(2, -1, 1).astype(np.float32)
    grid = np.stack([som.blocks_of_16(axis)[:, 0] for axis in place])
    two_pass.learn(samples, weights, grid, np.float32(som.RATE), np.float32(som.SIGMA))
    map_.learn(samples)
    assert np.allclose(som.from_blocks(weights, 35), map_.weights.reshape(-1, 3), atol=1e-5)


# the documents


@pytest.mark.parametrize("page", report.PAGES)
def test_the_tables_of_the_documents_are_the_committed_results(page):
    """`python -m benchmarks.report` writes them."""
    text = (ROOT / page).read_text()
    assert blocks.names(text, report.KIND)
    assert report.render(text, report.load()) == text


def test_a_suite_that_was_not_measured_is_named():
    run = results.Run(QUICK)
    run.add("som", timing.Row("learn", 1.0))
    found = report.Results(json.loads(run.as_json()), {"suites": {}})
    assert "Not measured in this run: competitive." in report.comparisons("som", "competitive")(found)


def test_a_table_shows_the_earlier_ratio_beside_the_present_one():
    row = timing.Row("learn", 200.0, peer="Other", theirs=20.0, ratio=10.0)
    both = [results.Run(QUICK), results.Run(QUICK)]
    both[0].add("som", row)
    both[1].add("som", timing.Row("learn", 100.0, peer="Other", theirs=20.0, ratio=5.0))
    found = report.Results(*(json.loads(run.as_json()) for run in both))
    assert report.comparisons("som")(found).splitlines() == [
        "| measurement | compared with | streamlearn | other | ratio | before |",
        "| --- | --- | --- | --- | --- | --- |",
        "| learn | Other | 200 samples/s | 20 | 10 | 5 |",
    ]


def test_suites_that_do_not_run_again_keep_their_results():
    first, second = results.Run(QUICK), results.Run(QUICK)
    first.add("som", timing.Row("kept", 1.0))
    second.add("roof", timing.Row("new", 2.0))
    found = json.loads(second.as_json(first.as_json()))["suites"]
    assert {name: [row["name"] for row in rows] for name, rows in found.items()} == {
        "roof": ["new"],
        "som": ["kept"],
    }
