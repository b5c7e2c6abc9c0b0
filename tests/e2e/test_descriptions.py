"""The typed maps of the client have the names that a daemon sends, and values of their types."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NotRequired, Union

import numpy as np
import pytest

from streamlearn_client import Client, descriptions
from tests.e2e.daemon_process import DaemonProcess

pytestmark = pytest.mark.e2e

X = np.random.default_rng(3).normal(size=(50, 2))


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with DaemonProcess(tmp_path_factory.mktemp("daemon")) as daemon:
        daemon.ready()
        with Client(daemon.requests) as client:
            yield client


def assert_has(kind: Any, value: Any, where: str) -> None:
    """Check the names and types of a value, as its annotation says."""
    origin = typing.get_origin(kind)
    if typing.is_typeddict(kind):
        assert isinstance(value, dict), where
        hints = typing.get_type_hints(kind)
        assert kind.__required_keys__ <= value.keys() <= hints.keys(), (where, value.keys() ^ hints.keys())
        for name in value:
            assert_has(hints[name], value[name], f"{where}.{name}")
    elif origin is NotRequired:
        assert_has(typing.get_args(kind)[0], value, where)
    elif origin in (Union, types.UnionType):
        assert any(typing.is_typeddict(each) or isinstance(value, each) for each in typing.get_args(kind)), (
            where
        )
    elif origin is list:
        for each in value:
            assert_has(typing.get_args(kind)[0], each, f"{where}[]")
    elif origin is dict:
        assert isinstance(value, dict), where
    elif kind is float:
        assert isinstance(value, float | int), where
    else:
        assert isinstance(value, kind), (where, value)


def test_the_maps_are_as_their_types_say(client, tmp_path):
    assert_has(descriptions.DaemonInfo, client.hello(), "hello")
    created = client.create("pump", kind="som", dim=2, grid=[3, 3], labels=["ok"])
    assert_has(descriptions.ModelChange, created, "create")
    lsn = client.learn("pump", X).lsn
    changes = {
        "reheat": client.reheat("pump"),
        "pause": client.pause("pump", idempotency_key="a"),
        "resume": client.resume("pump"),
        "feedback": client.feedback("pump", X[:1], "normal"),
        "label": client.label("pump", "ok", unit=1),
        "clone": client.clone("pump", "copy"),
    }
    for name, change in changes.items():
        assert_has(descriptions.ModelChange, change, name)
    assert_has(descriptions.NamedCheckpoint, client.checkpoint("pump", "good"), "checkpoint")
    assert_has(descriptions.ModelDescription, client.describe("pump"), "describe")
    assert_has(list[descriptions.ModelSummary], client.models(), "models")
    assert_has(list[descriptions.CheckpointInfo], client.checkpoints("pump"), "checkpoints")
    assert_has(descriptions.Restored, client.restore("pump", lsn=lsn), "restore")
    assert_has(descriptions.Restored, client.restore("pump", name="good", into="other"), "restore into")
    assert_has(descriptions.NamedCheckpoint, client.unpin("pump", "good"), "unpin")
    assert_has(descriptions.ExportedFile, client.export("pump", Path(tmp_path, "file")), "export")


def test_a_wrong_name_is_noticed(client):
    client.create("any", kind="som", dim=2, grid=[3, 3])
    (summary, *_) = client.models()
    with pytest.raises(AssertionError, match="models"):
        assert_has(descriptions.ModelSummary, {**summary, "sampels": 1}, "models")
