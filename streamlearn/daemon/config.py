"""Settings from `streamlearn.toml`, `STREAMLEARN_…` variables and the command line; the last one wins.

All settings are checked before the start, and `BadConfig` reports all errors together.
"""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from streamlearn.access.hosts import host_and_port
from streamlearn.errors import BadConfig, BadSpec, StreamlearnError
from streamlearn.registry import KINDS
from streamlearn.store.retention import Retention
from streamlearn_client.protocol.names import check_model


def free_port(endpoint: str) -> bool:
    """Whether the system chooses the endpoint's port."""
    return endpoint.startswith("tcp://") and endpoint.rpartition(":")[2] in ("*", "0")


PREFIX = "STREAMLEARN_"
KiB, MiB, GiB = 1024, 1024**2, 1024**3

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Section(BaseModel):
    """A table of the settings file. Unknown names are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Endpoints(Section):
    """Where the daemon listens: `tcp://HOST:PORT` (port `*` chooses a free one) or `ipc://PATH`."""

    requests: str = "tcp://127.0.0.1:7700"
    firehose: str = "tcp://127.0.0.1:7701"
    events: str = "tcp://127.0.0.1:7702"
    insecure: bool = False  # allow endpoints on networks, without authentication
    ipc_mode: str = Field("0600", pattern=r"^0?[0-7]{3}$")  # of the files of ipc endpoints

    @field_validator("requests", "firehose", "events")
    @classmethod
    def _known_transport(cls, endpoint: str) -> str:
        transport, _, address = endpoint.partition("://")
        port = address.rpartition(":")[2]
        if transport == "ipc" and address:
            return endpoint
        if transport == "tcp" and ":" in address and (port == "*" or (port.isdigit() and int(port) < 65536)):
            return endpoint
        raise ValueError(f"{endpoint!r} is not an endpoint; expected tcp://HOST:PORT or ipc://PATH")

    @model_validator(mode="after")
    def _distinct(self) -> Endpoints:
        fixed = [each for each in (self.requests, self.firehose, self.events) if not free_port(each)]
        if len(set(fixed)) < len(fixed):
            raise ValueError("requests, firehose and events need three different endpoints")
        return self


class Security(Section):
    """The files of keys and rights. Without a server key, no client needs a key."""

    server_key: str = ""  # the daemon's secret key
    client_keys: str = ""  # a directory of NAME.pub files, or one file
    rights: str = ""  # what each key may do

    @model_validator(mode="after")
    def _all_or_none(self) -> Security:
        missing = [name for name in type(self).model_fields if not getattr(self, name)]
        if missing and len(missing) < len(type(self).model_fields):
            raise ValueError(
                f"{' and '.join(missing)} must be set too; keys need server_key, client_keys and rights"
            )
        return self


class Http(Section):
    """The gateway that the daemon runs as a child process; without an address, none."""

    address: str = ""  # HOST:PORT; port 0 chooses a free one
    tokens: str = ""  # the file of tokens and their rights
    rules: str = ""  # the file of rules for collectors (line protocol, remote write)
    certificate: str = ""  # for TLS
    private_key: str = ""
    key_file: str = ""  # the gateway's own key, if clients of the daemon need keys
    alarms: str = ""  # the file that keeps recent alarms; empty: a restart forgets them

    @field_validator("address")
    @classmethod
    def _host_and_port(cls, address: str) -> str:
        if address:
            host_and_port(address)
        return address

    @model_validator(mode="after")
    def _both_or_none(self) -> Http:
        if bool(self.certificate) != bool(self.private_key):
            raise ValueError("certificate and private_key are needed both for TLS")
        return self


class Journal(Section):
    """The size of journal segments, and whether a damaged journal is repaired."""

    segment_bytes: int = Field(64 * MiB, ge=64 * KiB)
    repair: bool = False  # truncate a damaged journal, after copying it


class Checkpoints(Section):
    """When a model gets a checkpoint, and which ones are kept."""

    seconds: Positive = 60.0
    samples: int = Field(1_000_000, ge=1)
    keep: int = Field(2, ge=2)  # the newest ones of each model
    hourly: int = Field(24, ge=0)  # and the newest of each of the last 24 hours that have any
    daily: int = Field(7, ge=0)  # and the newest of each of the last 7 days that have any
    undo: int = Field(3, ge=1)  # and the last ones that `restore` wrote first
    max_bytes: int = Field(2 * GiB, ge=0)  # of all models; 0: no limit

    def retention(self) -> Retention:
        """Return the settings for the store."""
        return Retention(self.keep, self.hourly, self.daily, self.undo, self.max_bytes)


class Backup(Section):
    """Where `backup` may write."""

    directory: str = ""  # "": anywhere, but only if no other host reaches the daemon


class Learning(Section):
    """The length of a learning slice, and the backlog at which back-pressure begins."""

    slice_milliseconds: Positive = 4.0
    backlog_seconds: Positive = 1.0  # of accepted samples, not yet learned: where back-pressure begins
    backlog_bytes: int = Field(64 * MiB, ge=MiB)


class LimitSettings(Section):
    """The largest message, the largest numbers of rows and models, the cost of a row, and the memory."""

    frame_bytes: int = Field(64 * MiB, ge=4 * KiB, le=1024 * MiB)
    rows: int = Field(1_048_576, ge=1)
    models: int = Field(1000, ge=1)
    row_cost: int = Field(200_000_000, ge=1)  # multiply-adds that a row of a new model may cost
    memory_bytes: int = Field(0, ge=0)  # of the process; 0: half of the machine's or of the control group's
    unread_bytes: int = Field(64 * MiB, ge=64 * KiB)  # of answers that one connection has not read
    subscriptions: int = Field(1000, ge=1)  # of one connection


class Log(Section):
    """The log on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class _InvalidSpec(ValueError):
    """All errors in a model's spec, as {field, message}."""

    def __init__(self, errors: list[dict[str, str]]) -> None:
        super().__init__("invalid spec")
        self.errors = errors


class DeclaredModel(Section):
    """A model that the daemon creates at the start if it does not exist."""

    name: str
    kind: str
    spec: dict[str, Any] = {}

    @field_validator("name")
    @classmethod
    def _valid_name(cls, name: str) -> str:
        try:
            return check_model(name)
        except StreamlearnError as error:
            raise ValueError(error.message) from None

    @model_validator(mode="after")
    def _valid_spec(self) -> DeclaredModel:
        if self.kind not in KINDS:
            raise ValueError(f"there is no kind {self.kind!r}; the kinds are {', '.join(sorted(KINDS))}")
        from streamlearn import models  # takes time, and most settings declare no model

        try:
            models.valid_spec(self.kind, self.spec)
        except BadSpec as error:
            raise _InvalidSpec(error.detail["errors"]) from None
        return self


def _not_empty(path: Any) -> Any:
    if path == "":  # would be the working directory
        raise ValueError("is empty; expected the path of a directory")
    return path


class Settings(BaseSettings):
    """All settings of a daemon, validated."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True
    )

    data_dir: Annotated[Path, BeforeValidator(_not_empty)] = Path("streamlearn-data")
    endpoints: Endpoints = Endpoints()
    security: Security = Security()
    http: Http = Http()
    journal: Journal = Journal()
    checkpoints: Checkpoints = Checkpoints()
    backup: Backup = Backup()
    learning: Learning = Learning()
    limits: LimitSettings = LimitSettings()
    log: Log = Log()
    models: tuple[DeclaredModel, ...] = ()

    @field_validator("models")
    @classmethod
    def _unique_names(cls, models: tuple[DeclaredModel, ...]) -> tuple[DeclaredModel, ...]:
        names = [model.name for model in models]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"declared more than once: {', '.join(repeated)}")
        return models

    @model_validator(mode="after")
    def _key_of_the_gateway(self) -> Settings:
        if self.http.address and bool(self.security.server_key) != bool(self.http.key_file):
            raise ValueError(
                "clients need keys, so http.key_file must be a key for the gateway: `streamlearn keygen NAME`"
                " makes one"
                if self.security.server_key
                else "http.key_file needs security.server_key: without it no client has a key"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources in order of precedence: options, environment variables, settings file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def load(
    config: Path | str | None = None,
    *,
    data_dir: Path | str | None = None,
    requests: str | None = None,
    firehose: str | None = None,
    events: str | None = None,
    http: str | None = None,
    insecure: bool | None = None,
    server_key: Path | str | None = None,
    client_keys: Path | str | None = None,
    rights: Path | str | None = None,
    repair: bool | None = None,
) -> Settings:
    """Return the settings of one daemon.

    Parameters
    ----------
    config
        The TOML file; `None` for none.
    data_dir, requests, firehose, events, http, insecure, server_key, client_keys, rights, repair
        Options of the command line; `None` if not given.

    Raises
    ------
    BadConfig
        Lists all errors in the file, the environment and the command line.
    """
    _check_sections()
    options: dict[str, Any] = {
        "data_dir": data_dir,
        "endpoints": _given(requests=requests, firehose=firehose, events=events, insecure=insecure),
        "security": _given(
            **{
                name: str(path)
                for name, path in (
                    ("server_key", server_key),
                    ("client_keys", client_keys),
                    ("rights", rights),
                )
                if path is not None
            }
        ),
        "http": _given(address=http),
        "journal": _given(repair=repair),
    }
    source = "the environment and the command line"
    if config is not None:
        source = str(config)
        _check_file(Path(config))

    class FromFile(Settings):
        model_config = SettingsConfigDict(toml_file=config)

    try:
        return FromFile(**{name: value for name, value in options.items() if value})
    except ValidationError as error:
        errors = [found for details in error.errors() for found in _setting_errors(details)]
    count = "1 mistake" if len(errors) == 1 else f"{len(errors)} mistakes"
    messages = "; ".join(f"{found['field']}: {found['message']}" for found in errors)
    raise BadConfig(f"{count} in {source}: {messages}", errors=errors)


def variables() -> frozenset[str]:
    """Return the names of all environment variables that are settings."""
    names = set()
    for name, field in Settings.model_fields.items():
        variable = f"{PREFIX}{name.upper()}"
        names.add(variable)
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            names |= {f"{variable}__{setting.upper()}" for setting in field.annotation.model_fields}
    return frozenset(names)


def _check_sections() -> None:
    """Raise `BadConfig` if a variable of a whole section, or of the models, is not JSON."""
    for name, field in Settings.model_fields.items():
        variable = f"{PREFIX}{name.upper()}"
        value = os.environ.get(variable)
        if value is None or field.annotation is Path:
            continue
        section = isinstance(field.annotation, type) and issubclass(field.annotation, Section)
        try:
            parsed = json.loads(value)
        except ValueError:
            parsed = None
        if isinstance(parsed, dict if section else list):
            continue
        advice = (
            'expected a JSON list: [{"name": "pump", "kind": "som", "spec": {"dim": 8, "grid": [10, 10]}}]'
        )
        if section:
            settings = sorted(each for each in variables() if each.startswith(f"{variable}__"))
            advice = f"[{name}] is a section; set one of its settings: {', '.join(settings)}"
        raise BadConfig(f"environment variable {variable} is {value!r}: {advice}", field=name)


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _check_file(path: Path) -> None:
    try:
        with path.open("rb") as file:
            tomllib.load(file)
    except OSError as error:
        raise BadConfig(f"can't read {path}: {error.strerror}", path=str(path)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadConfig(f"{path} is not TOML: {error}", path=str(path)) from None


def _setting_errors(error: ErrorDetails) -> Iterator[dict[str, str]]:
    """Convert one pydantic error to {field, message}; an invalid spec gives several."""
    field = ".".join(str(part) for part in error["loc"]) or "settings"
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, _InvalidSpec):
        for found in cause.errors:
            yield {"field": f"{field}.spec.{found['field']}", "message": found["message"]}
    elif error["type"] == "extra_forbidden":
        known = _known_names(error["loc"][:-1])
        near = difflib.get_close_matches(str(error["loc"][-1]), known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known settings: {', '.join(known)}"
        yield {"field": field, "message": f"unknown setting ({hint})"}
    else:
        message = error["msg"].removeprefix("Value error, ")
        shown = "" if error["type"] == "value_error" else f", not {error['input']!r}"
        yield {"field": field, "message": f"{message[:1].lower()}{message[1:]}{shown}"}


def _known_names(path: tuple[int | str, ...]) -> list[str]:
    section: Any = Settings
    for part in path:
        if isinstance(part, str):
            section = DeclaredModel if part == "models" else section.model_fields[part].annotation
    return list(section.model_fields)
