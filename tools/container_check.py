"""Builds the container image without an engine, runs it as one, and checks what the image promises.

    python -m tools.container_check [--work DIR] [--levels "x86-64-v2 x86-64-v3"]

It needs root and debootstrap. By default it compiles kernels for the level of this processor only, where the
image has those of all levels.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from streamlearn import processor

from .containerfile import Stage, build
from .waiting import wait_for

REPOSITORY = Path(__file__).resolve().parents[1]
FILE = REPOSITORY / "deploy/container/Containerfile"
USER = 10001
PORTS = {
    f"STREAMLEARN_ENDPOINTS__{name}": "tcp://127.0.0.1:*" for name in ("REQUESTS", "FIREHOSE", "EVENTS")
}  # the chroot shares the network of this machine


def main() -> None:
    """Build, run and check."""
    parser = argparse.ArgumentParser(prog="python -m tools.container_check", description=main.__doc__)
    parser.add_argument("--work", type=Path, help="directory for the build; it keeps the Debian base")
    parser.add_argument(
        "--levels", default=processor.highest_level(), help="levels of processors to compile for"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        work.mkdir(exist_ok=True)
        check(build(FILE, REPOSITORY, work, {"LEVELS": options.levels}), Path(temporary) / "data")
    say("the image keeps its promises")


def check(image: Stage, data: Path) -> None:
    """Check that the image is not root, is warm, answers its health check, and keeps its models."""
    data.mkdir()
    os.chown(data, USER, USER)
    if image.user != f"{USER}:{USER}":
        raise SystemExit(f"the image runs as {image.user}; expected {USER}:{USER}")

    daemon, endpoint = serve(image, data)
    client(image, endpoint, "create", "pump", "--kind", "som", "-s", "dim=2", "-s", "grid=4,4")
    before = status(image, endpoint)
    say("a first model is created, by the user of the image, on a root that can only be read")
    done = image.start(image.health, {}, STREAMLEARN_ENDPOINT=endpoint)
    out, err = done.communicate(timeout=60)
    if done.returncode != 0:
        raise SystemExit(f"the health check failed: {out}{err}")
    say("the health check passes")
    log = stop(image, daemon)
    if "compil" in log:
        raise SystemExit(f"the daemon compiled kernels, although the image should be warm:\n{log}")
    say("no kernel was compiled")

    daemon, endpoint = serve(image, data)
    after = status(image, endpoint)
    if after["models"] != before["models"]:
        raise SystemExit(f"the models differ after a restart: {before['models']}, {after['models']}")
    say("a stop by its signal as the first process ends with code 0, and the next start has the model")
    stop(image, daemon)


def serve(image: Stage, data: Path) -> tuple[subprocess.Popen[str], str]:
    """Start the daemon as the image says. Return it and its endpoint for requests."""
    process = image.start([*image.entrypoint, *image.command], {data: "/data"}, **PORTS)
    assert process.stdout is not None
    ready = process.stdout.readline()
    if "ready" not in ready:
        raise SystemExit(f"the daemon did not start: {ready}{process.communicate()[1]}")
    return process, next(word.partition("=")[2] for word in ready.split() if word.startswith("requests="))


def client(image: Stage, endpoint: str, *command: str) -> str:
    """Run a command of the image as a client and return its output."""
    process = image.start([*image.entrypoint, *command, "--json"], {}, STREAMLEARN_ENDPOINT=endpoint)
    out, err = process.communicate(timeout=120)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: {err}")
    return out


def status(image: Stage, endpoint: str) -> dict[str, object]:
    """Return the daemon's counters."""
    return dict(json.loads(client(image, endpoint, "status")))


def stop(image: Stage, process: subprocess.Popen[str]) -> str:
    """Send the image's signal to its first process, as an engine does. Return the log."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    (first,) = wait_for(lambda: children.read_text().split(), "the first process")
    os.kill(int(first), signal.Signals[image.stop_signal])
    _, log = process.communicate(timeout=300)
    if process.returncode != 0:
        raise SystemExit(f"the stop ended with code {process.returncode}:\n{log}")
    return log


def say(line: str) -> None:
    """Print what was checked."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
