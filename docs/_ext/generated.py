"""Directives that write reference pages from the program itself, so that they are always current.

``{commands}``     each command of the command line with its arguments and options, from the Typer app
``{error-codes}``  each error that travels in a reply, from `streamlearn_client.errors`
``{outputs} KIND`` the outputs of a kind of model, from `streamlearn.models.outputs`
``{settings}``     each setting of the daemon, from its section; descriptions are the comments of
                   ``deploy/streamlearn.toml``
"""

from __future__ import annotations

import inspect
import re
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import typer
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).parents[2]


class Generated(SphinxDirective):
    """Parse the Markdown that ``write`` returns in place of the directive."""

    def run(self) -> list[nodes.Node]:
        return self.parse_text_to_nodes(self.write(), allow_section_headings=True)

    def write(self) -> str:
        raise NotImplementedError


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


# ---------------------------------------------------------------------- commands


class Commands(Generated):
    def write(self) -> str:
        from streamlearn.cli import app

        group = typer.main.get_command(app)
        return "\n\n".join(command(name, each) for name, each in group.commands.items())


def command(name: str, each: Any) -> str:
    """Section of one command: usage, help text, arguments and options."""
    arguments = [parameter for parameter in each.params if parameter.param_type_name == "argument"]
    options = [parameter for parameter in each.params if parameter.param_type_name == "option"]
    metavars = " ".join((parameter.metavar or parameter.name).upper() for parameter in arguments)
    parts = [f"## `streamlearn {name}`", paragraphs(each.help)]
    parts.append(f"```text\nstreamlearn {name} [OPTIONS] {metavars}".rstrip() + "\n```")
    if arguments:
        rows = [(f"`{(one.metavar or one.name).upper()}`", one.help or "") for one in arguments]
        parts.append(table(("argument", "meaning"), rows))
    rows = [option(each, parameter) for parameter in options if not parameter.hidden]
    parts.append(table(("option", "value", "meaning", "default"), rows))
    return "\n\n".join(parts)


def paragraphs(text: str) -> str:
    """Help as Markdown; Click's marker for verbatim paragraphs is left out, command lines become code."""
    found = [part.replace("\b\n", "").strip() for part in inspect.cleandoc(text or "").split("\n\n")]
    return "\n\n".join(f"`{part}`" if part.startswith("streamlearn ") else part for part in found if part)


def option(each: Any, parameter: Any) -> tuple[str, str, str, str]:
    names = ", ".join(f"`{name}`" for name in sorted(parameter.opts, key=len, reverse=True))
    kind = parameter.metavar or parameter.display_type(typer.Context(each)).strip("<>").removesuffix(" range")
    value = "" if parameter.is_flag else f"`{kind}`"
    shown = parameter.show_default
    default = shown if isinstance(shown, str) else parameter.default
    if parameter.is_flag or default is None or default is False or callable(default):
        default = ""
    return names, value, parameter.help or "", f"`{default}`" if default != "" else ""


# ---------------------------------------------------------------------- errors


class ErrorCodes(Generated):
    def write(self) -> str:
        from streamlearn_client import errors

        classes = [*errors.by_code.values(), errors.Unrecognised]
        rows = [
            (f"`{cls.code}`", f"`{cls.__name__}`", "yes" if cls.retryable else "", first_paragraph(cls))
            for cls in classes
        ]
        return table(("code", "Python class", "retryable", "meaning"), rows)


def first_paragraph(cls: type) -> str:
    text = " ".join(inspect.cleandoc(cls.__doc__ or "").split("\n\n")[0].split())
    return text.replace("``", "`")


# ---------------------------------------------------------------------- outputs


class OutputsTable(Generated):
    required_arguments = 1

    def write(self) -> str:
        from streamlearn import models
        from streamlearn.models.outputs import columns

        cls = models.kinds()[self.arguments[0]]
        rows = [
            (
                f"`{name}`",
                dtype,
                " or ".join(f"`{shape}`" for shape in column.shapes),
                column.text.replace("``", "`"),
            )
            for name, (dtype, column) in columns(cls.outputs_class).items()
        ]
        return "Outputs of `learn` and `predict`:\n\n" + table(("output", "dtype", "shape", "meaning"), rows)


# ---------------------------------------------------------------------- settings


class SettingsTable(Generated):
    def write(self) -> str:
        from streamlearn.daemon.config import Settings
        from streamlearn.daemon.sections import is_section, kinds

        comments = toml_comments(ROOT / "deploy/streamlearn.toml")
        parts = ["## General\n\n" + settings_section("", Settings, comments)]
        for name, kind in kinds(Settings).items():
            if is_section(kind):
                parts.append(f"## `[{name}]`\n\n" + settings_section(f"{name}.", kind, comments))
        return "\n\n".join(parts)


def settings_section(prefix: str, section: type, comments: dict[str, str]) -> str:
    from streamlearn.daemon.sections import is_section, kinds

    rows = []
    for field in fields(section):
        key, kind = f"{prefix}{field.name}", kinds(section)[field.name]
        if is_section(kind):
            continue
        default = "none" if field.default in ((), "") else f"`{field.default}`"
        choices = ", ".join(f"`{each}`" for each in get_args(kind) if isinstance(each, str))
        text = comments[key]
        rows.append((f"`{key}`", default, f"{text} {f'One of {choices}.' if choices else ''}"))
    return table(("setting", "default", "meaning"), rows)


def toml_comments(path: Path) -> dict[str, str]:
    """The comment above each setting of a file where settings are commented out, or above a group of them."""
    section, lines, found, previous = "", [], {}, ""
    for line in path.read_text().splitlines():
        if heading := re.fullmatch(r"#?\[+(\w+)\]+", line):
            if heading[1] not in found:
                found[heading[1]] = " ".join(lines)
            section, lines = f"{heading[1]}.", []
        elif setting := re.match(r"#(\w+) = ", line):
            found.setdefault(section + setting[1], " ".join(lines))
            previous = line
            continue
        elif line.startswith("# "):
            lines = [*([] if previous else lines), line[2:]]
        else:
            lines = []
        previous = ""
    return found


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("commands", Commands)
    app.add_directive("error-codes", ErrorCodes)
    app.add_directive("outputs", OutputsTable)
    app.add_directive("settings", SettingsTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
