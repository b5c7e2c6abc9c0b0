"""Reads the configuration file of a bridge. Errors name the file, the setting, and what was expected."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from streamlearn.bridges.mqtt.settings import Settings
from streamlearn.errors import BadConfig
from streamlearn.spelling import hint


def load(path: Path) -> Settings:
    """Return the settings of a file. Raises `BadConfig` with all mistakes."""
    try:
        with path.open("rb") as file:
            given = tomllib.load(file)
    except OSError as error:
        raise BadConfig(f"can't read {path}: {error.strerror}", path=str(path)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadConfig(f"{path} is not TOML: {error}", path=str(path)) from None
    try:
        settings = Settings(**given)
    except ValidationError as error:
        errors = [_described(details) for details in error.errors()]
    else:
        errors = list(_missing_files(settings))
        if not errors:
            return settings
    count = "1 mistake" if len(errors) == 1 else f"{len(errors)} mistakes"
    messages = "; ".join(f"{found['field']}: {found['message']}" for found in errors)
    raise BadConfig(f"{count} in {path}: {messages}", errors=errors)


def _described(error: ErrorDetails) -> dict[str, str]:
    """Return a mistake as {field, message}."""
    place = [part for part in error["loc"] if part not in ("dict[str,str]", "list[str]", "str")]
    field = ".".join(str(part) for part in place) or "configuration"
    message = error["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if error["type"] == "extra_forbidden":
        known = _known(error["loc"][:-1])
        message = f"unknown setting ({hint(str(error['loc'][-1]), known, 'known: ' + ', '.join(known))})"
    elif error["type"] == "missing":
        message = "is missing"
    elif error["type"] != "value_error":
        message = f"{message}, not {error['input']!r:.60}"
    return {"field": field, "message": f"{message[:1].lower()}{message[1:]}"}


def _known(place: tuple[int | str, ...]) -> list[str]:
    """Return the names of the settings at a place of the file."""
    section: Any = Settings
    for part in place:
        if isinstance(section, type) and issubclass(section, BaseModel) and part in section.model_fields:
            section = section.model_fields[str(part)].annotation
            inner = [
                each for each in get_args(section) if isinstance(each, type) and issubclass(each, BaseModel)
            ]
            section = inner[0] if inner else section
    return list(section.model_fields) if isinstance(section, type) and issubclass(section, BaseModel) else []


def _missing_files(settings: Settings) -> Iterator[dict[str, str]]:
    """Yield the files of the settings that can't be read."""
    broker, tls = settings.broker, settings.broker.tls
    files = {"broker.password_file": broker.password_file, "daemon.key_file": settings.daemon.key_file}
    if tls is not None:
        files |= {f"broker.tls.{name}": getattr(tls, name) for name in ("ca", "certificate", "private_key")}
    for field, path in files.items():
        try:
            if path is not None:
                path.read_bytes()
        except OSError as error:
            yield {"field": field, "message": f"can't read {path}: {error.strerror}"}
