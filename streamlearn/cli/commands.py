"""The commands of the program. The module of a command is imported when the command is used.

Typer makes the options of a command from its signature. For all commands this took an eighth of the start
of a daemon.
"""

from __future__ import annotations

from collections import UserDict
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from streamlearn.cli.values import DirectValues

MODULES = {  # module -> its commands, in the order of the help
    "serve": "serve",
    "keygen": "keygen",
    "demo": "demo",
    "warmup": "warmup",
    "models": "status models create describe reheat pause resume feedback delete",
    "push": "push",
    "read": "read",
    "predict": "predict forecast sample",
    "label": "label",
    "alarms": "alarms",
    "watch": "watch",
    "explain": "explain",
    "gateway": "gateway token",
    "mqtt": "mqtt",
    "kafka": "kafka",
    "checkpoints": "checkpoint checkpoints unpin restore",
    "transfers": "export clone",
    "backup": "backup",
    "verify": "verify",
    "repair": "repair",
}


class Commands(UserDict[str, Any]):
    """The commands by name, each made at its first use."""

    def __init__(self) -> None:
        super().__init__()
        self._modules = {name: module for module, names in MODULES.items() for name in names.split()}
        self.data = dict.fromkeys(self._modules)

    def __getitem__(self, name: str) -> Any:
        if self.data[name] is None:
            module = import_module(f"{__package__}.{self._modules[name]}")
            own = typer.Typer(
                add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False
            )
            own.command(cls=Command)(getattr(module, name))
            self.data[name] = typer.main.get_command(own)
        return self.data[name]


class Command(DirectValues, TyperCommand):
    """A command."""


class Program(DirectValues, TyperGroup):
    """The program: a group of commands."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = Commands()

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override] # Typer's own subclass
        """Return the names of the commands."""
        return list(self.commands)
