"""Checks what a release promises: one version everywhere, and packages that work in empty environments.

    python -m tools.release_check [--python python3.12 …]

Builds a wheel and a source distribution of both packages, installs them into an empty environment of each
version of Python, and in each of them runs a daemon, kills it, and asks the next one for the model. The
interpreters come from the path or from pyenv. CONTRIBUTING.md has the steps of a release that a person does.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = (REPOSITORY / "clients/python", REPOSITORY)
PYTHONS = ("3.11", "3.12", "3.13")
DATED = re.compile(r"^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d{2}-\d{2}$", re.MULTILINE)

USE = """
import atexit, pathlib, subprocess, sys, numpy as np
from streamlearn_client import Client

def serve():
    command = [sys.executable, "-m", "streamlearn", "serve", "--data-dir", "data"]
    for name in ("requests", "firehose", "events"):
        command += [f"--{name}", "ipc://" + str(pathlib.Path(name).resolve())]
    daemon = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=open("log", "a"), text=True)
    atexit.register(daemon.kill)
    assert "ready" in daemon.stdout.readline(), open("log").read()
    return daemon

endpoint = "ipc://" + str(pathlib.Path("requests").resolve())
samples = np.random.default_rng(1).normal(size=(500, 3))
daemon = serve()
with Client(endpoint, timeout=300) as client:
    client.create("pump", kind="som", dim=3, grid=[4, 4])
    client.learn("pump", samples)
    before = client.describe("pump")["state_hash"]
daemon.kill()
daemon.wait()
daemon = serve()
with Client(endpoint, timeout=300) as client:
    assert client.describe("pump")["state_hash"] == before
daemon.terminate()
assert daemon.wait() == 0
import streamlearn as sl
som = sl.SOM(dim=3, grid=(4, 4))
som.learn(samples)
assert som.state_hash() == before, "the model in the process differs from the daemon's"
"""


def main() -> None:
    """Check the versions, build, install and use the packages."""
    parser = argparse.ArgumentParser(prog="python -m tools.release_check", description=main.__doc__)
    parser.add_argument("--python", action="append", help="an interpreter; by default 3.11, 3.12 and 3.13")
    options = parser.parse_args()
    interpreters = options.python or [find_python(version) for version in PYTHONS]
    version = check_versions()
    with tempfile.TemporaryDirectory(prefix="release-") as name:
        work = Path(name)
        wheels, sources = build(work / "dist")
        say(f"built {', '.join(path.name for path in [*wheels, *sources])}")
        for python in interpreters:
            check_install(work, python, wheels, version)
        check_pipx(work, interpreters[0], wheels, version)
        check_install(work, interpreters[0], sources, version)
    say(f"version {version} can be released")


def check_versions() -> str:
    """Return the version that all files name, and check that the changelog dates it."""
    projects = [tomllib.loads((path / "pyproject.toml").read_text())["project"] for path in PACKAGES]
    modules = [REPOSITORY / "streamlearn/__init__.py", PACKAGES[0] / "streamlearn_client/__init__.py"]
    found = {project["version"] for project in projects}
    found |= {re.findall(r'^__version__ = "(.*)"', path.read_text(), re.MULTILINE)[0] for path in modules}
    if len(found) != 1:
        raise SystemExit(f"the files name the versions {', '.join(sorted(found))}; expected one")
    version = str(found.pop())
    dated = DATED.findall((REPOSITORY / "CHANGELOG.md").read_text())
    if not dated or dated[0] != version:
        raise SystemExit(f"CHANGELOG.md has no line '## [{version}] - DATE' above all other versions")
    return version


def find_python(version: str) -> str:
    """Return an interpreter of ``version`` from the path or from pyenv."""
    candidates = [shutil.which(f"python{version}")]
    candidates += map(str, Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}"))
    for each in filter(None, candidates):
        if subprocess.run([each, "--version"], capture_output=True, check=False).returncode == 0:
            return each
    raise SystemExit(
        f"there is no Python {version} on this machine; install it, or name interpreters by --python"
    )


def build(target: Path) -> tuple[list[Path], list[Path]]:
    """Build both packages and check their metadata. Return the wheels and the source distributions."""
    for path in PACKAGES:
        run(sys.executable, "-m", "build", "--outdir", target, path)
    wheels, sources = sorted(target.glob("*.whl")), sorted(target.glob("*.tar.gz"))
    run(sys.executable, "-m", "twine", "check", "--strict", *wheels, *sources)
    return wheels, sources


def check_install(work: Path, python: str, packages: list[Path], version: str) -> None:
    """Install ``packages`` into an empty environment of ``python``, the client first, and use them."""
    place = Path(tempfile.mkdtemp(dir=work))
    environment = place / "environment"
    run(python, "-m", "venv", environment)
    own = environment / "bin/python"
    client, whole = sorted(packages, key=lambda path: "client" not in path.name)
    began = time.monotonic()
    run(own, "-m", "pip", "install", "--quiet", client)
    seconds = time.monotonic() - began
    names = run(own, "-m", "pip", "list", "--format=freeze")
    if "numba" in names:
        raise SystemExit(f"the client alone installs a compiler:\n{names}")
    run(own, "-m", "pip", "install", "--quiet", whole)
    shown = run(environment / "bin/streamlearn", "--version").strip()
    if shown != f"streamlearn {version}":
        raise SystemExit(f"`streamlearn --version` prints {shown!r}; expected 'streamlearn {version}'")
    run(own, "-c", USE, cwd=place)
    what = "wheels" if client.suffix == ".whl" else "source distributions"
    say(f"{Path(python).name}: {what} work; the client alone was installed in {seconds:.1f} s")


def check_pipx(work: Path, python: str, wheels: list[Path], version: str) -> None:
    """Install the command as docs/operate/deployment.md says."""
    client, whole = sorted(wheels, key=lambda path: "client" not in path.name)
    place = {
        "PIPX_HOME": str(work / "pipx"),
        "PIPX_BIN_DIR": str(work / "bin"),
        "PIPX_MAN_DIR": str(work / "man"),
    }
    found = f"--find-links {client.parent}"
    run(
        sys.executable,
        "-m",
        "pipx",
        "install",
        "--python",
        python,
        "--pip-args",
        found,
        whole,
        variables=place,
    )
    if run(work / "bin/streamlearn", "--version").strip() != f"streamlearn {version}":
        raise SystemExit("the command that pipx installed has another version")
    say("pipx: the command works")


def run(*command: str | Path, cwd: Path | None = None, variables: dict[str, str] | None = None) -> str:
    """Run a command with nothing of this checkout on the path, and return its output."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    words = [str(each) for each in command]
    done = subprocess.run(
        words, cwd=cwd, env=env | (variables or {}), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(words[:6])}\n{done.stdout}{done.stderr}")
    return done.stdout


def say(line: str) -> None:
    """Print what was checked."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
