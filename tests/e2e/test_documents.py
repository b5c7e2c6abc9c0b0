"""The client programs in the documentation, run against a real daemon."""

from __future__ import annotations

import numpy as np
import pytest

from streamlearn_client import Client
from tests.documents import examples
from tests.e2e.daemon_process import SECONDS

pytestmark = pytest.mark.e2e

DEFAULT = '"tcp://127.0.0.1:7700"'


def test_a_look_into_a_live_model(serve, tmp_path):
    daemon = serve()
    daemon.ready()
    with Client(daemon.requests) as client:
        client.create("pump", "som", dim=8, grid=[10, 10], scale="standard")
        with client.stream("pump") as stream:  # numbered batches put a producer table into the checkpoint
            stream.push_many(np.random.default_rng(1).normal(size=(500, 8)))
        live = client.describe("pump")["state_hash"]
    (program,) = examples("docs/operations.md")
    source = program.source.replace(DEFAULT, repr(daemon.requests))
    names = {}
    program._replace(source=source.replace("streamlearn-data", f"{tmp_path}/daemon/data")).run(names)
    assert names["som"].state_hash() == live
    with pytest.raises(StopIteration):
        next(names["files"])


@pytest.mark.parametrize("page", ["README.md", "clients/python/README.md"])
def test_the_first_program_does_what_it_shows(page, serve):
    daemon = serve()
    daemon.ready()
    (program,) = (example for example in examples(page) if example.needs_a_daemon)
    assert DEFAULT in program.source
    names = {}
    program._replace(source=program.source.replace(DEFAULT, repr(daemon.requests))).run(names)
    with Client(daemon.requests, timeout=SECONDS) as client:
        there = client.describe("pump")
    assert there["samples"] == len(names["samples"]) == 1000
    assert max(each["lsn"] for each in there["checkpoints"]) == there["applied_lsn"]
    assert len(names["out"].winner) == 1
