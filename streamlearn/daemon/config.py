"""Settings from `streamlearn.toml`, `STREAMLEARN_…` variables and the command line; the last one wins.

All settings are checked before the start, and `BadConfig` reports all errors together.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from streamlearn.access.hosts import host_and_port
from streamlearn.daemon.sections import Invalid, Section, at_least, is_section, kinds, positive, read, setting
from streamlearn.errors import BadConfig, BadSpec, StreamlearnError
from streamlearn.registry import KINDS
from streamlearn.store.retention import Retention
from streamlearn_client.protocol.names import check_model


def free_port(endpoint: str) -> bool:
    """Whether the system chooses the endpoint's port."""
    return endpoint.startswith("tcp://") and endpoint.rpartition(":")[2] in ("*", "0")


PREFIX = "STREAMLEARN_"
KiB, MiB, GiB = 1024, 1024**2, 1024**3


def _known_transport(endpoint: str) -> None:
    transport, _, address = endpoint.partition("://")
    port = address.rpartition(":")[2]
    if transport == "ipc" and address:
        return
    if transport == "tcp" and ":" in address and (port == "*" or (port.isdigit() and int(port) < 65536)):
        return
    raise ValueError(f"{endpoint!r} is not an endpoint; expected tcp://HOST:PORT or ipc://PATH")


def _file_mode(mode: str) -> None:
    if not re.fullmatch("0?[0-7]{3}", mode):
        raise ValueError(f"expected three octal digits, as in 0600, not {mode!r}")


@dataclass(frozen=True)
class Endpoints(Section):
    """Where the daemon listens: `tcp://HOST:PORT` (port `*` chooses a free one) or `ipc://PATH`."""

    requests: str = setting("tcp://127.0.0.1:7700", _known_transport)
    firehose: str = setting("tcp://127.0.0.1:7701", _known_transport)
    events: str = setting("tcp://127.0.0.1:7702", _known_transport)
    insecure: bool = False  # allow endpoints on networks, without authentication
    ipc_mode: str = setting("0600", _file_mode)  # of the files of ipc endpoints

    def check(self) -> None:
        """Raise `ValueError` for equal endpoints."""
        fixed = [each for each in (self.requests, self.firehose, self.events) if not free_port(each)]
        if len(set(fixed)) < len(fixed):
            raise ValueError("requests, firehose and events need three different endpoints")


@dataclass(frozen=True)
class Security(Section):
    """The files of keys and rights. Without a server key, no client needs a key."""

    server_key: str = ""  # the daemon's secret key
    client_keys: str = ""  # a directory of NAME.pub files, or one file
    rights: str = ""  # what each key may do

    def check(self) -> None:
        """Raise `ValueError` if some are set and others are not."""
        missing = [name for name in kinds(Security) if not getattr(self, name)]
        if missing and len(missing) < len(kinds(Security)):
            raise ValueError(
                f"{' and '.join(missing)} must be set too; keys need server_key, client_keys and rights"
            )


@dataclass(frozen=True)
class Http(Section):
    """The gateway that the daemon runs as a child process; without an address, none."""

    # HOST:PORT; port 0 chooses a free one
    address: str = setting("", lambda address: address and host_and_port(address))
    tokens: str = ""  # the file of tokens and their rights
    rules: str = ""  # the file of rules for collectors (line protocol, remote write)
    certificate: str = ""  # for TLS
    private_key: str = ""
    key_file: str = ""  # the gateway's own key, if clients of the daemon need keys
    alarms: str = ""  # the file that keeps recent alarms; empty: a restart forgets them

    def check(self) -> None:
        """Raise `ValueError` for a half of what TLS needs."""
        if bool(self.certificate) != bool(self.private_key):
            raise ValueError("certificate and private_key are needed both for TLS")


@dataclass(frozen=True)
class Journal(Section):
    """The size of journal segments, and whether a damaged journal is repaired."""

    segment_bytes: int = setting(64 * MiB, at_least(64 * KiB))
    repair: bool = False  # truncate a damaged journal, after copying it


@dataclass(frozen=True)
class Checkpoints(Section):
    """When a model gets a checkpoint, and which ones are kept."""

    seconds: float = setting(60.0, positive)
    samples: int = setting(1_000_000, at_least(1))
    keep: int = setting(2, at_least(2))  # the newest ones of each model
    hourly: int = setting(24, at_least(0))  # and the newest of each of the last 24 hours that have any
    daily: int = setting(7, at_least(0))  # and the newest of each of the last 7 days that have any
    undo: int = setting(3, at_least(1))  # and the last ones that `restore` wrote first
    max_bytes: int = setting(2 * GiB, at_least(0))  # of all models; 0: no limit

    def retention(self) -> Retention:
        """Return the settings for the store."""
        return Retention(self.keep, self.hourly, self.daily, self.undo, self.max_bytes)


@dataclass(frozen=True)
class Backup(Section):
    """Where `backup` may write."""

    directory: str = ""  # "": anywhere, but only if no other host reaches the daemon


@dataclass(frozen=True)
class Learning(Section):
    """The length of a learning slice, and the backlog at which back-pressure begins."""

    slice_milliseconds: float = setting(4.0, positive)
    backlog_seconds: float = setting(1.0, positive)  # of accepted samples: where back-pressure begins
    backlog_bytes: int = setting(64 * MiB, at_least(MiB))


@dataclass(frozen=True)
class LimitSettings(Section):
    """The largest message, the largest numbers of rows and models, the cost of a row, and the memory."""

    frame_bytes: int = setting(64 * MiB, at_least(4 * KiB, 1024 * MiB))
    rows: int = setting(1_048_576, at_least(1))
    models: int = setting(1000, at_least(1))
    row_cost: int = setting(200_000_000, at_least(1))  # multiply-adds that a row of a new model may cost
    # Of the process; 0: half of the machine's or of the control group's.
    memory_bytes: int = setting(0, at_least(0))
    unread_bytes: int = setting(64 * MiB, at_least(64 * KiB))  # of answers that one connection has not read
    subscriptions: int = setting(1000, at_least(1))  # of one connection


@dataclass(frozen=True)
class Log(Section):
    """The log on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


def _valid_name(name: str) -> None:
    try:
        check_model(name)
    except StreamlearnError as error:
        raise ValueError(error.message) from None


@dataclass(frozen=True)
class DeclaredModel(Section):
    """A model that the daemon creates at the start if it does not exist."""

    name: str = setting("", _valid_name)
    kind: str = ""
    spec: dict[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Raise `Invalid` with all errors of the spec."""
        if self.kind not in KINDS:
            raise ValueError(f"there is no kind {self.kind!r}; the kinds are {', '.join(sorted(KINDS))}")
        from streamlearn import models  # takes time, and most settings declare no model

        try:
            models.valid_spec(self.kind, self.spec)
        except BadSpec as error:
            errors = error.detail["errors"]
            raise Invalid({f"spec.{found['field']}": found["message"] for found in errors}) from None


def _unique_names(models: tuple[DeclaredModel, ...]) -> None:
    names = [model.name for model in models]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"declared more than once: {', '.join(repeated)}")


@dataclass(frozen=True)
class Settings(Section):
    """All settings of a daemon, validated."""

    data_dir: Path = Path("streamlearn-data")
    endpoints: Endpoints = Endpoints()
    security: Security = Security()
    http: Http = Http()
    journal: Journal = Journal()
    checkpoints: Checkpoints = Checkpoints()
    backup: Backup = Backup()
    learning: Learning = Learning()
    limits: LimitSettings = LimitSettings()
    log: Log = Log()
    models: tuple[DeclaredModel, ...] = setting((), _unique_names)

    def check(self) -> None:
        """Raise `ValueError` if the gateway's key and the daemon's do not fit."""
        if self.http.address and bool(self.security.server_key) != bool(self.http.key_file):
            raise ValueError(
                "clients need keys, so http.key_file must be a key for the gateway: `streamlearn keygen NAME`"
                " makes one"
                if self.security.server_key
                else "http.key_file needs security.server_key: without it no client has a key"
            )


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
    options: dict[str, Any] = {
        "data_dir": data_dir,
        "endpoints": _given(requests=requests, firehose=firehose, events=events, insecure=insecure),
        "security": {
            name: str(path)
            for name, path in _given(server_key=server_key, client_keys=client_keys, rights=rights).items()
        },
        "http": _given(address=http),
        "journal": _given(repair=repair),
    }
    in_file = {} if config is None else _file(Path(config))
    given = {name: value for name, value in options.items() if value}
    try:
        return read(Settings, _merged(_merged(in_file, _environment()), given))
    except Invalid as error:
        errors = [
            {"field": name or "settings", "message": message} for name, message in error.mistakes.items()
        ]
    source = "the environment and the command line" if config is None else str(config)
    count = "1 mistake" if len(errors) == 1 else f"{len(errors)} mistakes"
    messages = "; ".join(f"{found['field']}: {found['message']}" for found in errors)
    raise BadConfig(f"{count} in {source}: {messages}", errors=errors)


def variables() -> frozenset[str]:
    """Return the names of all environment variables that are settings."""
    sections = {name: kind for name, kind in kinds(Settings).items() if is_section(kind)}
    inner = {_variable(name, each) for name, kind in sections.items() for each in kinds(kind)}
    return frozenset(inner | {_variable(name) for name in kinds(Settings)})


def _variable(*names: str) -> str:
    return PREFIX + "__".join(names).upper()


def _environment() -> dict[str, Any]:
    """Return the settings in environment variables. Raises `BadConfig`."""
    found: dict[str, Any] = {}
    for name, kind in kinds(Settings).items():
        value = os.environ.get(_variable(name))
        if value is not None:
            found[name] = value if kind is Path else _parsed(name, value)
        inner = kinds(kind) if is_section(kind) else ()
        if given := _given(**{each: os.environ.get(_variable(name, each)) for each in inner}):
            found[name] = found.get(name, {}) | given
    return found


def _parsed(name: str, text: str) -> Any:
    """Return the variable of a whole section, or of the models. Raises `BadConfig` if it is not JSON."""
    section = is_section(kinds(Settings)[name])
    try:
        parsed = json.loads(text)
    except ValueError:
        parsed = None
    if isinstance(parsed, dict if section else list):
        return parsed
    variable = _variable(name)
    advice = 'expected a JSON list: [{"name": "pump", "kind": "som", "spec": {"dim": 8, "grid": [10, 10]}}]'
    if section:
        settings = sorted(each for each in variables() if each.startswith(f"{variable}__"))
        advice = f"[{name}] is a section; set one of its settings: {', '.join(settings)}"
    raise BadConfig(f"environment variable {variable} is {text!r}: {advice}", field=name)


def _merged(values: Mapping[str, Any], preferred: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of two sources. Those of ``preferred`` win, also within a section."""
    merged = dict(values)
    for name, value in preferred.items():
        before = merged.get(name)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            value = {**before, **value}
        merged[name] = value
    return merged


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _file(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise BadConfig(f"can't read {path}: {error.strerror}", path=str(path)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadConfig(f"{path} is not TOML: {error}", path=str(path)) from None
