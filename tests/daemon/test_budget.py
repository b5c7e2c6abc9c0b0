"""The memory budget: accounts, the default, and what a daemon refuses when an account is full."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zmq

from streamlearn import models
from streamlearn.daemon.config import LimitSettings, Settings
from streamlearn.daemon.limits import system_memory
from streamlearn.daemon.limits.budget import LEAST_BYTES, SHARES, Budget, frame_bytes, queue_bytes
from streamlearn.daemon.limits.model_memory import state_bytes
from streamlearn.daemon.network.sockets import receive_hwm
from streamlearn.errors import BadConfig, Busy, TooLarge
from streamlearn_client.protocol import Learn, Request
from tests.daemon.harness import Running
from tools.waiting import wait_for

MIB = 1 << 20
SOM = {"dim": 8, "grid": [10, 10]}


@pytest.fixture
def small(serve: Callable[..., Running]) -> Running:
    """A daemon with 64 MiB for everything, the fixed part excluded, and real models."""
    return serve(models=models, limits=LimitSettings(memory_bytes=64 * MIB, unread_bytes=MIB))


def accounts(running: Running) -> dict[str, dict[str, int]]:
    return dict(running.wire.call("stats")["memory"]["accounts"])


def test_an_account_refuses_what_does_not_fit() -> None:
    account = Budget(1 << 30).queries
    account.limit = 100
    account.reserve(60, "this", "wait")
    with pytest.raises(Busy, match=r"this needs 50 bytes.*limits\.memory_bytes.*wait") as busy:
        account.reserve(50, "this", "wait")
    assert busy.value.detail == {
        "limit": "limits.memory_bytes",
        "account": "queries",
        "bytes": 50,
        "most": 100,
    }
    with pytest.raises(TooLarge):
        account.reserve(101, "this", "wait")
    account.release(20)
    account.reserve(50, "this", "wait")
    assert account.to_map() == {"used": 90, "limit": 100, "peak": 90, "refused": 2}


def test_the_shares_leave_room_for_what_is_not_counted() -> None:
    assert 0.9 < sum(SHARES.values()) < 0.95
    budget = Budget(1000 * MIB, 200 * MIB)
    assert budget.models.limit == int(0.3 * 800 * MIB)


def test_a_budget_below_the_fixed_part_is_refused() -> None:
    with pytest.raises(BadConfig, match=r"raise limits\.memory_bytes to 264\d+ or more"):
        Budget(200 * 10**6, 200 * 10**6 - 3 * 10**6)
    Budget(200 * 10**6 + LEAST_BYTES, 200 * 10**6)


def test_frames_are_small_beside_the_memory() -> None:
    settings = Settings(limits=LimitSettings(memory_bytes=512 * MIB))
    assert frame_bytes(settings) == 2 * MIB
    assert frame_bytes(Settings(limits=LimitSettings(memory_bytes=512 * MIB, frame_bytes=MIB))) == MIB


@pytest.mark.parametrize(
    ("memory", "frame", "messages"),
    [(512 * MIB, 64 * MIB, 16), (512 * MIB, MIB, 32), (512 * MIB, 4096, 64), (64 << 30, 64 * MIB, 64)],
)
def test_zeromq_queues_a_16th_of_the_memory_per_connection(memory: int, frame: int, messages: int) -> None:
    settings = Settings(limits=LimitSettings(memory_bytes=memory, frame_bytes=frame))
    assert receive_hwm(queue_bytes(settings), frame_bytes(settings)) == messages
    assert messages * frame_bytes(settings) <= memory // 16


@pytest.mark.parametrize(
    ("lines", "name"),
    [("0::/service/daemon", "memory.max"), ("9:cpu:/x\n4:memory:/service/daemon", "memory.limit_in_bytes")],
)
def test_the_limit_of_the_control_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: str, name: str
) -> None:
    """The least limit of the group and of those that contain it; `max` is none."""
    top = tmp_path if name == "memory.max" else tmp_path / "memory"
    inner = top / "service" / "daemon"
    inner.mkdir(parents=True)
    (tmp_path / "cgroup").write_text(lines)
    monkeypatch.setattr(system_memory, "CGROUPS", tmp_path)
    monkeypatch.setattr(system_memory, "OWN_CGROUP", tmp_path / "cgroup")
    whole = system_memory.default_memory_bytes()
    (inner / name).write_text("max\n")
    assert system_memory.default_memory_bytes() == whole
    (top / "service" / name).write_text(f"{300 * MIB}\n")
    assert system_memory.default_memory_bytes() == 150 * MIB
    (inner / name).write_text(f"{200 * MIB}\n")
    assert system_memory.default_memory_bytes() == 100 * MIB


def test_models_that_do_not_fit_are_refused(small: Running) -> None:
    small.wire.create("m", "som", **SOM)
    used = accounts(small)["models"]["used"]
    assert used == state_bytes(small.recovered.shard.hosted("m").model)
    with pytest.raises(TooLarge) as error:
        small.wire.create("large", "som", dim=4096, grid=[128, 128])
    assert error.value.detail["limit"] == "limits.memory_bytes"
    assert error.value.detail["account"] == "models"
    account = small.daemon.context.budget.models
    small.wire.create("m0", "som", dim=64, grid=[50, 50])  # 640 kB of weights
    size = accounts(small)["models"]["used"] - used
    for i in range(1, 1 + (account.limit - account.used) // size):
        small.wire.create(f"m{i}", "som", dim=64, grid=[50, 50])
    with pytest.raises(TooLarge, match="delete another one"):
        small.wire.create("more", "som", dim=64, grid=[50, 50])
    assert accounts(small)["models"]["used"] <= accounts(small)["models"]["limit"]
    small.wire.call("delete", "m0")
    small.wire.create("again", "som", dim=64, grid=[50, 50])


def test_an_answer_that_is_too_large_is_refused_before_it_is_computed(
    small: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    small.wire.create("m", "som", dim=1, grid=[2, 2])
    model = small.recovered.shard.hosted("m").model

    def fail(*_: object) -> None:
        raise AssertionError("the prediction was computed")

    monkeypatch.setattr(type(model), "predict", fail)
    with pytest.raises(TooLarge, match=r"limits\.unread_bytes allows 1048576") as error:
        small.wire.call("predict", "m", x=np.zeros((60_000, 1), np.float32))
    assert error.value.detail["limit"] == "limits.unread_bytes"


def test_answers_that_are_not_read_are_bounded(small: Running) -> None:
    """A connection that reads nothing gets `BUSY`; after reading, it is served again. Others are."""
    small.wire.create("m", "som", **SOM)
    x = np.zeros((8_000, 8), np.float32)
    idle = small.connect(zmq.DEALER)
    sent = 200
    for _ in range(sent):
        idle.send(Request("predict", None, "m", {}, x))
    wait_for(lambda: small.wire.call("stats")["errors"].get("BUSY", 0) > 0, "a refusal")
    assert accounts(small)["replies"]["peak"] <= accounts(small)["replies"]["limit"]
    assert small.wire.call("predict", "m", x=x[:100])["samples"] == 0
    answers = [idle.receive() for _ in range(sent)]
    errors = [answer.error for answer in answers if answer.error is not None]
    assert all(isinstance(error, Busy) for error in errors)
    assert {error.detail["limit"] for error in errors} <= {"limits.unread_bytes", "limits.memory_bytes"}
    wait_for(lambda: accounts(small)["replies"]["used"] < MIB // 4, "the release of what was read")
    assert idle.call("predict", "m", x=x)["samples"] == 0


def test_batches_beyond_the_memory_are_refused(small: Running) -> None:
    small.wire.create("m", "som", **SOM)
    account = small.daemon.context.budget.queued
    account.limit = 50_000
    frames = [Learn("m", np.zeros((5000, 8), np.float32), ack="received")] * 4
    for each in frames:
        small.wire.send(each)
    answers = [small.wire.receive() for _ in frames]
    refused = [answer.error for answer in answers if answer.error is not None]
    assert all(isinstance(error, Busy) and error.detail["account"] == "queued" for error in refused)
    wait_for(lambda: accounts(small)["queued"]["used"] == 0, "the end of the queue")
    small.wire.learn(np.zeros((10, 8), np.float32))
