"""The behaviours of the suite by name, and how one is run for one client."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from clients.suite.clients import Client
from clients.suite.driver import Refused
from clients.suite.trial import Suite, Trial

Check: TypeAlias = Callable[[Trial], None]
BEHAVIOURS: dict[str, Behaviour] = {}


@dataclass(frozen=True)
class Behaviour:
    """``title`` is its row in the table."""

    name: str
    title: str
    check: Check


def behaviour(title: str) -> Callable[[Check], Check]:
    """Register a function as the behaviour of its name."""

    def register(check: Check) -> Check:
        BEHAVIOURS[check.__name__] = Behaviour(check.__name__, title, check)
        return check

    return register


def run(behaviour: Behaviour, client: Client, command: list[str], directory: Path, suite: Suite) -> bool:
    """Return whether the client has the behaviour; ``False`` if it does not have a function that it needs.

    Every other shortcoming raises an exception. So does a wrong entry in ``client.without``.
    """
    trial = Trial(client, command, directory, suite)
    expected = behaviour.name not in client.without
    try:
        behaviour.check(trial)
    except Refused as refused:
        if refused.code != "NOT_SUPPORTED" or expected:
            raise
        return False
    finally:
        trial.close()
    assert expected, f"{client.name} has {behaviour.name}: remove it from `without` in clients.py"
    return True
