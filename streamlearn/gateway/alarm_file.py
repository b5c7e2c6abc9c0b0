"""The file in which a gateway keeps its alarms, so that they survive its end.

Each line is JSON: the header first, then an alarm after each change of it, or a deleted model. A line is
appended when the alarm arrives, so a killed gateway loses none. Only a last line without its end is left out.
The file is written anew, atomically, when most of its lines are out of date. Its time of change says until
when the gateway ran.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from streamlearn import logs
from streamlearn.errors import BadConfig

log = logs.get_logger(__name__)

FORMAT: Final = 1
Line = dict[str, Any]


class AlarmFile:
    """The lines of the file, and where further ones are appended.

    Parameters
    ----------
    path
        The file. It is created if it does not exist. A damaged one is renamed, with a warning.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: io.FileIO | None = None
        self.lines = 0
        """Lines in the file, the header included."""

    def read(self) -> tuple[Line | None, list[Line], int]:
        """Return the header, the other lines, and when the last gateway ran, in ns since 1970.

        Raises `BadConfig` if the file can't be used: another gateway has it, or it can't be written.
        """
        try:
            self._open()
            content, ran = self._path.read_bytes(), self._path.stat().st_mtime_ns
        except OSError as error:
            raise BadConfig(f"the file of alarms {self._path}: {error.strerror or error}") from None
        try:
            lines = [_decoded(line) for line in content.split(b"\n")[:-1]]
            if lines and lines[0]["format"] != FORMAT:
                raise ValueError(f"format {lines[0]['format']}, not {FORMAT}")
        except (ValueError, KeyError, TypeError) as error:
            self.set_aside(str(error))
            return None, [], ran
        self.lines = len(lines)
        return (lines[0] if lines else None), lines[1:], ran

    def set_aside(self, reason: str) -> None:
        """Rename a damaged file, and begin a new one."""
        aside = self._path.with_name(f"{self._path.name}.damaged-{time.time_ns()}")
        os.replace(self._path, aside)
        log.warning("the file of alarms is damaged; it is set aside", reason=reason, file=str(aside))
        self._open()

    def append(self, lines: Iterable[Line]) -> None:
        """Add lines. If the disk refuses them, the log says so, and the file is not used any more."""
        if self._file is None:
            return
        encoded = [_encoded(line) for line in lines]
        try:
            _write(self._file, b"".join(encoded))
        except OSError as error:
            self._give_up(error)
        self.lines += len(encoded)

    def rewrite(self, header: Line, lines: Iterable[Line]) -> None:
        """Replace all lines."""
        content = [_encoded({"format": FORMAT, **header}), *map(_encoded, lines)]
        temporary = self._path.with_name(f".{self._path.name}.new")
        try:
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(b"".join(content))
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self._path)
            self._open()
        except (OSError, BadConfig) as error:
            self._give_up(error)
        self.lines = len(content)

    def touch(self) -> None:
        """Note that the gateway runs."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.utime(self._file.fileno())

    def _open(self) -> None:
        """Open the file for appending. Raises `BadConfig` if another gateway has it."""
        if self._file is not None:
            self._file.close()
        self._file = io.FileIO(os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600), "a")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise BadConfig(
                f"another gateway uses the file of alarms {self._path}; choose another file, or stop it"
            ) from None

    def _give_up(self, error: Exception) -> None:
        log.error(
            "the file of alarms can't be written; new alarms are kept in memory only", reason=str(error)
        )
        if self._file is not None:
            self._file.close()
            self._file = None


def _write(file: io.FileIO, content: bytes) -> None:
    while content:
        content = content[file.write(content) or 0 :]


def _encoded(line: Mapping[str, Any]) -> bytes:
    return json.dumps(line, default=_to_list, ensure_ascii=False).encode() + b"\n"


def _decoded(line: bytes) -> Line:
    found = json.loads(line)
    if not isinstance(found, dict):
        raise ValueError(f"{line[:40]!r} is no map")
    return found


def _to_list(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not for JSON")
