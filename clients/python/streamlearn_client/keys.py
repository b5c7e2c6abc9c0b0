"""CURVE keys and their files.

A key is 32 bytes, written as 40 characters of Z85. A key file is text in TOML::

    name = "pump-station"
    public = "…40 characters…"
    secret = "…40 characters…"

A file ``NAME.pub`` has the name and the public key only, and may be given to anybody. The secret key must be
readable by its owner (and group) only. No error, ``repr`` or log contains a secret.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import zmq

from streamlearn_client.errors import BadName, BadValue

__all__ = [
    "KEY",
    "KEY_FILE",
    "SERVER_KEY",
    "VARIABLES",
    "ClientKeys",
    "KeyPair",
    "check_key_name",
    "client_keys",
    "generate",
    "public_key",
    "read_key_pair",
    "read_public_key",
    "topic_prefix",
    "write_key_pair",
]

SERVER_KEY: Final = "STREAMLEARN_SERVER_KEY"
KEY_FILE: Final = "STREAMLEARN_KEY_FILE"
KEY: Final = "STREAMLEARN_KEY"
VARIABLES: Final = (SERVER_KEY, KEY_FILE, KEY)
"""The environment variables from which a client takes keys that its caller does not pass."""

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_KEY: Final = re.compile(r"[0-9A-Za-z.:+=^!/*?&<>()\[\]{}@%$#-]{40}")
_PRIVATE: Final = 0o600
_TOO_OPEN: Final = 0o027
"""Mode bits that the file of a secret key must not have: written by the group, or anything by others."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A named key: its public part, and its secret part if it is known."""

    name: str
    public: str
    secret: str = field(repr=False, default="")


@dataclass(frozen=True, slots=True)
class ClientKeys:
    """The keys of one connection: the daemon's public key and the client's own pair."""

    server: str
    public: str
    secret: str = field(repr=False)

    def set_on(self, socket: zmq.Socket[Any]) -> None:
        """Encrypt the socket's next connections, and identify this client to the daemon."""
        socket.curve_serverkey = self.server.encode()
        socket.curve_publickey = self.public.encode()
        socket.curve_secretkey = self.secret.encode()

    @property
    def topic_prefix(self) -> bytes:
        """The beginning of all topics of a subscriber with this key."""
        return topic_prefix(self.public)


def topic_prefix(public: str) -> bytes:
    """Return the beginning of all topics of a subscriber with a public key; empty without a key."""
    return f"{public}/".encode() if public else b""


def generate(name: str) -> KeyPair:
    """Return a new key pair. Raise ``BadName`` for an invalid name."""
    check_key_name(name)
    public, secret = zmq.curve_keypair()
    return KeyPair(name, public.decode(), secret.decode())


def check_key_name(name: object) -> str:
    """Return ``name`` if it is a valid name of a key, else raise ``BadName``."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise BadName(
            f"{name!r} is not a valid name of a key; use 1 to 64 characters of A-Z a-z 0-9 _ . - that begin"
            " with a letter, a digit or _"
        )
    return name


def public_key(text: object, what: str) -> str:
    """Return ``text`` if it is a public key in Z85. The error does not show ``text``: it may be a secret."""
    if not isinstance(text, str) or not _KEY.fullmatch(text):
        raise BadValue(
            f"{what} is not a key; expected the 40 characters of Z85 that `streamlearn keygen` wrote"
        )
    return text


# ------------------------------------------------------------------------------------------------- files


def write_key_pair(pair: KeyPair, directory: Path) -> tuple[Path, Path]:
    """Write ``NAME.key`` and ``NAME.pub``, both with mode 0600, and return their paths.

    Raise ``BadValue``, and write nothing, if one of the files exists: a key that is overwritten locks out
    everybody who uses it.
    """
    secret, public = directory / f"{pair.name}.key", directory / f"{pair.name}.pub"
    facts = f'name = "{pair.name}"\npublic = "{pair.public}"\n'
    _write_new(
        public,
        f"# Public key of {pair.name}, for streamlearn. It may be given to anybody.\n{facts}",
        pair.name,
    )
    try:
        _write_new(
            secret,
            f"# Secret key of {pair.name}, for streamlearn. Keep this file private.\n"
            f'{facts}secret = "{pair.secret}"\n',
            pair.name,
        )
    except BaseException:
        public.unlink()
        raise
    return secret, public


def _write_new(path: Path, text: str, name: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE)
    except FileExistsError:
        raise BadValue(
            f"{path} exists, and a key is never overwritten; remove the old key {name!r}, or choose another "
            "name or directory",
            path=str(path),
        ) from None
    with open(descriptor, "w", encoding="ascii") as file:
        if hasattr(os, "fchmod"):
            os.fchmod(descriptor, _PRIVATE)
        file.write(text)
        file.flush()
        os.fsync(descriptor)


def read_key_pair(path: str | Path) -> KeyPair:
    """Return the key pair of a ``.key`` file.

    Raise ``BadValue`` if the file can't be read, is not a key file, or is readable by other users.
    """
    found = _read(path, secret=True)
    secret = found.get("secret")
    if not isinstance(secret, str) or not _KEY.fullmatch(secret):
        raise BadValue(
            f"{path} has no secret key; pass the NAME.key file of `streamlearn keygen`, not NAME.pub",
            path=str(path),
        )
    return KeyPair(_name_in(found, path), _public_of(secret, f"the secret key in {path}"), secret)


def read_public_key(path: str | Path) -> KeyPair:
    """Return name and public key of a ``.pub`` file. Raise ``BadValue`` if it is not one."""
    found = _read(path, secret=False)
    if "secret" in found:
        raise BadValue(
            f"{path} contains a secret key, which belongs on its owner's host only; use the NAME.pub file",
            path=str(path),
        )
    return KeyPair(_name_in(found, path), public_key(found.get("public"), f"public in {path}"))


def _read(path: str | Path, secret: bool) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if secret and os.name == "posix" and mode & _TOO_OPEN:
                raise BadValue(
                    f"{path} has mode {mode:04o}, so other users can read or replace this secret key; run: "
                    f"chmod 600 {path}",
                    path=str(path),
                )
            return tomllib.load(file)
    except OSError as error:
        raise BadValue(f"can't read the key file {path}: {error.strerror}", path=str(path)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise BadValue(f"{path} is not a key file of `streamlearn keygen`", path=str(path)) from None


def _name_in(found: dict[str, Any], path: str | Path) -> str:
    name = found.get("name", Path(path).stem)
    try:
        return check_key_name(name)
    except BadName as error:
        raise BadValue(f"{path}: {error.message}", path=str(path)) from None


def _public_of(secret: str, what: str) -> str:
    try:
        return zmq.curve_public(secret.encode("ascii")).decode()
    except (ValueError, zmq.ZMQError):
        raise BadValue(f"{what} is not a key; expected the 40 characters of Z85 of a secret key") from None


# ------------------------------------------------------------------------------------------- a connection


def client_keys(
    server_key: str | os.PathLike[str] | None = None,
    key: str | None = None,
    key_file: str | os.PathLike[str] | None = None,
) -> ClientKeys | None:
    """Return the keys of a client, from arguments or else from the environment; ``None`` without any.

    Parameters
    ----------
    server_key : str or path, optional
        The daemon's public key, or the path of its ``.pub`` file.
    key : str, optional
        The client's secret key.
    key_file : str or path, optional
        The client's ``.key`` file.

    Returns
    -------
    ClientKeys or None
        The keys; ``None`` if neither arguments nor environment have any.

    Raises
    ------
    BadValue
        If one key is given without the other, or a file is not valid.
    """
    if key is not None and key_file is not None:
        raise BadValue("both key and key_file are given; pass one of them", field="key")
    if key is None and key_file is None:
        key_file, key = os.environ.get(KEY_FILE) or None, os.environ.get(KEY) or None
        if key is not None and key_file is not None:
            raise BadValue(f"both {KEY} and {KEY_FILE} are set; set one of them", field="key")
    server_key = server_key or os.environ.get(SERVER_KEY) or None
    if key is None and key_file is None and server_key is None:
        return None
    if server_key is None:
        raise BadValue(
            f"a client with a key needs the daemon's public key too: pass server_key (or set {SERVER_KEY}), "
            "as text or as the path of the daemon's .pub file",
            field="server_key",
        )
    text = os.fspath(server_key)
    server = read_public_key(text).public if text.endswith(".pub") else public_key(text, "server_key")
    if key_file is not None:
        own = read_key_pair(os.fspath(key_file))
    elif key is not None:
        own = KeyPair("", _public_of(key, "key"), key)
    else:
        raise BadValue(
            f"server_key is given, but no key of this client: pass key_file (or set {KEY_FILE}); make a key "
            "with `streamlearn keygen NAME`",
            field="key_file",
        )
    return ClientKeys(server, own.public, own.secret)
