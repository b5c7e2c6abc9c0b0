"""Add a token to the file of tokens."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from streamlearn.access.identity import RIGHTS
from streamlearn.access.rights import read_toml
from streamlearn.errors import BadConfig, BadValue
from streamlearn.gateway.tokens import DIGEST, digest, new_token
from streamlearn_client.keys import check_key_name


def add_token(path: Path, name: str, rights: Sequence[str]) -> str:
    """Add a new token with ``RIGHT=GLOB`` entries, and return it. Raises `BadValue` or `BadConfig`."""
    check_key_name(name)
    globs: dict[str, list[str]] = {}
    for entry in rights:
        right, separator, glob = entry.partition("=")
        if right not in RIGHTS or not separator or not glob:
            raise BadValue(f"{entry!r}: expected RIGHT=GLOB, with one of {', '.join(RIGHTS)}", field="right")
        globs.setdefault(right, []).append(glob)
    errors: list[str] = []
    if path.exists() and name in read_toml(path, errors):
        raise BadConfig(f"{path} has a token {name!r}; remove its table, or use another name")
    if errors:
        raise BadConfig("; ".join(errors))
    secret = new_token()
    lines = [f"\n[{name}]", f'{DIGEST} = "{digest(secret)}"']
    lines += [f"{right} = [{', '.join(_quoted(glob) for glob in names)}]" for right, names in globs.items()]
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "a") as file:
        file.write("\n".join(lines) + "\n")
    return secret


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
