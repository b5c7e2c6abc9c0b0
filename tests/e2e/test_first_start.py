"""The first start of an installation: the cache is empty, and the daemon serves before it compiles."""

from __future__ import annotations

import threading
from pathlib import Path

from streamlearn_client import Client
from tests.e2e.daemon_process import SECONDS, DaemonProcess
from tools.waiting import wait_for

PATTERNS = [[1, 1, -1, -1], [-1, 1, -1, 1]]


def processes_with(setting: str) -> list[str]:
    """The command lines of the processes that have ``setting`` in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if setting.encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:  # it ended, or belongs to another user
            continue
    return found


def test_a_first_start_serves_and_compiles_what_a_new_model_needs_first(tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(cache))
    answered = 0
    with DaemonProcess(tmp_path) as daemon:
        daemon.ready(SECONDS)
        assert not list(cache.rglob("*.nbc")), "it is ready before a kernel is compiled"
        with Client(daemon.requests) as client, Client(daemon.requests, timeout=SECONDS) as other:
            creation = threading.Thread(
                target=client.create, args=("m", "hamming"), kwargs={"dim": 4, "patterns": PATTERNS}
            )
            creation.start()
            wait_for(lambda: "for the kind hamming" in daemon.stderr, "the compilation for create")
            while creation.is_alive():
                other.models()
                answered += 1
                creation.join(0.02)
            assert answered > 10, "another client waited for the compiler"
            assert client.predict("m", [[1, 1, 1, -1]]).winner == [0]
        wait_for(lambda: "beside serving" in daemon.stderr, "the compilation beside serving")
        assert any("compiler.parallel" in each for each in processes_with(f"NUMBA_CACHE_DIR={cache}"))
        assert daemon.terminate() == 0
    wait_for(lambda: not processes_with(f"NUMBA_CACHE_DIR={cache}"), "the end of the compilers")
    assert "hamming.learn" in {
        ".".join(path.name.split(".")[:2]).split("-")[0] for path in cache.rglob("*.nbc")
    }
