"""The Node client as a user gets it: packed, and installed from the tarball into a directory of its own."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "clients" / "node"
BUILD = ROOT / "build" / "node-client"
PACKED = (
    "package.json",
    "package-lock.json",
    ".npmrc",
    "tsconfig.json",
    "LICENSE",
    "README.md",
    "src",
    "examples",
)
DRIVER = ROOT / "clients" / "suite" / "drivers" / "driver.mjs"
LEAST_VERSION = 20


@functools.cache
def installed() -> Path:
    """Return a directory in which the package is installed, with its examples, its tests and the driver.

    Dependencies are installed once per lock file, and the package once per version of its files.
    Both are in ``build/``. Processes that run tests at the same time take turns.
    """
    _check_node()
    sources = [file for name in (*PACKED, "test") for file in _files(SOURCE / name)]
    dependencies = BUILD / _digest([SOURCE / "package-lock.json", SOURCE / "package.json"])
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (dependencies / "complete").exists():
            shutil.rmtree(dependencies, ignore_errors=True)
            dependencies.mkdir()
            for name in ("package.json", "package-lock.json", ".npmrc"):
                shutil.copy(SOURCE / name, dependencies)
            _npm(dependencies, "ci", "--ignore-scripts", "--prefer-offline")
            (dependencies / "complete").touch()
        directory = dependencies / _digest([*sources, DRIVER])
        if not (directory / "complete").exists():
            shutil.rmtree(directory, ignore_errors=True)
            _install(directory)
            (directory / "complete").touch()
    return directory / "app"


def _install(directory: Path) -> None:
    package, app = directory / "package", directory / "app"
    for path in (package, app):
        path.mkdir(parents=True)
    for name in PACKED:
        source = SOURCE / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, package / name)
    _npm(package, "pack", "--pack-destination", str(directory))  # runs tsc before
    (tarball,) = directory.glob("*.tgz")
    (app / "package.json").write_text(json.dumps({"private": True, "type": "module"}))
    shutil.copy(SOURCE / ".npmrc", app)
    _npm(app, "install", "--ignore-scripts", "--prefer-offline", str(tarball))
    shutil.copytree(SOURCE / "test", app / "test")
    shutil.copytree(SOURCE / "examples", app / "examples")
    shutil.copy(DRIVER, app)


def _npm(directory: Path, *arguments: str) -> None:
    done = subprocess.run(["npm", *arguments], cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"npm {' '.join(arguments)} in {directory}:\n{done.stdout}\n{done.stderr}"


def _check_node() -> None:
    node = shutil.which("node")
    assert node is not None, "the tests of the Node client need node 20 and npm; install them"
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    assert int(version.removeprefix("v").split(".")[0]) >= LEAST_VERSION, f"node {version} is older than 20"


def _files(path: Path) -> list[Path]:
    return sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]


def _digest(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(os.fsencode(file.relative_to(ROOT)) + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
