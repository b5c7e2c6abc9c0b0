"""The demo's models in a page: a daemon on the demo's data, a gateway, and the streams once more, slowly."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console

from streamlearn.cli.demo.daemon import Daemon
from streamlearn.cli.demo.models import DemoModel
from streamlearn.cli.errors import CommandError
from streamlearn_client import Client

ADDRESS: Final = "127.0.0.1:7780"
ROWS, PAUSE_SECONDS = 5, 0.25
"""Samples of each stream in one step, and the pause after it."""


def stay(models: Sequence[DemoModel], directory: Path, console: Console) -> None:
    """Show the models in a page until Ctrl-C. ``directory`` is that of the demo's scenario."""
    with Daemon(directory / "data", directory / "daemon.log") as daemon:
        daemon.start()
        environment = {key: value for key, value in os.environ.items() if not key.startswith("STREAMLEARN_")}
        gateway = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "streamlearn",
                "gateway",
                "--http",
                _free_address(),
                "-e",
                daemon.endpoint,
            ],
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            env=environment,
            text=True,
        )
        try:
            assert gateway.stdout is not None
            line = gateway.stdout.readline()
            if "ready" not in line:
                raise CommandError("the gateway did not start; the lines above say why")
            console.print(f"the page with these models: {line.split()[-1]} (Ctrl-C ends it)", highlight=False)
            _send(models, daemon.endpoint)
        except KeyboardInterrupt:
            console.print("the page has ended")
        finally:
            gateway.terminate()
            gateway.wait()
            daemon.stop()


def _free_address() -> str:
    """Return the usual address of a gateway, or one with another port if it is in use."""
    host, _, port = ADDRESS.partition(":")
    with socket.socket() as tried:
        try:
            tried.bind((host, int(port)))
        except OSError:
            return f"{host}:0"
    return ADDRESS


def _send(models: Sequence[DemoModel], endpoint: str) -> None:
    """Send the streams from their beginning, again and again, so that the page has something to show."""
    with Client(endpoint, timeout=30.0) as client:
        for step in itertools.count():
            for model in models:
                at = step * ROWS % (len(model.x) - ROWS)
                client.learn(model.name, model.x[at : at + ROWS], ack="received")
            time.sleep(PAUSE_SECONDS)
