"""``streamlearn`` in a process that is forked from one that has imported everything: it starts in a moment.

A new interpreter needs one to two seconds of the processor for its imports and kernels. A fork runs the
same command with its own arguments, environment, output and signals, and can be killed. Tests of a start,
of what a command imports, or of memory start a new interpreter.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryFile
from typing import IO

NONE: Mapping[str, str] = {}
CONTEXT = get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.preloaded"])


class Forked:
    """The command ``streamlearn``, with the methods of `subprocess.Popen` that tests use.

    It reads ``stdin``. ``log`` is the file to which its standard error is appended. ``stdout`` reads its
    standard output.
    """

    def __init__(
        self, *arguments: str, log: Path, variables: Mapping[str, str] = NONE, stdin: str = ""
    ) -> None:
        reader, writer = CONTEXT.Pipe(duplex=False)
        self.args = ["streamlearn", *arguments]
        self._process = CONTEXT.Process(
            target=_run,
            args=(self.args, stdin, writer, log, dict(os.environ) | dict(variables), Path.cwd()),
            daemon=True,
        )
        self._process.start()
        writer.close()
        self.stdout: IO[bytes] = open(os.dup(reader.fileno()), "rb")  # noqa: SIM115 (closed by the test)
        reader.close()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        code = self.returncode
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


def run(*arguments: str, variables: Mapping[str, str], stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command to its end; return its exit code and what it wrote."""
    with NamedTemporaryFile() as errors:
        process = Forked(*arguments, log=Path(errors.name), variables=variables, stdin=stdin)
        with process.stdout as stdout:
            written = stdout.read().decode()
        return subprocess.CompletedProcess(process.args, process.wait(), written, errors.read().decode())


def _run(
    arguments: list[str], stdin: str, writer: Connection, log: Path, variables: dict[str, str], place: Path
) -> None:
    assert "tests.preloaded" in sys.modules, "its imports failed, and the server of forks says nothing of it"
    from streamlearn.cli import main

    with TemporaryFile() as given:
        given.write(stdin.encode())
        given.seek(0)
        os.dup2(given.fileno(), 0)
    with log.open("ab") as errors:
        os.dup2(errors.fileno(), 2)
    os.dup2(writer.fileno(), 1)
    writer.close()
    sys.stdin, sys.stdout = os.fdopen(0), os.fdopen(1, "w")
    sys.stderr = os.fdopen(2, "w", buffering=1)
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(place)
    sys.argv = arguments
    raise SystemExit(main())
