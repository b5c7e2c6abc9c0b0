"""Syncing on one thread while another appends, and the flusher that does it."""

from __future__ import annotations

from pathlib import Path
from threading import Event

import pytest

from streamlearn.errors import JournalFailed
from streamlearn.store import FS, Flusher, Journal
from tests.faults.lossyfs import LossyFS
from tests.store.journals import learn, numbers


def test_appends_and_roll_overs_at_every_step_of_a_sync() -> None:
    """What is appended while a sync runs is not called durable by it, nor lost by the next."""
    for step in range(12):
        fs = LossyFS()
        journal = Journal.open(fs, Path("/j"), segment_bytes=400)
        for number in range(5):
            journal.append([learn(number)])
        countdown = step

        def append_meanwhile(operation: str, journal: Journal = journal, fs: LossyFS = fs) -> None:
            nonlocal countdown
            countdown -= 1
            if countdown < 0:
                fs.before = lambda operation: None
                for number in range(5, 9):
                    journal.append([learn(number)])

        fs.before = append_meanwhile
        assert journal.sync() == 5
        fs.before = lambda operation: None
        if journal.written_lsn == 5:
            break
        assert journal.durable_lsn == 5
        assert journal.sync() == 9
        fs.power_loss()
        assert numbers(Journal.open(fs, Path("/j"), segment_bytes=400)) == list(range(9))
    else:
        pytest.fail("the sync has more steps than this test walks through")


def test_flusher_and_appender_together(tmp_path: Path) -> None:
    journal = Journal.open(FS(), tmp_path, segment_bytes=4096)
    reported: list[int] = []
    failures: list[Exception] = []
    flusher = Flusher(journal, reported.append, failures.append)
    flusher.start()
    for number in range(500):
        journal.append([learn(number)])
        flusher.request()
    flusher.stop()
    assert failures == []
    assert reported == sorted(reported)
    assert reported[-1] == journal.durable_lsn == 500
    journal.close()
    journal = Journal.open(FS(), tmp_path, segment_bytes=4096)
    assert numbers(journal) == list(range(500))
    journal.close()


def test_stop_serves_what_was_asked_for_while_a_sync_ran() -> None:
    fs = LossyFS()
    journal = Journal.open(fs, Path("/j"))
    syncing, go_on = Event(), Event()

    def hold(operation: str) -> None:
        if operation == "fdatasync":
            syncing.set()
            assert go_on.wait(60)

    reported: list[int] = []
    flusher = Flusher(journal, reported.append, lambda error: pytest.fail(str(error)))
    fs.before = hold
    flusher.start()
    journal.append([learn(0)])
    flusher.request()
    assert syncing.wait(60)
    assert flusher.busy
    for number in range(1, 5):
        journal.append([learn(number)])
        flusher.request()
    go_on.set()
    flusher.stop()
    assert reported == [1, 5]
    assert not flusher.busy


def test_a_failed_sync_is_reported_once_and_never_retried() -> None:
    fs = LossyFS()
    journal = Journal.open(fs, Path("/j"))
    failed = Event()
    failures: list[Exception] = []
    reported: list[int] = []

    def on_failure(error: Exception) -> None:
        failures.append(error)
        failed.set()

    flusher = Flusher(journal, reported.append, on_failure)
    flusher.start()
    journal.append([learn(0)])
    fs.fail_sync = True
    flusher.request()
    assert failed.wait(60)
    flusher.request()
    flusher.stop()
    assert reported == []
    (failure,) = failures
    assert isinstance(failure, JournalFailed)
    assert failure.exit_code == 8
    assert "Input/output error" in failure.message
    steps = fs.steps
    for use in (journal.sync, lambda: journal.append([learn(1)])):
        with pytest.raises(JournalFailed):
            use()
    journal.close()
    assert fs.steps == steps
    assert journal.durable_lsn == 0
