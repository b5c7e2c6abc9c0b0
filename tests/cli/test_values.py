"""Values of the command line: those that are converted directly are what Typer makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperCommand

from streamlearn.cli import app
from streamlearn.cli.commands import MODULES

TEXTS = ("", "0", "1", "-1", "17", "1.5", "1e3", "nan", "inf", "x", "-", "yes", "json", "/nowhere", __file__)
COMMANDS = [name for names in MODULES.values() for name in names.split()]


def outcome(parameter: Any, value: Any, context: Any) -> tuple[Any, str]:
    try:
        result = parameter.get_runtime_param().coerce(value, param=parameter, ctx=context)
    except (typer.BadParameter, ValueError) as error:
        return None, str(error)
    return result, type(result).__name__


@pytest.mark.parametrize("name", COMMANDS)
def test_every_parameter_converts_as_typer_does(name: str) -> None:
    command: Any = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    context = typer.Context(command)
    for ours in command.get_params(context):
        values: list[Any] = [None, ours.default] if not callable(ours.default) else [None]
        values += [[text] * 2 for text in TEXTS] if ours.multiple or ours.nargs == -1 else TEXTS
        direct = [outcome(ours, value, context) for value in values]
        vars(ours).pop("get_runtime_param")
        assert repr(direct) == repr([outcome(ours, value, context) for value in values]), ours.name  # NaN


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "secret"
    secret.touch()
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may read all
    command: Any = typer.main.get_command(app).commands["serve"]  # type: ignore[attr-defined]
    assert isinstance(command, TyperCommand)
    with pytest.raises(typer.BadParameter, match="is not readable"):
        command.make_context("serve", ["--config", str(secret)])
