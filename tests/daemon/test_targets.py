"""Keys, later targets and reheats through a daemon: exactly once, in order, and across restarts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import zmq

from streamlearn.errors import BadShape, BadValue, DiskFull, FatalError, Gap, TooLarge, UnknownModel
from streamlearn_client.protocol import Request, as_batch
from tests.daemon.harness import Running, X
from tests.daemon.test_streams import next_event, subscribe
from tests.shard.ledger import Ledger
from tools.waiting import wait_for

KEY = np.random.default_rng(4).integers(0, 5, 2000)


@pytest.fixture
def fleet(running: Running) -> Running:
    running.wire.create("fleet", "ledger")
    return running


def learn(running: Running, start: int, stop: int, **fields: Any) -> dict[str, Any]:
    batch = as_batch("fleet", X[start:stop], None, KEY[start:stop], np.arange(start, stop))
    return running.wire.ask(batch._replace(**fields))


def targets(running: Running, ids: list[int], **fields: Any) -> dict[str, Any]:
    batch = as_batch("fleet", None, np.ones((len(ids), 1)), KEY[ids], ids)
    return running.wire.ask(batch._replace(**fields))


def twin(*steps: int | float | list[int]) -> Ledger:
    """A model of this process after so many samples, or the targets of some ids, or a heat."""
    model, done = Ledger(dim=2), 0
    for step in steps:
        if isinstance(step, int):
            part = slice(done, done + step)
            model.learn(X[part], keys=KEY[part], ids=np.arange(part.start, part.stop))
            done += step
        elif isinstance(step, float):
            model.reheat(step)
        else:
            model.learn_targets(step, np.ones((len(step), 1)), KEY[step])
    return model


def test_samples_targets_and_reheats_are_learned_in_order(fleet: Running) -> None:
    wire = fleet.wire
    learn(fleet, 0, 20)
    ack = targets(fleet, [19, 3, 500])
    assert (ack["rows"], ack["duplicate"]) == (3, False)
    assert ack["lsn"] <= ack["durable_lsn"]
    reheated = wire.call("reheat", "fleet", heat=0.5)
    assert (reheated["lsn"], reheated["samples"]) == (ack["lsn"] + 1, 20)
    assert reheated["lsn"] <= min(reheated["durable_lsn"], reheated["applied_lsn"])
    learn(fleet, 20, 30)
    described = wire.call("describe", "fleet")
    assert described["state_hash"] == twin(20, [19, 3, 500], 0.5, 10).state_hash()
    assert (described["needs_keys"], described["accepts_late_targets"], described["uses_time"]) == (
        True,
        True,
        False,
    )
    assert described["quality"]["rate"] == pytest.approx(0.5 * 0.9**10)
    plain = wire.call("describe", "m")
    assert (plain["needs_keys"], plain["accepts_late_targets"], plain["uses_time"]) == (False, False, False)


def test_targets_are_learned_once_and_gaps_are_refused(fleet: Running) -> None:
    numbered = {"producer": "p", "epoch": 1}
    learn(fleet, 0, 10, **numbered, seq=0)
    for again in (False, True):
        assert targets(fleet, [1, 2], **numbered, seq=1)["duplicate"] is again
    assert learn(fleet, 0, 10, **numbered, seq=0)["duplicate"]
    with pytest.raises(Gap) as gap:
        targets(fleet, [3], **numbered, seq=3)
    assert gap.value.detail["expected_seq"] == 2
    assert not targets(fleet, [3], **numbered, seq=2)["duplicate"]
    assert fleet.wire.hash("fleet") == twin(10, [1, 2], [3]).state_hash()


def test_an_ack_counts_the_targets_that_had_a_sample(fleet: Running) -> None:
    numbered = {"producer": "p", "epoch": 1}
    assert not {"matched", "unmatched"} & learn(fleet, 0, 20).keys()
    for ids, matched in (([19, 3, 500], 2), ([3, 19], 0), ([4, 4, 5], 2), ([7, 8], 2)):
        ack = targets(fleet, ids)
        assert (ack["matched"], ack["unmatched"]) == (matched, len(ids) - matched)
    assert targets(fleet, [0, 400], **numbered, seq=0)["matched"] == 1
    assert not {"matched", "unmatched"} & targets(fleet, [0, 400], **numbered, seq=0).keys()
    silent = as_batch("fleet", None, np.ones((3, 1)), KEY[[1, 2, 300]], [1, 2, 300])
    fleet.wire.send(silent._replace(ack="none"))
    fleet.wire.call("describe", "fleet")
    counts = fleet.wire.call("stats", "fleet")["models"]["fleet"]
    learned = [(2, 1), (0, 2), (2, 1), (2, 0), (1, 1), (2, 1)]
    assert (counts["matched_targets"], counts["unmatched_targets"]) == tuple(
        map(sum, zip(*learned, strict=True))
    )


def crash(running: Running) -> None:
    """End like a crash, without checkpoints."""
    running.daemon.loop.fail(FatalError("for a test"))
    running.join()
    running.stop()


def test_after_a_crash_everything_is_as_it_was(serve: Callable[..., Running]) -> None:
    """By replay alone; by a checkpoint and what came after it; and by a checkpoint alone."""
    running = serve()
    running.wire.create("fleet", "ledger")
    numbered = {"producer": "p", "epoch": 1}
    learn(running, 0, 40, **numbered, seq=0)
    targets(running, [5, 6, 39], **numbered, seq=1)
    running.wire.call("reheat", "fleet", heat=0.25)
    crash(running)
    running = serve()
    assert running.recovered.rows == 43
    assert running.wire.hash("fleet") == twin(40, [5, 6, 39], 0.25).state_hash()
    assert targets(running, [5, 6, 39], **numbered, seq=1)["duplicate"]
    running.wire.call("checkpoint", "fleet")
    learn(running, 40, 50, **numbered, seq=2)
    targets(running, [7, 49], **numbered, seq=3)
    running.wire.call("reheat", "fleet")
    crash(running)
    running = serve()
    expected = twin(40, [5, 6, 39], 0.25, 10, [7, 49], 1.0)
    assert running.recovered.rows == 12
    assert running.wire.hash("fleet") == expected.state_hash()
    running.stop()
    running = serve()
    assert running.recovered.rows == 0
    assert running.wire.hash("fleet") == expected.state_hash()
    keys = np.array([int(KEY[0]), 99])
    prediction = running.wire.call("predict", "fleet", x=X[:2], keys=keys)["arrays"]["prediction"]
    assert np.array_equal(prediction, expected.predict(X[:2], keys).prediction)


def test_a_refused_request_is_not_journalled(fleet: Running) -> None:
    wire = fleet.wire
    learn(fleet, 0, 10)
    before = wire.call("stats")["written_lsn"], wire.hash("fleet")
    for request, error in (
        (Request("reheat", None, "fleet", {"heat": 0.0}), BadValue),
        (Request("reheat", None, "fleet", {"heat": 1.0001}), BadValue),
        (Request("reheat", None, "fleet", {"heat": float("nan")}), BadValue),
        (Request("reheat", None, "fleet", {"heat": float("inf")}), BadValue),
        (Request("reheat", None, "nobody"), UnknownModel),
        (as_batch("fleet", X[:3]), BadShape),
        (as_batch("fleet", None, [[1]], None, [1]), BadShape),
        (as_batch("fleet", None, [[np.inf]], 1, [1]), BadValue),
        (as_batch("m", X[:3], keys=1), BadShape),
        (as_batch("m", None, [[1]], None, [1]), BadShape),
        (Request("predict", None, "fleet", {}, X[:3]), BadShape),
        (Request("predict", None, "m", {}, X[:3], np.ones(3, np.int64)), BadShape),
    ):
        with pytest.raises(error):
            wire.ask(request)
    assert (wire.call("stats")["written_lsn"], wire.hash("fleet")) == before
    fleet.disk.full = True
    for change in (lambda: wire.call("reheat", "fleet"), lambda: targets(fleet, [1])):
        with pytest.raises(DiskFull):
            change()
    fleet.disk.full = False
    assert wire.hash("fleet") == before[1]
    wire.call("reheat", "fleet")
    assert wire.hash("fleet") == twin(10, 1.0).state_hash()


def test_a_reheat_is_answered_when_it_is_durable_and_in_effect(fleet: Running) -> None:
    wire = fleet.wire
    events = subscribe(fleet, b"reheated/fleet")
    fleet.disk.syncs.clear()
    batch = as_batch("fleet", X[:500], keys=KEY[:500])
    learned = wire.send(batch._replace(ack="received"))
    reheat = wire.send(Request("reheat", None, "fleet"))
    assert wire.receive().id == learned
    assert wire.call("describe", "fleet")["quality"]["rate"] == 1.0  # in effect
    assert wire.silent()
    fleet.disk.syncs.set()
    reply = wire.receive()
    assert reply.id == reheat
    assert reply.ok["lsn"] <= reply.ok["durable_lsn"]
    event = next_event(events)
    assert (event.kind, event.lsn) == ("reheated", reply.ok["lsn"])


def test_the_firehose_takes_targets(fleet: Running) -> None:
    firehose = fleet.connect(zmq.PUSH, "firehose")
    samples = as_batch("fleet", X[:9], None, KEY[:9], np.arange(9))
    for seq, batch in enumerate((samples, as_batch("fleet", None, [1], KEY[4], 4))):
        firehose.send(batch._replace(producer="p", epoch=1, seq=seq, ack="none"))
    wait_for(lambda: fleet.wire.call("position", "fleet", producer="p")["next_seq"] == 2, "both batches")
    assert fleet.wire.hash("fleet") == twin(9, [4]).state_hash()
    assert fleet.wire.call("stats")["models"]["fleet"]["learned"] == 10


# --------------------------------------------------------------------------------------------- going on


def test_forecasts_and_draws_are_the_models_own(fleet: Running) -> None:
    wire, model = fleet.wire, twin(50)
    learn(fleet, 0, 50)
    before = wire.hash("fleet")
    reply = wire.call("forecast", "fleet", steps=7, key=int(KEY[0]))
    assert (reply["samples"], reply["applied_lsn"]) == (50, 3)
    assert np.array_equal(reply["arrays"]["forecast"], model.forecast(7, int(KEY[0])))
    drawn = wire.call("sample", "fleet", n=9, temperature=0.5, seed=4, key=1)["arrays"]["sample"]
    assert (drawn.dtype, drawn.tolist()) == (np.dtype("<i4"), model.sample(9, 0.5, 4, 1).tolist())
    assert wire.call("sample", "fleet", n=2, key=1)["arrays"]["sample"].shape == (2,)
    assert wire.hash("fleet") == before
    assert wire.call("stats")["models"]["fleet"]["queries"] == 3


def test_a_model_without_forecasts_refuses_them(serve: Callable[..., Running]) -> None:
    running = serve(limits={"rows": 100})
    wire = running.wire
    wire.create()
    wire.create("fleet", "ledger")
    with pytest.raises(BadValue, match="a sum does not forecast"):
        wire.call("forecast", "m", steps=3)
    with pytest.raises(BadValue, match="a sum draws no symbols"):
        wire.call("sample", "m", n=3)
    with pytest.raises(BadShape, match="needs a key"):
        wire.call("forecast", "fleet", steps=3)
    with pytest.raises(BadValue, match="temperature"):
        wire.call("sample", "fleet", n=3, temperature=-1.0, key=1)
    assert wire.call("forecast", "fleet", steps=50, key=1)["arrays"]["forecast"].shape == (50, 2)
    for op, field in (("forecast", "steps"), ("sample", "n")):
        with pytest.raises(TooLarge, match=f"{field} is 51, and may be 50") as caught:
            wire.call(op, "fleet", **{field: 51, "key": 1})
        assert caught.value.detail == {"limit": "limits.rows", "most": 50}


# ------------------------------------------------------------------------------------------------ events


def test_a_late_target_publishes_the_earlier_prediction(fleet: Running) -> None:
    events = subscribe(fleet, b"targets/fleet")
    learn(fleet, 0, 20)
    targets(fleet, [4, 500, 19])
    pieces = []  # as many as the model has learned in
    while sum(event.rows for event in pieces) < 3:
        pieces.append(next_event(events))
    prediction = Ledger(dim=2).learn(X[:20], keys=KEY[:20]).prediction
    assert {(event.kind, event.first) for event in pieces} == {("targets", 20)}
    sample, published = (
        np.concatenate([event.arrays[name] for event in pieces]) for name in ("sample", "prediction")
    )
    assert sample.tolist() == [4, -1, 19]
    assert np.array_equal(published, [prediction[4], np.nan, prediction[19]], equal_nan=True)


def test_outputs_that_are_not_one_for_each_sample(running: Running) -> None:
    running.wire.create("fleet", "ledger", shows=5)
    events = subscribe(running, b"output/fleet", b"drift/fleet")
    learn(running, 0, 2)
    learn(running, 2, 4)  # no outputs for these samples
    learn(running, 4, 23)
    seen: dict[str, list[int]] = {"output": [], "drift": []}
    while seen["drift"] != [0, 10, 20]:
        event = next_event(events)
        numbers = event.arrays["sample"].tolist()
        assert numbers
        assert numbers[0] >= event.first
        assert event.kind == "drift" or event.rows == len(numbers)
        seen[event.kind] += numbers
    assert seen["output"] == [0, 5, 10, 15, 20]
    stats = running.wire.call("stats")["models"]["fleet"]
    assert (stats["learned"], stats["received"], stats["backlog_rows"]) == (23, 23, 0)
