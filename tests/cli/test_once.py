"""``push --once``: rows are learned once, whatever happens between two runs.

A fake daemon has the protocol.
"""

from __future__ import annotations

import gzip
import random
from collections.abc import Iterator

import numpy as np
import pytest

from streamlearn.cli import main
from streamlearn.cli.numbered import BLOCK, Blocks, Changed, NumberedRows, resumed
from streamlearn.tabular.rows import Rows
from streamlearn_client import Client
from streamlearn_client.errors import NoAnswer
from tests.client.fake import DROP, FakeModel


@pytest.fixture
def pump(daemon) -> FakeModel:
    return daemon.add("pump", dim=1)


@pytest.fixture
def push(daemon, tmp_path, capsys):
    """Push values as a file with --once. Return the exit code and both outputs."""

    def run(values, *options, name="data.csv", content=None):
        path = tmp_path / name
        path.write_bytes(content or "".join(f"{value}\n" for value in values).encode())
        code = main(["push", str(path), "-m", "pump", "-e", daemon.endpoint, "--once", *options])
        return code, *capsys.readouterr()

    return run


def learned(model) -> list[float]:
    return model.rows[:, 0].tolist()


@pytest.mark.parametrize("count", [1, 5, 130, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7])
def test_a_second_push_sends_nothing_and_a_grown_file_its_new_rows(pump, push, count):
    values = list(range(count))
    assert push(values)[0] == 0
    code, out, _ = push(values)
    assert code == 0
    assert f"0 samples acknowledged (durable); {count:,} were known" in out
    grown = list(range(count + 2 * BLOCK))
    assert push(grown)[0] == 0
    assert learned(pump) == grown


def test_a_copy_a_compressed_file_and_another_form_are_the_same_file(pump, push):
    values = list(range(200))
    text = "".join(f"{value}\n" for value in values)
    push(values)
    push(values, name="copy.csv")
    push([], name="data.csv.gz", content=gzip.compress(text.encode()))
    push([], name="data.ndjson", content="".join(f"[{value}]\n" for value in values).encode())
    push([], name="windows.csv", content=("flow\r\n" + text.replace("\n", ".0\r\n")).encode())
    assert learned(pump) == values


def test_other_files_are_others(pump, push):
    first, second = list(range(100)), list(range(50, 150))
    push(first)
    push(second)
    assert learned(pump) == [*first, *second]
    push(first, "--source", "again")
    push(first, "--source", "again")
    assert learned(pump) == [*first, *second, *first]


def test_changed_and_cut_files_are_refused(pump, push):
    values = list(range(300))
    push(values)
    code, _, err = push([*values[:250], -1, *values[251:]])
    assert code == 11
    assert "rows were changed or removed" in err
    assert "--source NAME" in err
    code, _, err = push(values[:200])
    assert code == 11
    assert learned(pump) == values


def test_a_bad_row_is_corrected_and_the_file_pushed_again(pump, push):
    values = [*range(2000), "oops", *range(2001, 2100)]
    code, _, err = push(values)
    assert code == 11
    assert "line 2001: 'oops'" in err
    assert "2,000 samples before it are acknowledged; repeat the command" in err
    values[2000] = 2000
    assert push(values)[0] == 0
    assert learned(pump) == list(range(2100))


def test_options_that_contradict(push):
    for options in (("--follow",), ("--from-line", "3")):
        assert push([1], *options)[0] == 2


def rows(start: int, stop: int) -> Rows:
    return Rows(np.arange(start, stop, dtype=np.float32).reshape(-1, 1), None)


def parts(chance: random.Random, stop: int) -> Iterator[Rows]:
    start = 0
    while start < stop:
        end = min(start + chance.randint(1, 3000), stop)
        yield rows(start, end)
        start = end


@pytest.mark.parametrize("seed", range(4))
def test_runs_that_end_anywhere_send_each_row_once(daemon, pump, seed):
    """Each run sees a longer file, ends after any request, and may not know whether its last one arrived."""
    chance = random.Random(seed)
    stop = 0
    for _ in range(12):
        stop += chance.choice([0, 1, chance.randint(1, 3000), BLOCK])
        left = chance.randint(1, 8)

        def fault(request, chance=chance):
            nonlocal left
            left -= getattr(request, "seq", None) is not None
            return DROP if left == 0 and chance.random() < 0.5 else None

        daemon.fault = fault
        with Client(daemon.endpoint, timeout=0.1) as client:
            try:
                sender = NumberedRows(client, "pump", "source", "durable", "data")
                blocks = Blocks(parts(chance, stop))
                resumed(sender, blocks, "data")
                for each in blocks.take_rest():
                    sender.add(each)
                    if left <= 0:
                        break  # a kill: what was not sent is lost
                else:
                    sender.flush()
            except NoAnswer:
                pass
    daemon.fault = lambda request: None
    with Client(daemon.endpoint, timeout=60) as client:
        sender = NumberedRows(client, "pump", "source", "durable", "data")
        blocks = Blocks(parts(chance, stop + 5))
        known = resumed(sender, blocks, "data")
        assert known == len(learned(pump))
        for each in blocks.take_rest():
            sender.add(each)
        sender.flush()
    assert learned(pump) == list(range(stop + 5)), seed


def test_a_batch_on_its_way_is_not_learned_twice(daemon, pump):
    """A killed run's batch arrives after the next run has asked for the position."""
    with Client(daemon.endpoint, timeout=60) as client:
        late = NumberedRows(client, "pump", "source", "durable", "data")
        following = NumberedRows(client, "pump", "source", "durable", "data")
        late.add(rows(0, BLOCK))  # arrives first, and the other does not know of it
        following.add(rows(0, BLOCK))
        following.add(rows(BLOCK, BLOCK + 10))
        following.flush()
    assert learned(pump) == list(range(BLOCK + 10))


def test_forgotten_epochs_are_not_used(daemon, pump):
    with Client(daemon.endpoint, timeout=60) as client:
        client.learn("pump", [[1.0]])
        pump.forget_producers()
        floor = pump.floor
        daemon_position = pump.positions
        assert not daemon_position
        original = daemon._do

        def do(request):
            if request.op == "position" and request.fields["producer"] not in pump.positions:
                return {"epoch": max(floor - 1, 0), "next_seq": 0}, None
            return original(request)

        daemon._do = do
        sender = NumberedRows(client, "pump", "source", "durable", "data")
        sender.add(rows(0, BLOCK))
        sender.add(rows(BLOCK, BLOCK + 3))
        sender.flush()
        again = NumberedRows(client, "pump", "source", "durable", "data")
        assert resumed(again, Blocks(iter([rows(0, BLOCK + 3)])), "data") == BLOCK + 3
        other, blocks = (
            NumberedRows(client, "pump", "source", "durable", "data"),
            Blocks(iter([rows(1, 3000)])),
        )
        with pytest.raises(Changed):
            resumed(other, blocks, "data")
