"""Tables of rights: each right and the globs of the models that it covers.

::

    [dashboard]
    query = ["*"]
    subscribe = ["pump-*"]
"""

from __future__ import annotations

import re
import stat
import tomllib
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from streamlearn.access.identity import RIGHTS
from streamlearn.spelling import hint

_GLOB: Final = re.compile(r"[A-Za-z0-9_.*?!\[\]-]{1,256}")


def load_rights(
    path: Path, errors: list[str], others: Collection[str] = ()
) -> dict[str, dict[str, list[str]]]:
    """Return the globs by name and right. ``others``: entries of a table that are no rights."""
    found: dict[str, dict[str, list[str]]] = {}
    for name, table in read_toml(path, errors).items():
        where = f"{path}, [{name}]"
        if not isinstance(table, dict):
            errors.append(f'{where}: expected a table of rights, such as query = ["*"]')
            continue
        rights = {right: globs for right, globs in table.items() if right not in others}
        for right, globs in rights.items():
            if right not in RIGHTS:
                question = hint(right, RIGHTS, f"the rights are {', '.join(RIGHTS)}")
                errors.append(f"{where}: no right {right!r} exists ({question})")
            elif not _are_globs(globs):
                errors.append(
                    f'{where}: {right} must be a list of model names with * ? [], such as ["pump-*"]'
                )
            elif right == "admin" and globs not in ([], ["*"]):
                errors.append(f'{where}: admin covers the whole daemon; write admin = ["*"]')
        found[name] = rights
    return found


def _are_globs(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, str) and _GLOB.fullmatch(each) is not None for each in value
    )


def read_toml(path: Path, errors: list[str]) -> dict[str, Any]:
    """Return the tables of a file; nothing, and an error, if it cannot be read."""
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        errors.append(f"can't read {path}: {error.strerror}")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        errors.append(f"{path} is not TOML: {error}")
    return {}


def check_writers(path: Path, errors: list[str]) -> None:
    """Add an error if every user can change the file: everybody could give themselves access."""
    with suppress(OSError):  # reading it reports the error
        if path.stat().st_mode & stat.S_IWOTH:
            errors.append(f"every user of this machine can change {path}; run: chmod o-w {path}")
