"""Tokens: who sends a request, and what it may do. The rights are those of the daemon's keys.

The file has a table per token, with the digest of the token instead of the token::

    [dashboard]
    sha256 = "9f86d081…"
    query = ["*"]
    subscribe = ["pump-*"]
"""

from __future__ import annotations

import hashlib
import re
import secrets
from pathlib import Path
from typing import Final

from streamlearn.access.identity import LOCAL, Identity
from streamlearn.access.rights import check_writers, load_rights, read_toml
from streamlearn.errors import BadConfig, Forbidden, StreamlearnError

DIGEST: Final = "sha256"
_BYTES: Final = 24  # of randomness in a token


class Unauthorized(StreamlearnError):
    """The request has no token, or an unknown one."""

    code = "UNAUTHORIZED"


class Tokens:
    """The identities by the digest of their token. The file is read again when it changes."""

    def __init__(self, path: Path | None) -> None:
        """Read the file. Without one, every request may do everything. Raises `BadConfig`."""
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._identities: dict[str, Identity] = {}
        if path is not None:
            self._load(path)

    @property
    def needed(self) -> bool:
        """Whether a request needs a token."""
        return self._path is not None

    def identify(self, token: str | None) -> Identity:
        """Return the identity of a token. Raises `Unauthorized`."""
        if self._path is None:
            return LOCAL
        if token is None:
            raise Unauthorized(
                "this gateway needs a token: send it in the header `Authorization: Bearer TOKEN`"
            )
        if self._stamp != _stamp(self._path):
            self._load(self._path)
        identity = self._identities.get(digest(token))
        if identity is None:
            raise Unauthorized("the token is not known; `streamlearn token NAME` makes one")
        return identity

    def _load(self, path: Path) -> None:
        errors: list[str] = []
        stamp = _stamp(path)
        check_writers(path, errors)
        tables = read_toml(path, errors)
        rights = load_rights(path, [] if errors else errors, others=(DIGEST,))
        identities: dict[str, Identity] = {}
        for name, table in tables.items():
            value = table.get(DIGEST) if isinstance(table, dict) else None
            if not isinstance(value, str) or not re.fullmatch(r"[0-9a-f]{64}", value):
                errors.append(
                    f"{path}, [{name}]: {DIGEST} must be the digest that `streamlearn token` prints"
                )
                continue
            identities[value] = TokenIdentity(name, globs=rights.get(name))
        if errors:
            raise BadConfig(f"wrong tokens: {'; '.join(errors)}")
        self._identities, self._stamp = identities, stamp


class TokenIdentity(Identity):
    """The holder of a token."""

    __slots__ = ()

    def _forbidden(self, right: str, op: str, model: str) -> Forbidden:
        where = f" on {model!r}" if model else ""
        return Forbidden(
            f"the token {self.name!r} does not have the right {right!r}{where}, which {op} needs; grant it in"
            " the gateway's file of tokens, or use another token",
            key=self.name,
            right=right,
        )


def digest(token: str) -> str:
    """Return the digest of a token as it is in the file."""
    return hashlib.sha256(token.encode()).hexdigest()


def new_token() -> str:
    """Return a new random token."""
    return f"sl_{secrets.token_urlsafe(_BYTES)}"


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
