"""The JSON of the C client, for specs and fields of requests: it has the same values as Python's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from streamlearn_client.protocol import as_identifiers
from tests.clients_c.programs import output_of

VALUES = [
    None, True, False, 0, 1, -1, -32, -33, 127, 128, 255, 256, -128, -129, 65535, 65536, -32768, -32769,
    2**31, 2**32, -(2**31) - 1, 2**53 + 1, 2**63 - 1, -(2**63), 2**64 - 1,
    0.5, -0.0, 1e300, -2.5e-10, 5e-324, 0.1, 1.0,
    "", "a", 'with "quotes", \\ and /', "line\nbreak\ttab\x01", "ü", "日本語", "😀",
    "x" * 31, "x" * 32, "x" * 300, "x" * 70_000,
    [], {}, [[]], {"a": {}}, [1, [2, [3, None]]], list(range(20)), {f"k{i}": i for i in range(40)},
    {"dim": 8, "grid": [10, 10], "learning_rate": {"start": 0.5, "end": 0.02, "tau": 5000}, "scale": None},
]  # fmt: skip
REFUSED = [
    "", "nul", "tru", "01", "1.", ".5", "+1", "1e", "--1", "NaN", "Infinity", "1e999",
    str(2**64), str(-(2**63) - 1), "[1,]", "[1 2]", "[1", "{", '{"a"}', '{"a":}', "{a: 1}", '{"a": 1,}',
    '"open', '"\\x"', '"\\u12"', '"\\ud800"', '"\\ud800\\u0041"', "1 2", "[1]]", '"\x01"',
    "[" * 40 + "]" * 40,
]  # fmt: skip


def answers(build: Path, texts: list[str]) -> list[dict[str, Any]]:
    lines = "".join(f'{{"file": "json", "entry": {text}}}\n' for text in texts)
    return [json.loads(line) for line in output_of(build / "vectors", input=lines).splitlines()]


@pytest.mark.parametrize("ascii", [True, False])
def test_values_are_read_and_written_as_python_does(sanitized, ascii):
    found = answers(sanitized, [json.dumps(value, ensure_ascii=ascii) for value in VALUES])
    for value, answer in zip(VALUES, found, strict=True):
        assert answer["json"] == value
        assert type(answer["json"]) is type(value)


def test_text_that_is_not_json_is_refused(sanitized):
    for text, answer in zip(REFUSED, answers(sanitized, REFUSED), strict=True):
        assert answer.get("problem"), text


def test_the_number_of_a_text_is_that_of_the_protocol(sanitized):
    texts = ["", "press 7", "öfen", *("k" * length for length in range(120, 140)), "k" * 256, "k" * 300]
    found = [answer["identifier"] for answer in answers(sanitized, [json.dumps(text) for text in texts])]
    assert found == [str(number) for number in as_identifiers(texts, len(texts), "keys").tolist()]
