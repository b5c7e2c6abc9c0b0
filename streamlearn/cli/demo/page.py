"""The demo's models in a page: a daemon with a gateway, and the streams once more, slowly."""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console

from streamlearn.access.hosts import host_and_port
from streamlearn.cli.demo.daemon import Daemon, free_ports
from streamlearn.cli.demo.models import DemoModel
from streamlearn_client import Client

ADDRESS: Final = "127.0.0.1:7780"
ROWS, PAUSE_SECONDS = 5, 0.25
"""Samples of each stream in one step, and the pause after it."""


def stay(models: Sequence[DemoModel], directory: Path, console: Console) -> None:
    """Show the models in a page until Ctrl-C. ``directory`` is that of the demo's scenario."""
    address = _free_address()
    with Daemon(directory / "data", directory / "daemon.log", options=("--http", address)) as daemon:
        daemon.start()
        console.print(f"the page with these models: http://{address} (Ctrl-C ends it)", highlight=False)
        try:
            _send(models, daemon.endpoint)
        except KeyboardInterrupt:
            console.print("the page has ended")
        finally:
            daemon.stop()


def _free_address() -> str:
    """Return the usual address of a gateway, or one with another port if it is in use."""
    with socket.socket() as tried:
        try:
            tried.bind(host_and_port(ADDRESS))
        except OSError:
            return f"127.0.0.1:{free_ports(1)[0]}"
    return ADDRESS


def _send(models: Sequence[DemoModel], endpoint: str) -> None:
    """Send the streams from their beginning, again and again, so that the page has something to show."""
    with Client(endpoint, timeout=30.0) as client:
        for step in itertools.count():
            for model in models:
                at = step * ROWS % (len(model.x) - ROWS)
                client.learn(model.name, model.x[at : at + ROWS], ack="received")
            time.sleep(PAUSE_SECONDS)
