"""What a checkpoint is called, and what is known of it without reading it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from streamlearn.errors import CheckpointExists, NoCheckpoint
from streamlearn.store.fs import FS, actionable_errors
from streamlearn.store.retention import UNDO_PREFIX

TEMPORARY = ".tmp"
_FILE = re.compile(
    r"(?P<lsn>\d{20})-(?P<copy>0|[1-9]\d*)-(?P<digest>[0-9a-f]{16})(-(?P<name>[A-Za-z0-9_][A-Za-z0-9_.-]*))?"
    r"\.safetensors"
)


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """A checkpoint by its file name, unread. ``time`` is when it was written, in ns since 1970.

    A daemon keeps dozens for each model. So all of a model share its ``folder``, and the path is not stored.
    """

    model: str
    create_lsn: int
    lsn: int
    folder: Path
    bytes: int
    time: int
    copy: int
    digest: str
    name: str = ""

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / file_name(self.lsn, self.copy, self.digest, self.name)

    @property
    def undoes_restore(self) -> bool:
        """Whether `restore` wrote it first, so that the restore can be undone."""
        return self.name.startswith(UNDO_PREFIX)

    @property
    def pinned(self) -> bool:
        """Whether a user gave it a name, so that it is never removed."""
        return bool(self.name) and not self.undoes_restore

    @classmethod
    def of(cls, fs: FS, model: str, create_lsn: int, folder: Path, name: str) -> CheckpointInfo | None:
        """Return the checkpoint of a file; ``None`` if the file is no checkpoint, or was just removed."""
        match = _FILE.fullmatch(name)
        if match is None:
            return None
        try:
            stat = fs.stat(folder / name)
        except FileNotFoundError:
            return None  # removed since the directory was listed
        return cls(
            model,
            create_lsn,
            int(match["lsn"]),
            folder,
            stat.size,
            stat.time,
            int(match["copy"]),
            match["digest"],
            match["name"] or "",
        )


class Content(NamedTuple):
    """A checkpoint to write: the parameters of `CheckpointStore.write`."""

    model: str
    create_lsn: int
    lsn: int
    arrays: Mapping[str, NDArray[Any]]
    metadata: Mapping[str, str]
    name: str = ""


class Written(NamedTuple):
    """A checkpoint that was written, and all checkpoints that the model has now, newest first."""

    info: CheckpointInfo
    infos: Sequence[CheckpointInfo]


@dataclass(slots=True)
class Draft:
    """A checkpoint that is being written."""

    model: str
    create_lsn: int
    path: Path
    data: bytes
    existing: Sequence[CheckpointInfo]
    new_folder: bool = False

    @property
    def temporary(self) -> Path:
        """The name of the file until it is complete."""
        return self.path.with_name(self.path.name + TEMPORARY)

    def errors(self) -> AbstractContextManager[None]:
        """Replace an ``OSError`` in the block by an error that says what to do."""
        return actionable_errors(f"write a checkpoint of {len(self.data)} bytes to {self.path.parent}")

    def discard(self, fs: FS) -> None:
        """Remove the temporary file, and its directory if that is new."""
        with suppress(OSError):  # the first error is reported
            if fs.exists(self.temporary):
                fs.unlink(self.temporary)
            if self.new_folder and not fs.listdir(self.path.parent):
                fs.rmdir(self.path.parent)


def check_unused(name: str, existing: Sequence[CheckpointInfo]) -> None:
    """Raise ``CheckpointExists`` if one of ``existing`` has this name."""
    for info in existing:
        if name and info.name == name:
            raise CheckpointExists(
                f"model {info.model!r} has a checkpoint {name!r} already, as of record {info.lsn}; choose "
                "another name, or unpin that checkpoint first",
                model=info.model,
                name=name,
                lsn=info.lsn,
            )


def find(infos: Sequence[CheckpointInfo], model: str, *, name: str) -> CheckpointInfo:
    """Return the checkpoint of this name. Raises ``NoCheckpoint``, which lists the existing names."""
    for info in infos:
        if info.name == name:
            return info
    names = [info.name for info in infos if info.name]
    raise NoCheckpoint(
        f"model {model!r} has no checkpoint {name!r}; its names: {', '.join(names) or 'none'}",
        names=names,
    )


def file_name(lsn: int, copy: int, digest: str, name: str) -> str:
    """Return the name of a checkpoint's file. Names sort by lsn, then by the number of the copy."""
    return f"{lsn:020d}-{copy}-{digest}{name and '-'}{name}.safetensors"


def newest_first(infos: Iterable[CheckpointInfo]) -> list[CheckpointInfo]:
    """Return the checkpoints in the order in which a start tries them."""
    return sorted(infos, key=lambda info: (info.lsn, info.copy), reverse=True)


def sum_of_bytes(infos: Iterable[CheckpointInfo]) -> int:
    """Return the size of all files together."""
    return sum(info.bytes for info in infos)
