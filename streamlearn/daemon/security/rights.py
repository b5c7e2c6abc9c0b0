"""The files of client keys and rights.

Client keys are a directory of ``NAME.pub`` files, or one TOML file with a line ``NAME = "public key"`` per
key. Rights are a TOML file with a table per key: each right and the globs of the models that it covers::

    [dashboard]
    query = ["*"]
    subscribe = ["pump-*"]
"""

from __future__ import annotations

import os
from pathlib import Path

from streamlearn import logs
from streamlearn.access.identity import Identity
from streamlearn.access.rights import check_writers, load_rights, read_toml
from streamlearn.daemon.config import Security
from streamlearn.errors import BadConfig, StreamlearnError
from streamlearn_client.keys import check_key_name, public_key, read_public_key

log = logs.get_logger(__name__)


def load_identities(security: Security, server_public: str) -> dict[str, Identity]:
    """Return the identities of all client keys, by public key. Raises `BadConfig`, which lists all errors."""
    errors: list[str] = []
    for path in (Path(security.client_keys), Path(security.rights)):
        check_writers(path, errors)
    keys = _load_keys(Path(security.client_keys), errors)
    rights = load_rights(Path(security.rights), errors)
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
        for name, text in read_toml(path, errors).items():
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
        check_writers(path / name, errors)
        try:
            pair = read_public_key(path / name)
        except StreamlearnError as error:
            errors.append(error.message)
            continue
        if pair.name in found:
            errors.append(f"{path} has two keys with the name {pair.name}; keep one, or rename the other")
        found[pair.name] = pair.public
    return found
