"""The Python client and the command line against a daemon whose model takes keys and later targets."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamlearn import cli
from streamlearn_client import Client
from streamlearn_client.errors import BadShape, BadValue
from tests.daemon.harness import SECONDS, Running, X
from tests.shard.ledger import Ledger

KEYS = ["press 7" if i % 3 else 12 for i in range(200)]
IDS = [f"batch {i}" for i in range(200)]
LATE = list(range(0, 200, 7))


@pytest.fixture
def client(running: Running) -> Iterator[Client]:
    with Client(running.endpoints["requests"], timeout=60) as client:
        client.create("fleet", "ledger", dim=2)
        yield client


@pytest.fixture
def twin() -> Ledger:
    """What the model must be, made in this process."""
    model = Ledger(dim=2)
    model.learn(X[:200], keys=KEYS, ids=IDS)
    model.learn_targets([IDS[i] for i in LATE], np.ones((len(LATE), 1)), [KEYS[i] for i in LATE])
    return model


def test_learn_and_learn_targets(client: Client, twin: Ledger) -> None:
    client.learn("fleet", X[:200], keys=KEYS, ids=IDS)
    ack = client.learn_targets(
        "fleet", [IDS[i] for i in LATE], np.ones(len(LATE)), keys=[KEYS[i] for i in LATE]
    )
    assert ack.rows == len(LATE)
    assert client.describe("fleet")["state_hash"] == twin.state_hash()
    prediction = client.predict("fleet", X[:2], keys=["press 7", 12])
    assert np.array_equal(prediction.prediction, twin.predict(X[:2], ["press 7", 12]).prediction)
    assert np.array_equal(client.forecast("fleet", 5, "press 7"), twin.forecast(5, "press 7"))
    assert client.sample("fleet", 5, seed=3, key=12).tolist() == twin.sample(5, seed=3, key=12).tolist()
    assert client.reheat("fleet", 0.5)["samples"] == 200
    twin.reheat(0.5)
    assert client.describe("fleet")["state_hash"] == twin.state_hash()


def test_a_stream(client: Client, twin: Ledger) -> None:
    with client.stream("fleet", batch=16) as stream:
        for i in range(200):
            stream.push(X[i], keys=KEYS[i], ids=IDS[i])
        for i in LATE:
            stream.push_targets(IDS[i], 1, keys=KEYS[i])
    assert client.describe("fleet")["state_hash"] == twin.state_hash()


def test_a_subscriber_misses_nothing_that_comes_after(client: Client) -> None:
    for _ in range(100):
        with client.subscribe("m", "output") as events:
            ack = client.learn("m", X[:1], ack="received")
            event = events.next_event(SECONDS)
            assert event is not None
            assert event.lsn == ack.lsn


def test_a_subscription_is_confirmed_to_its_subscriber_only(client: Client) -> None:
    """The confirmation of a subscription is not an event, and only its subscriber gets it."""
    with client.subscribe(None) as first, client.subscribe("m") as second:
        client.learn("m", X[:1])
        for events in (first, second):
            event = events.next_event(SECONDS)
            assert event is not None
            assert event.kind == "output"


def test_a_refusal_of_the_model_reaches_the_client(client: Client) -> None:
    for call in (
        lambda: client.learn("fleet", X[:2]),
        lambda: client.learn_targets("fleet", [1], [[1, 2]], keys=1),
        lambda: client.learn("m", X[:2], ids=[1, 2]),
        lambda: client.learn_targets("m", [1], [1]),
    ):
        with pytest.raises(BadShape):
            call()
    with pytest.raises(BadValue):
        client.reheat("fleet", 2)
    assert client.describe("fleet")["samples"] == client.describe("m")["samples"] == 0


# ------------------------------------------------------------------------------------------ the command line


@pytest.fixture
def command(
    running: Running, client: Client, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[str, str]]:
    def run(*arguments: Any, code: int = 0) -> tuple[str, str]:
        words = [*map(str, arguments), "--endpoint", running.endpoints["requests"]]
        done = cli.main(words)
        output = capsys.readouterr()
        assert done == code, output
        return output.out, output.err

    return run


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Samples with their keys and ids, and targets of some of them."""
    samples, targets = tmp_path / "samples.csv", tmp_path / "targets.csv"
    rows = [f"{KEYS[i]},{IDS[i]},{x!r},{y!r}" for i, (x, y) in enumerate(X[:200].tolist())]
    samples.write_text("\n".join(["machine,batch,flow,level", *rows]))
    targets.write_text("\n".join(["batch,machine,good", *(f"{IDS[i]},{KEYS[i]},1" for i in LATE)]))
    return samples, targets


def test_push(command: Callable[..., Any], files: tuple[Path, Path], client: Client, twin: Ledger) -> None:
    samples, targets = files
    columns = "--key", "machine", "--id", "batch"
    output = json.loads(command("push", samples, "-m", "fleet", *columns, "--json")[0])
    assert output["acknowledged"] == 200
    output, _ = command("push", targets, "-m", "fleet", *columns, "--targets")
    assert f"{len(LATE)} targets acknowledged" in output
    matched = sum(number >= 200 - Ledger.places for number in LATE)
    assert output.rstrip().endswith(f"; {matched} had a sample, {len(LATE) - matched} had none")
    assert client.describe("fleet")["state_hash"] == twin.state_hash()
    described, _ = command("describe", "fleet")
    assert "2 values; 1 target, also late by id; a key" in described
    assert re.search(r"^input +2 values *$", command("describe", "m")[0], re.MULTILINE)

    chosen = "--columns", "flow,level", "--key", "machine"
    rows = list(csv.DictReader(io.StringIO(command("predict", samples, "-m", "fleet", *chosen)[0])))
    expected = twin.predict(X[:200], KEYS).prediction
    assert [np.float32(row["prediction"]) for row in rows] == expected.tolist()


def test_push_reports_targets_without_samples(
    command: Callable[..., Any], files: tuple[Path, Path], tmp_path: Path
) -> None:
    samples, targets = files
    columns = "-m", "fleet", "--key", "machine", "--id", "batch"
    output, error = command("push", targets, *columns, "--targets", code=1)
    assert output.rstrip().endswith(f"; 0 had a sample, {len(LATE)} had none")
    assert "compare the ids with those of the samples" in error
    command("push", samples, *columns)
    mixed = tmp_path / "mixed.csv"
    mixed.write_text(targets.read_text() + f"\nunheard of,{KEYS[0]},1\n")
    counts = json.loads(command("push", mixed, *columns, "--targets", "--json")[0])
    matched = sum(number >= 200 - Ledger.places for number in LATE)
    assert (counts["matched"], counts["unmatched"]) == (matched, len(LATE) + 1 - matched)
    again = json.loads(command("push", mixed, *columns, "--targets", "--json", code=1)[0])
    assert (again["matched"], again["unmatched"]) == (0, len(LATE) + 1)


def test_push_refuses_what_does_not_fit(
    command: Callable[..., Any], files: tuple[Path, Path], client: Client
) -> None:
    samples, targets = files
    only = "--columns", "flow,level"
    late = "-m", "fleet", "--targets", "--id", "batch", "--key", "machine"
    for arguments, message in (
        (
            (samples, "-m", "fleet", *only),
            "needs a key for each row: select its column with --key (machine, batch",
        ),
        ((samples, "-m", "m", *only, "--key", "machine"), "m takes no keys: remove --key"),
        ((samples, "-m", "m", *only, "--id", "batch"), "m takes no late targets"),
        ((targets, "-m", "m", "--targets", "--id", "batch"), "m takes no late targets"),
        ((targets, *late, "--target", "good,batch"), "is not a number: correct it, leave the field empty if"),
    ):
        assert message in command("push", *arguments, code=11)[1]
    assert "is selected twice" in command("push", targets, *late, "--target", "good,good", code=2)[1]
    assert client.describe("fleet")["samples"] == client.describe("m")["samples"] == 0


def test_timeouts_of_commands(command: Callable[..., Any]) -> None:
    for no_limit in ("inf", "1e12", "infinity"):
        assert "sum" in command("models", "--timeout", no_limit)[0]
    for wrong in ("nan", "-1", "0", "-inf", "soon", "True"):
        message = command("models", "--timeout", wrong, code=2)[1]
        assert f"{wrong} is not a number of seconds above 0; inf means no limit" in message


def test_going_on_and_reheating(command: Callable[..., Any], client: Client) -> None:
    client.learn("fleet", X[:20], keys="press 7")
    ahead = client.forecast("fleet", 3, "press 7")
    lines = command("forecast", "fleet", 3, "--key", "press 7")[0].splitlines()
    assert lines[0] == "forecast_0,forecast_1"
    assert np.array_equal(np.array([line.split(",") for line in lines[1:]], np.float32), ahead)
    drawn = client.sample("fleet", 4, temperature=0.5, seed=2, key=7)
    words = "sample", "fleet", 4, "--temperature", 0.5, "--seed", 2, "--key", "7", "--json"
    assert [json.loads(line)["symbol"] for line in command(*words)[0].splitlines()] == drawn.tolist()
    assert "reheated to 0.5 after 20 samples" in command("reheat", "fleet", "--heat", 0.5)[0]
    assert client.describe("fleet")["quality"]["rate"] == 0.5
    assert "fleet is paused after 20 samples" in command("pause", "fleet")[0]
    assert client.describe("fleet")["paused"]
    assert "paused" in command("models")[0]
    assert "fleet is resumed after 20 samples" in command("resume", "fleet")[0]
    assert not client.describe("fleet")["paused"]
    assert "above 0, up to 1" in command("reheat", "fleet", "--heat", 0, code=1)[1]
    assert "a sum does not forecast" in command("forecast", "m", 3, code=1)[1]
