"""The files of client keys and rights.

Client keys are a directory of ``NAME.pub`` files, or one TOML file with a line ``NAME = "public key"`` per
key. Rights are a TOML file with a table per key: each right and the globs of the models that it covers::

    [dashboard]
    query = ["*"]
    subscribe = ["pump-*"]
"""

from __future__ import annotations

import difflib
import os
import re
import stat
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from streamlearn.daemon import logs
from streamlearn.daemon.config import Security
from streamlearn.daemon.security.identity import RIGHTS, Identity
from streamlearn.errors import BadConfig, StreamlearnError
from streamlearn_client.keys import check_key_name, public_key, read_public_key

log = logs.get_logger(__name__)

_GLOB: Final = re.compile(r"[A-Za-z0-9_.*?!\[\]-]{1,256}")


def load_identities(security: Security, server_public: str) -> dict[str, Identity]:
    """Return the identities of all client keys, by public key. Raises `BadConfig`, which lists all errors."""
    errors: list[str] = []
    for path in (Path(security.client_keys), Path(security.rights)):
        _check_writers(path, errors)
    keys = _load_keys(Path(security.client_keys), errors)
    rights = _load_rights(Path(security.rights), errors)
    identities: dict[str, Identity] = {}
    for name, public in keys.items():
        if public == server_public:
            continue  # the daemon's own key, in the same directory
        if public in identities:
            errors.append(f"{name} and {identities[public].name} have the same key; make a key for each")
        identities[public] = Identity(name, public, rights.get(name))
    if errors:
        raise BadConfig(f"wrong keys or rights: {'; '.join(errors)}")
    for name in sorted(rights.keys() - keys.keys()):
        log.warning("%s: %s has rights, but no key", security.rights, name)
    for identity in identities.values():
        if not identity.globs:
            log.warning("key %s has no rights in %s, so it may not connect", identity.name, security.rights)
    return identities


def _load_keys(path: Path, errors: list[str]) -> dict[str, str]:
    """Return the public keys by name."""
    found: dict[str, str] = {}
    if not path.is_dir():
        for name, text in _read_toml(path, errors).items():
            try:
                found[check_key_name(name)] = public_key(text, f"{name} in {path}")
            except StreamlearnError as error:
                errors.append(error.message)
        return found
    try:
        names = sorted(name for name in os.listdir(path) if name.endswith(".pub"))
    except OSError as error:
        errors.append(f"can't read {path}: {error.strerror}")
        return found
    for name in names:
        _check_writers(path / name, errors)
        try:
            pair = read_public_key(path / name)
        except StreamlearnError as error:
            errors.append(error.message)
            continue
        if pair.name in found:
            errors.append(f"{path} has two keys with the name {pair.name}; keep one, or rename the other")
        found[pair.name] = pair.public
    return found


def _check_writers(path: Path, errors: list[str]) -> None:
    """Add an error if every user can change the file: everybody could give themselves access."""
    with suppress(OSError):  # reading it reports the error
        if path.stat().st_mode & stat.S_IWOTH:
            errors.append(f"every user of this machine can change {path}; run: chmod o-w {path}")


def _load_rights(path: Path, errors: list[str]) -> dict[str, dict[str, list[str]]]:
    """Return the globs by name of key and right."""
    found: dict[str, dict[str, list[str]]] = {}
    for name, table in _read_toml(path, errors).items():
        where = f"{path}, [{name}]"
        if not isinstance(table, dict):
            errors.append(f'{where}: expected a table of rights, such as query = ["*"]')
            continue
        for right, globs in table.items():
            if right not in RIGHTS:
                near = difflib.get_close_matches(right, RIGHTS, n=1)
                hint = f"did you mean {near[0]}?" if near else f"the rights are {', '.join(RIGHTS)}"
                errors.append(f"{where}: no right {right!r} exists ({hint})")
            elif not _are_globs(globs):
                errors.append(
                    f'{where}: {right} must be a list of model names with * ? [], such as ["pump-*"]'
                )
            elif right == "admin" and globs not in ([], ["*"]):
                errors.append(f'{where}: admin covers the whole daemon; write admin = ["*"]')
        found[name] = table
    return found


def _are_globs(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, str) and _GLOB.fullmatch(each) is not None for each in value
    )


def _read_toml(path: Path, errors: list[str]) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        errors.append(f"can't read {path}: {error.strerror}")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        errors.append(f"{path} is not TOML: {error}")
    return {}
