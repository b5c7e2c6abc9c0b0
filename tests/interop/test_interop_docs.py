"""The examples of docs/interop.md run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "interop.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_example(number):
    exec(compile(EXAMPLES[number], "docs/interop.md", "exec"), {})  # noqa: S102


def test_every_exception_is_told():
    """The checks that do not apply are those of the tests."""
    from tests.interop.test_sklearn import ESTIMATORS

    told = set(re.findall(r"`(check_\w+)`", PAGE))
    assert told == {check for _, reasons in ESTIMATORS.values() for check in reasons}
