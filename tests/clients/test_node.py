"""The Node client as a user gets it: packed, installed from the tarball, with its examples and documents."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clients.suite.node_package import BUILD, SOURCE, installed
from clients.suite.trial import Daemon, rows, until
from tests.clients.traces import trace

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
VECTORS = ROOT / "clients" / "vectors"
SECONDS = 120
SEEDS = range(60)
DOCUMENTS = ("clients/node/README.md", "docs/reference/node.md")
SPEC = {"dim": 4, "grid": [4, 4]}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path_factory.mktemp("node") / "daemon", {})
    yield daemon
    daemon.kill()


def node(*arguments: object, **environment: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["node", *map(str, arguments)],
        cwd=installed(),
        env=variables(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def variables(more: dict[str, object]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STREAMLEARN_")}
    return kept | {name: str(value) for name, value in more.items()}


def passes(test: str, **environment: object) -> None:
    done = node("--test", f"test/{test}.test.mjs", VECTORS=VECTORS, **environment)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    found = re.search(r"^# pass (\d+)$", done.stdout, re.MULTILINE)
    assert found is not None
    assert int(found[1]) > 0


class Program:
    """An example program that runs in the background."""

    def __init__(self, *arguments: object, daemon: Daemon) -> None:
        self.process = subprocess.Popen(
            ["node", *map(str, arguments)],
            cwd=installed(),
            env=variables({"STREAMLEARN_ENDPOINT": daemon.requests}),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def line(self, text: str) -> str:
        """Return the next line that contains ``text``."""
        return self.lines(text).splitlines()[-1]

    def lines(self, *texts: str) -> str:
        """Return the next lines, until each text was in one of them."""
        assert self.process.stdout is not None
        seen = ""
        for line in self.process.stdout:
            seen += line
            if all(text in seen for text in texts):
                return seen
        raise AssertionError(f"no lines with {texts}: {seen}")

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


# ------------------------------------------------------------------------------------------------ the package


def test_the_lock_file_names_no_registry_and_pins_the_manifest() -> None:
    lock = json.loads((SOURCE / "package-lock.json").read_text())
    manifest = json.loads((SOURCE / "package.json").read_text())
    packages = lock["packages"]
    assert not [name for name, entry in packages.items() if "resolved" in entry]
    assert all("integrity" in entry for name, entry in packages.items() if name)
    for kind in ("dependencies", "devDependencies", "version"):
        assert packages[""][kind] == manifest[kind]
    for entry in packages.values():
        entry.pop("funding", None)  # links to the authors
    assert "http" not in json.dumps(lock)


def test_its_version_is_that_of_the_python_client() -> None:
    version = json.loads((SOURCE / "package.json").read_text())["version"]
    python = tomllib.loads((ROOT / "clients" / "python" / "pyproject.toml").read_text())["project"]["version"]
    assert version == python
    for document in DOCUMENTS:
        assert f"streamlearn-client-{version}.tgz" in (ROOT / document).read_text()


def test_the_tarball_has_the_compiled_client_with_its_types_and_nothing_else() -> None:
    app = installed()
    package = app / "node_modules" / "streamlearn-client"
    names = {path.relative_to(package).parts[0] for path in package.rglob("*")}
    assert names == {"LICENSE", "README.md", "dist", "examples", "package.json"}
    assert (package / "dist" / "index.d.ts").exists()
    assert {path.name for path in (app / "node_modules").iterdir()} >= {"zeromq", "@msgpack", "@noble"}
    assert not (app / "node_modules" / "typescript").exists()
    assert not list(package.rglob("*.ts.map"))


def test_files_are_as_short_as_those_in_python() -> None:
    for path in (*SOURCE.glob("src/*"), *SOURCE.glob("test/*"), *SOURCE.glob("examples/*")):
        lines = path.read_text(encoding="utf-8").splitlines()
        assert len(lines) <= 450, path
        assert max(map(len, lines)) <= 110, path


def test_a_program_with_strict_types_compiles() -> None:
    tsc = next(BUILD.glob("*/node_modules/.bin/tsc"))
    options = ["--noEmit", "--strict", "--target", "es2023", "--lib", "es2023,esnext.disposable"]
    options += ["--module", "nodenext", "--types", "node", "--noUncheckedIndexedAccess"]
    command = [tsc, *options, installed() / "test" / "usage.ts"]
    done = subprocess.run(command, cwd=installed(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


# ----------------------------------------------------------------------------------------------- behaviour


def test_golden_vectors() -> None:
    passes("vectors")


def test_refused_requests(daemon: Daemon) -> None:
    passes("refused", STREAMLEARN_ENDPOINT=daemon.requests)


def test_changes_are_executed_once_and_calls_run_at_the_same_time(daemon: Daemon) -> None:
    passes("once", STREAMLEARN_ENDPOINT=daemon.requests)


def test_values() -> None:
    passes("values")


def test_the_window_decides_as_that_of_the_python_client(tmp_path: Path) -> None:
    traces: list[dict[str, Any]] = [trace(seed) for seed in SEEDS]
    steps = [step for each in traces for step in each["steps"]]
    assert {step["after"]["failure"] for step in steps} >= {None, "UNKNOWN_PRODUCER"}
    assert max(step["after"]["epoch"] for step in steps) > 1
    assert max(step["after"]["resent"] for step in steps) > 10
    path = tmp_path / "traces.json"
    path.write_text(json.dumps(traces))
    passes("window", TRACES=path)


def test_a_process_ends_when_its_subscription_is_closed(daemon: Daemon) -> None:
    with daemon.client() as client, Program("test/process.mjs", "awaited", daemon=daemon) as program:
        client.create("awaited", "som", **SPEC)
        program.line("open")
        client.learn("awaited", [[1, 2, 3, 4]])
        program.line("rows 1")
        assert program.process.wait(SECONDS) == 0


# ---------------------------------------------------------------------------------------- examples, documents


def test_push_sensor(daemon: Daemon) -> None:
    with Program("examples/push-sensor.mjs", daemon=daemon) as program:
        program.line("acknowledged")
        daemon.restart()
        until(lambda: daemon.samples("pump") > 100)
        program.process.send_signal(signal.SIGINT)
        assert int(program.line("stopped after").split()[2]) == daemon.samples("pump")
        assert program.process.wait(SECONDS) == 0


def test_ask(daemon: Daemon) -> None:
    with daemon.client() as client:
        client.create("asked", "som", **SPEC)
        client.learn("asked", rows(50, dim=4))
    answered = node("examples/ask.mjs", "asked", "1,2,,4", STREAMLEARN_ENDPOINT=daemon.requests)
    assert "asked: kind som, 50 samples learned" in answered.stdout, answered.stderr
    assert re.search(r"1,2,,4: winner \d+, distance [\d.]+, score ", answered.stdout)
    refused = node("examples/ask.mjs", "no-such", "1", STREAMLEARN_ENDPOINT=daemon.requests)
    assert (refused.returncode, refused.stderr[:13]) == (1, "UNKNOWN_MODEL")


def test_watch_events(daemon: Daemon) -> None:
    alarm = {"dim": 4, "grid": [4, 4], "scale": "standard", "alarm": True}
    with daemon.client() as client, Program("examples/watch-events.mjs", "seen", daemon=daemon) as program:
        client.create("seen", "som", **alarm)
        program.line("watching seen")
        rng = np.random.default_rng(1)
        client.learn("seen", rng.normal(size=(4000, 4)))
        client.learn("seen", rng.normal(size=(100, 4)) + 9)
        lines = program.lines("alarm begins", "sample 4000: score ")
        assert re.search(r"seen: alarm begins at sample 4\d\d\d: score, channel \d", lines)
        assert re.search(r"sample 4\d\d\d: score (0\.999|1\.)", lines)


def test_http_gateway(daemon: Daemon) -> None:
    with daemon.client() as client, Program("examples/http-gateway.mjs", 0, daemon=daemon) as program:
        client.create("web", "som", **SPEC)
        address = program.line("listening").split()[-1]
        request = urllib.request.Request(f"{address}/web", json.dumps([[1, 2, None, 4]] * 3).encode())
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            found = json.load(answer)
        assert len(found["score"]) == 3
        assert client.describe("web")["samples"] == 3
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{address}/web", b"[[1]]", timeout=SECONDS)
        assert json.load(caught.value)["code"] == "BAD_SHAPE"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents(document: str, daemon: Daemon, tmp_path: Path) -> None:
    text = (ROOT / document).read_text()
    marked = re.sub(r"<!-- not run: needs.*?-->\n```js\n.*?```", "", text, flags=re.DOTALL)
    blocks = re.findall(r"^```js\n(.*?)^```", marked, re.MULTILINE | re.DOTALL)
    assert blocks
    program = "\n".join(blocks).replace("tcp://127.0.0.1:7700", daemon.requests)
    model = f"doc-{DOCUMENTS.index(document)}"
    path = installed() / f"{tmp_path.name}-{model}.mjs"
    path.write_text(program.replace('"pump"', f'"{model}"'))
    done = node(path)
    assert done.returncode == 0, f"{program}\n{done.stdout}\n{done.stderr}"
    with daemon.client() as client:
        assert client.describe(model)["samples"] >= 1000
