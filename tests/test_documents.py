"""What the documents show runs, and what they say of it is so."""

from __future__ import annotations

import re

import pytest

from tests.documents import ROOT, examples


@pytest.mark.parametrize("page", ["README.md", "docs/models.md", "docs/interop.md"])
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
