"""Pages whose programs and commands need a daemon, run from top to bottom beside a real one."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from streamlearn_client import Client
from tests.bridges.mqtt.processes import Bridge, Broker
from tests.documents import PAGES, ROOT, Example, blocks, examples, matches, needs_a_daemon
from tests.e2e.daemon_process import SECONDS, DaemonProcess

pytestmark = pytest.mark.e2e

DEFAULT = "tcp://127.0.0.1:7700"
GATEWAY = "http://127.0.0.1:7780"
TUNNEL = "tcp://127.0.0.1:17700"
REMOTE = "tcp://plant-server:7700"  # of pages with two hosts; both are this directory
SCP = 'scp() { cp "${1#plant-server:}" "${2#plant-server:}"; }; '
KEY_OPTIONS = ("--server-key", "--client-keys", "--rights")
SESSIONS = [page for page in PAGES if page != "README.md" and needs_a_daemon(page)]


class Session:
    """A reader of one page: a directory, a daemon, a shell and a Python namespace."""

    def __init__(self, directory: Path, update: bool) -> None:
        self.directory = directory
        self.update = update
        self.names: dict[str, object] = {}
        self.printed = ""
        self.daemon: DaemonProcess | None = None
        self.options: list[str] = []  # of the daemon
        self.exported: dict[str, str] = {}
        self.http = GATEWAY  # the real address
        self.broker: Broker | None = None  # of pages with MQTT
        self.bridge: Bridge | None = None
        for file in (ROOT / "docs/data").glob("*.csv"):
            shutil.copy(file, directory)

    def run(self, block: Example) -> list[str]:
        """Run one block; returns what the page shows wrongly. In update mode the page is corrected."""
        match block.language:
            case "python":
                self.serve()
                out = io.StringIO()
                with contextlib.redirect_stdout(out):
                    source = block.source.replace(DEFAULT, self.requests).replace(REMOTE, self.requests)
                    block._replace(source=source).run(self.names)
                self.printed = out.getvalue()
            case "output":
                return self.compare(block, [("", block.source, self.printed)])
            case "console":
                pairs = [(typed, shown, self.shell(typed)) for typed, shown in block.commands()]
                return self.compare(block, pairs)
        return []

    def compare(self, block: Example, pairs: list[tuple[str, str, str]]) -> list[str]:
        """Compare (command, output of the page, real output)."""
        wrong = [pair for pair in pairs if not matches(*pair[1:])]
        if wrong and self.update:
            page = ROOT / block.name.partition(":")[0]
            source = "".join(
                typed + (real if (typed, shown, real) in wrong else shown) for typed, shown, real in pairs
            )
            fence = f"```{block.language}\n"
            page.write_text(page.read_text().replace(f"{fence}{block.source}```", f"{fence}{source}```", 1))
            return []
        return [
            f"{block.name}: {typed}the page shows:\n{shown}\nthe command printed:\n{real}"
            for typed, shown, real in wrong
        ]

    @property
    def requests(self) -> str:
        return f"ipc://{self.directory}/requests"

    def serve(self, options: list[str] | None = None) -> str:
        """Start the daemon if it does not run with these options; returns its ready line."""
        running = self.daemon is not None and self.daemon.process.poll() is None
        if running and (options is None or options == self.options):
            return ""
        if self.daemon is not None and running:
            self.daemon.terminate()
        self.options = options or self.options
        data = self.directory / "streamlearn-data"
        self.daemon = DaemonProcess(self.directory, *self.options, settings={"data_dir": data})
        ready = self.daemon.ready()
        if found := re.search(r"http=(\S+)", ready):
            self.http = found[1]
            ready = ready.replace(self.http, GATEWAY)
        line = ready.replace(f"{self.directory}/streamlearn-data", "streamlearn-data")
        for name, port in ("requests", 7700), ("firehose", 7701), ("events", 7702):
            line = line.replace(f"ipc://{self.directory}/{name}", f"tcp://127.0.0.1:{port}")
        return line

    def shell(self, typed: str) -> str:
        """Run what a reader types after ``$``, and after ``>`` in lines that go on."""
        command = typed[2:].replace("\n> ", "\n")
        words = shlex.split(command, comments=True)
        if words[:2] == ["streamlearn", "serve"]:
            pairs = itertools.pairwise(words)
            options = [part for pair in pairs if pair[0] in KEY_OPTIONS for part in pair]
            return self.serve([*options, *(["--http", "127.0.0.1:0"] if "--http" in words else [])])
        if words[:2] == ["streamlearn", "mqtt"]:
            return self.bridged(Path(words[words.index("--config") + 1]))
        if "mosquitto" in command or "port = 1883" in command:
            command = self.brokered(command)
        if words[0] == "export":
            self.exported |= dict(word.replace(GATEWAY, self.http).split("=", 1) for word in words[1:])
            return ""
        self.serve()
        assert self.daemon is not None
        if words[0] in ("kill", "pkill"):
            self.daemon.kill()
            return ""
        done = subprocess.run(
            ["bash", "-c", SCP + command],
            cwd=self.directory,
            env=os.environ
            | self.exported
            | {
                "STREAMLEARN_ENDPOINT": self.requests,
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "COLUMNS": "100",
                "TZ": "UTC",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
        )
        return (
            done.stdout.replace(self.requests, DEFAULT)
            .replace(self.http, GATEWAY)
            .replace(f"{self.directory}/", "")
        )

    def brokered(self, command: str) -> str:
        """Start a broker, the default one of the page's commands."""
        if self.broker is None:
            self.broker = Broker(self.directory / "mosquitto")
            for client in "mosquitto_pub", "mosquitto_sub":  # their files of options
                (self.directory / "mosquitto" / client).write_text(f"-p {self.broker.port}\n")
            self.exported["XDG_CONFIG_HOME"] = str(self.directory / "mosquitto")
        return command.replace("port = 1883", f"port = {self.broker.port}")

    def bridged(self, file: Path) -> str:
        """Start a bridge; returns its ready line."""
        self.serve()
        assert self.broker is not None
        self.bridge = Bridge(self.directory / "bridge", self.requests, file.read_text())
        self.bridge.ready()
        return f"{self.bridge.line}\n".replace(str(self.broker.port), "1883")

    def end(self) -> None:
        for process in self.bridge, self.broker:
            if process is not None:
                process.kill()
        if self.daemon is not None:
            self.daemon.__exit__()


@pytest.mark.parametrize("page", SESSIONS)
def test_a_page_shows_what_its_commands_print(page, tmp_path, monkeypatch, request):
    """``pytest tests/e2e/test_documents.py --update-documents`` writes the real outputs into the pages."""
    monkeypatch.chdir(tmp_path)
    session = Session(tmp_path, request.config.getoption("--update-documents"))
    try:
        wrong = [each for block in blocks(page) if block.runs for each in session.run(block)]
    finally:
        session.end()
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("page", ["README.md", "clients/python/README.md"])
def test_the_first_program_does_what_it_shows(page, serve):
    daemon = serve()
    daemon.ready()
    (program,) = (example for example in examples(page) if example.needs_a_daemon)
    assert f'"{DEFAULT}"' in program.source
    names = {}
    program._replace(source=program.source.replace(DEFAULT, daemon.requests)).run(names)
    with Client(daemon.requests, timeout=SECONDS) as client:
        there = client.describe("pump")
    assert there["samples"] == len(names["samples"]) == 1000
    assert max(each["lsn"] for each in there["checkpoints"]) == there["applied_lsn"]
    assert len(names["out"].winner) == 1


def test_a_checkpoint_opens_in_another_process_as_the_page_shows(serve, tmp_path):
    daemon = serve()
    daemon.ready()
    with Client(daemon.requests) as client:
        client.create("pump", "som", dim=8, grid=[10, 10], scale="standard")
        with client.stream("pump") as stream:  # numbered batches: the checkpoint holds a table of producers
            stream.push_many(np.random.default_rng(1).normal(size=(500, 8)))
        live = client.describe("pump")["state_hash"]
    (program,) = (each for each in examples("docs/operate/backup.md") if "sl.load" in each.source)
    source = program.source.replace(DEFAULT, daemon.requests)
    names = {}
    program._replace(source=source.replace("streamlearn-data", f"{tmp_path}/daemon/data")).run(names)
    assert names["som"].state_hash() == live
    with pytest.raises(StopIteration):
        next(names["files"])


def test_every_page_with_commands_uses_the_default_endpoint():
    for page in SESSIONS:
        for block in blocks(page):
            found = re.findall(r"Client\(\"(.*?)\"", block.source)
            assert set(found) <= {DEFAULT, REMOTE, TUNNEL}, block.name
