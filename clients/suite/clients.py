"""The clients of the suite: how each driver is built and started."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from clients.suite.c_build import SANITIZED, c_build
from clients.suite.node_package import installed

ROOT = Path(__file__).parents[2]
DRIVERS = Path(__file__).parent / "drivers"


@dataclass(frozen=True)
class Client:
    """A client. ``build`` returns the command of its driver; it is called once per process.

    ``without`` has the behaviours that need a function that this client does not have, with the reason.
    """

    name: str
    title: str
    build: Callable[[], list[str]]
    environment: Mapping[str, str] = field(default_factory=dict)
    without: Mapping[str, str] = field(default_factory=dict)


def _python() -> list[str]:
    return [sys.executable, str(DRIVERS / "driver.py")]


def _c() -> list[str]:
    return [str(c_build("sanitized", *SANITIZED, "driver") / "driver")]


def _node() -> list[str]:
    return ["node", str(installed() / "driver.mjs")]


CLIENTS = {
    each.name: each
    for each in (
        Client("python", "Python", _python, {"PYTHONPATH": str(ROOT / "clients" / "python")}),
        Client("node", "Node", _node),
        Client("c", "C", _c),
    )
}
