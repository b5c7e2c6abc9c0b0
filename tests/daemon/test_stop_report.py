"""A long stop shows its progress, and systemd's time limit is extended only by progress."""

from __future__ import annotations

import pytest

from streamlearn.daemon import stop_report
from streamlearn.daemon.stop_report import INTERVAL_SECONDS, StopReport


class Lines:
    """A log that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, line: str) -> None:
        self.lines.append(line)


def test_progress_is_reported_at_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    log = Lines()
    monkeypatch.setattr(stop_report.sdnotify, "notify", sent.append)
    monkeypatch.setattr(stop_report, "log", log)
    report = StopReport()
    report.tick(100.0, 500, 0)
    assert len(sent) == 1
    assert log.lines == []  # a short stop logs nothing
    report.tick(100.0 + 0.9 * INTERVAL_SECONDS, 300, 0)
    assert len(sent) == 1
    report.tick(100.0 + INTERVAL_SECONDS, 500, 0)  # nothing was done
    assert len(sent) == 1
    report.tick(100.0 + 2 * INTERVAL_SECONDS, 0, 7000)
    report.tick(100.0 + 3 * INTERVAL_SECONDS, 0, 6000)
    assert log.lines == [
        "stopping: 0 samples to learn, 7000 checkpoints to write",
        "stopping: 0 samples to learn, 6000 checkpoints to write",
    ]
    assert sent[-1].startswith("EXTEND_TIMEOUT_USEC=60000000\nSTATUS=stopping: 0 samples")
