"""Times, names of channels, and the key, id and time of each row of an event, through a real daemon."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import streamlearn as sl
from streamlearn import cli
from streamlearn_client import Client
from streamlearn_client.errors import BadShape
from streamlearn_client.outputs import Outputs
from streamlearn_client.protocol import identifier
from streamlearn_client.subscription import Subscription
from tests.e2e.daemon_process import SECONDS, DaemonProcess
from tools.waiting import wait_for

pytestmark = pytest.mark.e2e

RANDOM = np.random.default_rng(8)
N = 120
X = RANDOM.normal(size=(N, 2)).astype(np.float32)
KEYS = np.array(["east", "west"])[RANDOM.integers(0, 2, N)]
TIMES = 1_700_000_000_000_000_000 + np.arange(N) * 250_000_000
CLOCKED = {
    "dim": 2,
    "grid": [3, 3],
    "learning_rate": {"start": 0.9, "end": 0.01, "tau": 5, "unit": "seconds"},
}


def rows_of(events: Subscription, rows: int) -> Outputs:
    """Return the next rows of output events in one."""
    parts = []
    while sum(map(len, parts)) < rows:
        event = events.next_event(SECONDS)
        assert event is not None, f"only {sum(map(len, parts))} of {rows} rows came"
        assert len(event.outputs) == event.rows
        parts.append(event.outputs)
    return Outputs(**{name: np.concatenate([out.arrays[name] for out in parts]) for name in parts[0].arrays})


def test_the_senders_times_reach_model_events_and_replay(serve: Callable[..., DaemonProcess]) -> None:
    expected = sl.SOM(**CLOCKED)
    expected.learn(X, times=TIMES)
    daemon = serve()
    daemon.ready()
    with Client(daemon.requests, timeout=SECONDS) as client:
        client.create("m", "som", **CLOCKED)
        with client.subscribe("m", "output") as events:
            client.learn("m", X[:20], times=TIMES[:20])
            with client.stream("m", batch=8) as stream:
                for i in range(20, 60):
                    stream.push(X[i], times=int(TIMES[i]))
                stream.push_many(X[60:100], times=pd.to_datetime(TIMES[60:100], utc=True))
            with client.firehose("m") as firehose:
                for i in range(100, N):
                    firehose.push(X[i], times=TIMES[i].astype("M8[ns]"))
                outputs = rows_of(events, N)
        assert outputs.time.tolist() == TIMES.tolist()
        assert "key" not in outputs.arrays
        assert client.describe("m")["state_hash"] == expected.state_hash()
        daemon.kill()
        serve().ready()
        assert client.describe("m")["state_hash"] == expected.state_hash()


def test_events_have_keys_as_they_were_sent(serve: Callable[..., DaemonProcess]) -> None:
    """Texts of learn, of streams and of the firehose; numbers stay numbers; a restart forgets the texts."""
    spec = {"dim": 2, "hidden": 2, "keys": 8}
    daemon = serve()
    daemon.ready()

    def keys_of(events: Subscription, rows: int) -> list[int | str]:
        found: list[int | str] = []
        while len(found) < rows:
            found += next(events).keys
        return found

    with Client(daemon.requests, timeout=SECONDS) as client:
        client.create("m", "rnn", **spec)
        expected = sl.RNN(**spec)
        with client.subscribe("m", "output") as events:
            client.learn("m", X[:3], keys=["pump 1", "Pumpe ü", 7])
            with client.stream("m", batch=4) as stream:
                stream.push(X[3], keys="pump 3")
                stream.push(X[4], keys="pump 4")
                stream.push_many(X[5:7], keys=["x" * 300, "pump 1"])
            with client.firehose("m") as firehose:
                firehose.push(X[7:9], keys=["pump 5", "pump 4"])
                found = keys_of(events, 9)
            client.learn("m", X[9:10], keys=identifier("pump 3"))
            found += keys_of(events, 1)
        sent = ["pump 1", "Pumpe ü", 7, "pump 3", "pump 4", "x" * 300, "pump 1", "pump 5", "pump 4"]
        expected.learn(X[:10], keys=[*sent, "pump 3"])
        assert found == [*sent[:5], identifier("x" * 300), *sent[6:], "pump 3"]
        assert client.describe("m")["state_hash"] == expected.state_hash()
        daemon.kill()
        serve().ready()
        with client.subscribe("m", "output") as events:
            client.learn("m", X[10:12], keys=[identifier("pump 1"), identifier("pump 3")])
            client.learn("m", X[12:14], keys=["pump 3", "pump 1"])
            assert keys_of(events, 4) == [*map(identifier, ("pump 1", "pump 3")), "pump 3", "pump 1"]


def test_events_carry_key_id_and_time(serve: Callable[..., DaemonProcess]) -> None:
    spec = {"dim": 2, "hidden": 3, "keys": 2, "target": "later", "outputs": 1, "drift": "page_hinkley"}
    daemon = serve()
    daemon.ready()
    with Client(daemon.requests, timeout=SECONDS) as client:
        client.create("m", "rnn", **spec)
        with client.subscribe("m", "output") as events, client.subscribe("m", "targets") as late:
            client.learn("m", X[:40], keys=KEYS[:40], ids=[f"part {i}" for i in range(40)])
            ack = client.learn("m", X[40:], keys=KEYS[40:], times=TIMES[40:])  # without ids: the numbers
            outputs = rows_of(events, N)
            client.learn_targets("m", ["part 3", 41], [0.5, 1.0], keys=[KEYS[3], KEYS[41]])
            targets = rows_of(late, 2)
    assert ack.rows == 80
    keys = [identifier(key) for key in KEYS]
    assert outputs.key.tolist() == keys
    assert outputs.id.tolist() == [identifier(f"part {i}") for i in range(40)] + list(range(40, N))
    assert outputs.time[40:].tolist() == TIMES[40:].tolist()
    arrived = set(outputs.time[:40].tolist())
    assert len(arrived) == 1  # the arrival of the batch, by the daemon's clock
    assert arrived.pop() > TIMES[-1]
    assert targets.key.tolist() == [keys[3], keys[41]]
    assert targets.id.tolist() == [identifier("part 3"), 41]
    assert targets.sample.tolist() == [3, 41]
    assert (targets.time > TIMES[-1]).all()


def test_outputs_that_come_later_have_the_key_and_time_of_their_sample(
    serve: Callable[..., DaemonProcess],
) -> None:
    daemon = serve()
    daemon.ready()
    with Client(daemon.requests, timeout=SECONDS) as client:
        client.create("m", "birnn", dim=2, hidden=3, chunk=[4, 2], keys=2)
        with client.subscribe("m", "output") as events:
            for start in range(0, N, 5):
                now = slice(start, start + 5)
                client.learn("m", X[now], X[now, :1], keys=KEYS[now], times=TIMES[now])
            outputs = rows_of(
                events, 4 * sum((int((key == KEYS).sum()) - 2) // 4 for key in ("east", "west"))
            )
    assert outputs.time.tolist() == TIMES[outputs.sample].tolist()
    assert outputs.key.tolist() == [identifier(key) for key in KEYS[outputs.sample]]


def test_features_with_the_times_of_the_sender(serve: Callable[..., DaemonProcess]) -> None:
    """The rings are part of a checkpoint, and a replay continues them."""
    spec = {"dim": 2, "hidden": 4, "keys": 3, "readout": "adam", "scale": "standard"}
    spec |= {"features": {"lags": [1, 5], "period": [8], "calendar": ["hour", "weekday"], "utc_offset": 1}}
    expected = sl.RNN(**spec)
    expected.learn(X, keys=KEYS, times=TIMES)
    daemon = serve()
    daemon.ready()
    with Client(daemon.requests, timeout=SECONDS) as client:
        assert client.create("m", "rnn", **spec)["spec"]["features"]["lags"] == [1, 5]
        assert client.describe("m")["uses_time"]
        client.learn("m", X[:50], keys=KEYS[:50], times=TIMES[:50])
        client.checkpoint("m")
        with client.stream("m", batch=7) as stream:
            stream.push_many(X[50:], keys=KEYS[50:], times=TIMES[50:])
        assert client.describe("m")["state_hash"] == expected.state_hash()
        daemon.kill()
        serve().ready()
        assert client.describe("m")["state_hash"] == expected.state_hash()
        answer = client.predict("m", X[:9], keys=KEYS[:9], times=TIMES[:9] + 10**12)
        same = expected.predict(X[:9], keys=KEYS[:9], times=TIMES[:9] + 10**12)
        assert answer.prediction.tobytes() == same.prediction.tobytes()


def test_push_reads_times_and_names(serve: Callable[..., DaemonProcess], tmp_path: Path, capsys) -> None:
    expected = sl.SOM(**CLOCKED, channels=["flow", "pressure"])
    expected.learn(X, times=TIMES)
    stamps = [f"{time}Z" for time in TIMES.astype("M8[ns]")]
    table = pd.DataFrame({"timestamp": stamps, "flow": X[:, 0], "pressure": X[:, 1]})
    good, swapped, wide = (tmp_path / f"{name}.csv" for name in ("good", "swapped", "wide"))
    table.to_csv(good, index=False)
    table[["timestamp", "pressure", "flow"]].to_csv(swapped, index=False)
    table.assign(note=1.5).to_csv(wide, index=False)
    daemon = serve()
    daemon.ready()

    def push(file: Path, *options: str, code: int = 0) -> str:
        words = ["push", str(file), "-m", "m", "--time", "timestamp", *options, "-e", daemon.requests]
        assert cli.main(words) == code
        return capsys.readouterr().err

    with Client(daemon.requests, timeout=SECONDS) as client:
        client.create("m", "som", **CLOCKED, channels=["flow", "pressure"])
        for wrong in (swapped, wide):
            assert "the model has 'flow', 'pressure'" in push(wrong, code=11)
        assert client.describe("m")["samples"] == 0
        push(good)
        assert client.describe("m")["state_hash"] == expected.state_hash()
        for file in (swapped, wide):  # columns by name
            push(file, "--columns", "flow,pressure")
            expected.learn(X, times=TIMES)
        assert client.describe("m")["state_hash"] == expected.state_hash()


def test_names_of_channels_are_compared(serve: Callable[..., DaemonProcess]) -> None:
    frame = pd.DataFrame(X, columns=["flow", "pressure"])
    swapped = frame[["pressure", "flow"]]
    expected = sl.SOM(dim=2, grid=(3, 3), channels=["flow", "pressure"])
    expected.learn(frame)
    expected.learn({"flow": X[:3, 0], "pressure": X[:3, 1]})
    expected.learn(frame[:7])
    daemon = serve()
    daemon.ready()
    with Client(daemon.requests, timeout=SECONDS) as client:
        client.create("m", "som", dim=2, grid=[3, 3], channels=["flow", "pressure"])
        assert client.describe("m")["spec"]["channels"] == ["flow", "pressure"]
        client.learn("m", frame)
        with client.stream("m") as stream:
            stream.push_many({"flow": X[:3, 0], "pressure": X[:3, 1]})
            for row in frame[:7].to_dict("records"):
                stream.push(row)
            for wrong in (swapped, frame[["flow"]], frame.assign(speed=1.0)):
                with pytest.raises(BadShape, match="the model has 'flow', 'pressure'"):
                    stream.push_many(wrong)
        for wrong in (swapped, frame[["flow"]], {"pressure": 1.0, "flow": 2.0}):
            for call in (client.learn, client.predict):
                with pytest.raises(BadShape, match="the model has 'flow', 'pressure'"):
                    call("m", wrong)
            with pytest.raises(BadShape, match="the model has 'flow', 'pressure'"):
                expected.learn(wrong)
        with client.firehose("m") as firehose:
            firehose.push(swapped)  # refused and counted
            firehose.push(frame[:4])
            expected.learn(frame[:4])
            wait_for(lambda: client.describe("m")["samples"] == expected.samples)
        assert client.describe("m")["state_hash"] == expected.state_hash()
        assert client.predict("m", frame).winner.tolist() == expected.predict(frame).winner.tolist()
