"""Where rows of a followed file are: the last place, kept in a small file of the user."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from streamlearn.tabular.errors import BadUsage


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row is: its number in the source, its file, and its first byte and line there.

    ``head`` is the digest of the first ``head_bytes`` of the file.
    """

    rows: int = 0
    offset: int = 0
    line: int = 0
    device: int = 0
    inode: int = 0
    head_bytes: int = 0
    head: str = ""


class StateFile:
    """The producer and the last place of a followed file, on disk. One process at a time may have it open."""

    def __init__(self, path: Path, producer: str) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = path.with_suffix(path.suffix + ".lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise BadUsage(
                f"another push --follow uses {path}: stop it, or give this one its own --state"
            ) from None
        self.exists = path.exists()
        self.producer, self.place = producer, Place()
        if self.exists:
            try:
                found = json.loads(path.read_text())
                self.producer, self.place = found["producer"], Place(**found["place"])
            except (ValueError, KeyError, TypeError) as error:
                raise BadUsage(
                    f"{path} is no state of push --follow ({error}): give another --state, or delete it;"
                    " without it, the rows that were learned are looked for in the file itself"
                ) from None

    def save(self, place: Place) -> None:
        """Write a place. The file has the old content or the new one, also after a power cut."""
        self.place = place
        new = self._path.with_suffix(self._path.suffix + ".new")
        with new.open("w") as file:
            json.dump({"version": 1, "producer": self.producer, "place": asdict(place)}, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)

    def close(self) -> None:
        """Give the file free."""
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def default_state(endpoint: str, model: str, path: Path) -> Path:
    """Return the state file of a followed file, in the user's state directory (XDG)."""
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    name = hashlib.sha256(f"{endpoint}\n{model}\n{path.resolve()}".encode()).hexdigest()[:24]
    return Path(home) / "streamlearn" / "follow" / f"{name}.json"
