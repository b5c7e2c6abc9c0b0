"""The clients' programs in the documents, at a real daemon."""

from __future__ import annotations

import pytest

from streamlearn_client import Client
from tests.documents import examples

pytestmark = pytest.mark.e2e

DEFAULT = '"tcp://127.0.0.1:7700"'


@pytest.mark.parametrize("page", ["README.md", "clients/python/README.md"])
def test_the_first_program_does_what_it_shows(page, serve):
    daemon = serve()
    daemon.ready()
    (program,) = (example for example in examples(page) if example.needs_a_daemon)
    assert DEFAULT in program.source
    names = {}
    program._replace(source=program.source.replace(DEFAULT, repr(daemon.requests))).run(names)
    with Client(daemon.requests) as client:
        there = client.describe("pump")
    assert there["samples"] == len(names["samples"]) == 1000
    assert max(each["lsn"] for each in there["checkpoints"]) == there["applied_lsn"]
    assert len(names["out"].winner) == 1
