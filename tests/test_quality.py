"""The benchmarks of learning quality: every table in quick mode, and how results are written."""

from __future__ import annotations

import math

import pytest

from benchmarks import blocks
from benchmarks.quality import cli, report, results, tables

QUICK = tables.Settings(quick=True)


@pytest.mark.parametrize("name", tables.names())
def test_every_table_has_rows_with_finite_figures(name):
    table = tables.load(name)
    rows = list(table.rows(QUICK))
    assert table.title
    assert rows
    for row in rows:
        assert row.case
        assert row.figures
        numbers = [value for value in row.figures.values() if isinstance(value, float | int)]
        assert all(math.isfinite(value) for value in numbers), row
    assert results.from_json(results.as_json(QUICK, {name: rows}))[name]
    for claim in table.claims(rows):
        assert claim.text
        assert claim.measured


ROWS = [
    tables.Row("waves", {"ours": 0.12345678, "river": 1234.0}, "two seasons"),
    tables.Row("noise", {"ours": 1.5, "PyTorch": None}, "two seasons"),
    tables.Row("noise", {"ours": "none"}, "no season"),
]


def test_a_table_in_markdown_has_its_parts_and_claims():
    claims = [tables.Claim("at most 1", "1.5", False), tables.Claim("at most 2", "1.5", True)]
    assert results.markdown(ROWS, claims) == (
        "**two seasons**\n\n"
        "|  | ours | river | PyTorch |\n| --- | --- | --- | --- |\n"
        "| waves | 0.123 | 1,234 |  |\n| noise | 1.5 |  |  |\n\n"
        "**no season**\n\n"
        "|  | ours |\n| --- | --- |\n| noise | none |\n\n"
        "- at most 1: 1.5 (**not reached**)\n- at most 2: 1.5\n"
    )


def test_results_survive_json_and_tables_that_do_not_run_again_are_kept():
    earlier = results.as_json(QUICK, {"alarms": ROWS, "score": ROWS[:1]})
    found = results.from_json(results.as_json(QUICK, {"score": ROWS[1:]}, earlier))
    assert found["score"] == ROWS[1:]
    assert found["alarms"][0].figures == {"ours": 0.123457, "river": 1234.0}


@pytest.mark.parametrize("page", report.PAGES)
def test_the_tables_of_the_documents_are_the_committed_results(page):
    """`python -m benchmarks.quality.report` writes them."""
    text = (report.ROOT / page).read_text()
    assert blocks.names(text, report.KIND)
    assert report.render(text, report.DATA.read_text()) == text


def test_a_block_without_an_end_is_refused():
    """The text after it would be replaced, too."""
    page = "<!-- quality: a -->\nfirst\n<!-- quality end -->\n## Score\n<!-- quality: b -->\nsecond\n"
    whole = f"{page}<!-- quality end -->\n"
    begin, end = "<!-- quality: {} -->\n", "<!-- quality end -->\n"
    written = f"{begin.format('a')}A\n{end}## Score\n{begin.format('b')}B\n{end}"
    assert blocks.rewrite(whole, "quality", lambda name: f"{name.upper()}\n") == written
    for broken in (page, page.replace("<!-- quality end -->\n", "") + "<!-- quality end -->\n"):
        with pytest.raises(ValueError, match="needs a line <!-- quality end -->"):
            blocks.rewrite(broken, "quality", str.upper)


def test_a_page_shows_every_table():
    pages = [(report.ROOT / page).read_text() for page in report.PAGES]
    shown = [name for page in pages for name in blocks.names(page, report.KIND)]
    assert sorted(set(shown) - {"machine"}) == tables.names()


def test_an_unknown_table_is_refused_by_name(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--only", "scores"])
    assert "no table scores; choose from " in capsys.readouterr().err


def test_a_block_without_results_is_named():
    page = "<!-- quality: forecasts -->\nold\n<!-- quality end -->\n"
    data = results.as_json(QUICK, {})
    assert report.render(page, data) == (
        "<!-- quality: forecasts -->\nNot measured: forecasts.\n<!-- quality end -->\n"
    )
