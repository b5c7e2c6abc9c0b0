"""The lists in the sources of the C client are those of the protocol."""

from __future__ import annotations

import re

import numpy as np

from streamlearn_client.errors import NoAnswer, ProtocolError, StreamLost, WrongProcess, by_code
from streamlearn_client.protocol.messages import OPS
from streamlearn_client.protocol.names import EVENT_KINDS
from tests.clients_c.programs import C

PROTOCOL = (C.parents[1] / "docs/protocol.md").read_text()
TYPES = {str: "s", int: "i", float: "f", dict: "m", bool: "b", list: "l", np.ndarray: "a", object: "k"}
OF_THE_CLIENT = {each.code for each in (NoAnswer, ProtocolError, StreamLost, WrongProcess)}


def texts(file: str, name: str) -> list[str]:
    """Return the texts of an array in a source."""
    found = re.search(rf"{name}\[\] = \{{(.*?)\}};", (C / file).read_text(), re.DOTALL)
    assert found, f"{file} has no {name}"
    return re.findall(r'"([^"]+)"', found[1])


def test_kinds_of_events():
    assert texts("src/events.c", "event_kinds") == list(EVENT_KINDS)


def test_error_codes():
    assert set(texts("src/errors.c", "codes")) == set(by_code) - OF_THE_CLIENT


def test_operations_that_may_be_repeated():
    sentence = re.search(r"\n([^\n]*) may be sent again at any time", PROTOCOL)
    assert sentence
    repeatable = set(re.findall(r"`(\w+)`", sentence[1]))
    assert set(texts("src/operations.c", "ops")) == repeatable - {"checkpoint"}  # only without a name


def test_the_reader_of_requests_has_the_fields_of_each_operation():
    rows = re.findall(r'\{"(\w+)",\s*"([^"]*)"\}', (C / "tests/request_reader.c").read_text())
    expected = {
        name: {
            f"{field}:{TYPES[kind]}{'!' if field in op.required and name != 'learn' else ''}"
            for field, kind in op.fields.items()
        }
        for name, op in OPS.items()
    }
    assert {name: set(fields.split()) for name, fields in rows} == expected
