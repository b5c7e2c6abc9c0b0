"""A daemon with thousands of models: lists and counters come in parts, in the order of the names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from streamlearn.daemon.operations.read_operations import PAGE
from streamlearn.store import FS, Journal, Record, RecordKind
from streamlearn_client import Client
from tests.daemon.harness import Running

MODELS = 4200  # more than a MessagePack map of an answer may have


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory: Path = tmp_path_factory.mktemp("crowd")
    journal = Journal.open(FS(), directory / "journal")
    payload = json.dumps({"kind": "sum", "spec": {"dim": 1}}).encode()
    names = np.random.default_rng(1).permutation(MODELS)
    journal.append(
        [Record(RecordKind.CREATE, lsn, 1, f"m{n}", payload=payload) for lsn, n in enumerate(names, 1)]
    )
    journal.sync()
    journal.close()
    running = Running(directory, limits={"models": MODELS + 1})
    yield running
    running.stop()
    assert len(running.checkpoints.models()) == MODELS
    assert running.daemon.unsaved_models() == []


def test_the_client_gets_all_models_and_all_counters(crowd: Running) -> None:
    names = sorted(f"m{n}" for n in range(MODELS))
    crowd.wire.learn(np.ones((3, 1), np.float32), "m4100")
    with Client(crowd.endpoints["requests"]) as client:
        assert [model["name"] for model in client.models()] == names
        stats = client.stats()
        assert list(stats["models"]) == names
        assert stats["models"]["m4100"]["received"] == 3
        assert sum(model["learned"] for model in stats["models"].values()) == 3
        assert "more" not in stats
        assert list(client.stats("m4100")["models"]) == ["m4100"]
        assert client.describe("m4100")["samples"] == 3
        assert client.checkpoints("m4100") == []


def test_an_answer_has_a_part_of_the_models(crowd: Running) -> None:
    names = sorted(f"m{n}" for n in range(MODELS))
    for op in ("models", "stats"):
        found: list[str] = []
        answer = crowd.wire.call(op)
        while True:
            page = [each["name"] for each in answer["models"]] if op == "models" else list(answer["models"])
            assert len(page) <= PAGE
            found += page
            if not answer["more"]:
                break
            answer = crowd.wire.call(op, after=found[-1])
        assert found == names
        assert not crowd.wire.call(op, after=names[-1])["models"]
