"""Checkpoints: one file per model and lsn (docs/journal.md).

``<model>@<create lsn>/<lsn>-<copy>-<xxh3_64 of the file>[-<name>].safetensors``. The file name has the
hash, so one rename publishes a complete checkpoint, and a file with another hash is bad. The create lsn
distinguishes models that had the same name. One lsn may have several checkpoints; ``copy`` distinguishes
them. A name pins a checkpoint (``retention.py``).
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from numpy.typing import NDArray
from xxhash import xxh3_64_hexdigest

from streamlearn.errors import BadCheckpoint, CheckpointExists, NoCheckpoint
from streamlearn.store import tensors
from streamlearn.store.diagnostic import Diagnostic
from streamlearn.store.fs import FS, actionable_errors, unused_name, write_atomically
from streamlearn.store.retention import UNDO_PREFIX, Retention, retained
from streamlearn.store.tensors import Arrays

ModelKey = tuple[str, int]  # a model's name, and the lsn of the record that created it

_DIRECTORY = re.compile(r"(?P<model>[^@]+)@(?P<create_lsn>\d+)")
_FILE = re.compile(
    r"(?P<lsn>\d{20})-(?P<copy>\d+)-(?P<digest>[0-9a-f]{16})(-(?P<name>[A-Za-z0-9_][A-Za-z0-9_.-]*))?"
    r"\.safetensors"
)
_TEMPORARY = ".tmp"
_BAD = ".bad"
_BAD_FILE = re.compile(r".*\.safetensors\.bad(\.\d+)?")
_DROPPED = ".dropped"
_DROPPED_DIRECTORY = re.compile(r"[^@]+@\d+\.dropped(\.\d+)?")


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """A checkpoint by its file name, unread. ``time`` is when it was written, in ns since 1970."""

    model: str
    create_lsn: int
    lsn: int
    path: Path
    bytes: int
    time: int
    copy: int
    digest: str
    name: str = ""

    @property
    def undoes_restore(self) -> bool:
        """Whether `restore` wrote it first, so that the restore can be undone."""
        return self.name.startswith(UNDO_PREFIX)

    @property
    def pinned(self) -> bool:
        """Whether a user gave it a name, so that it is never removed."""
        return bool(self.name) and not self.undoes_restore


class BadFile(NamedTuple):
    """A checkpoint that cannot be used, and why."""

    info: CheckpointInfo
    reason: str


class Loaded(NamedTuple):
    """A checkpoint and its content."""

    info: CheckpointInfo
    arrays: Arrays
    metadata: dict[str, str]


class Examined(NamedTuple):
    """The newest good checkpoint of a model, and the bad ones that are newer."""

    newest: Loaded | None
    bad: list[BadFile]


class CheckpointStore:
    """The checkpoints in one directory. ``retention`` decides which are kept. For any thread."""

    def __init__(
        self,
        fs: FS,
        directory: Path,
        retention: Retention | None = None,
        *,
        warn: Callable[[str], None] = lambda message: None,
    ) -> None:
        self.fs = self._fs = fs
        self._directory = directory
        self._retention = retention or Retention()
        self._warn = warn
        self._writing = Lock()
        self._bytes: dict[ModelKey, int] = {}  # of the checkpoints of each model; filled by the first write
        self._necessary_bytes = 0  # what the last removal for lack of space had to leave

    def write(
        self,
        model: str,
        create_lsn: int,
        lsn: int,
        arrays: Mapping[str, NDArray[Any]],
        metadata: Mapping[str, str],
        name: str = "",
        *,
        retire: bool = True,
    ) -> CheckpointInfo:
        """Write a checkpoint; it is durable on return.

        Removes older checkpoints only after this one was read back and ``retention.newest`` good ones exist.

        Parameters
        ----------
        model, create_lsn
            The model.
        lsn
            The last record that the state includes.
        arrays, metadata
            The state and the spec.
        name
            A name that pins it.
        retire
            Whether to remove the checkpoints that ``retention`` does not keep.

        Raises
        ------
        CheckpointExists
            If the model has a checkpoint of this name.
        DiskFull
            Nothing was changed.
        BadCheckpoint
            If the file does not read back as it was written.
        ValueError
            If the format cannot hold one of the arrays.
        OSError
            Any other file error.
        """
        data = tensors.encode(arrays, metadata)
        digest = xxh3_64_hexdigest(data)
        folder = self._folder(model, create_lsn)
        with self._writing, actionable_errors(f"write a checkpoint of {len(data)} bytes to {folder}"):
            self._fs.makedirs(folder)
            existing = self.list(model, create_lsn)
            check_unused(name, existing)
            copies = [info.copy for info in existing if info.lsn == lsn]
            path = folder / _file_name(lsn, max(copies, default=-1) + 1, digest, name)
            for left in self._fs.listdir(folder):
                if left.endswith(_TEMPORARY):  # by a crash
                    self._fs.unlink(folder / left)
            write_atomically(self._fs, path, data, _TEMPORARY)
            info = self._info(model, create_lsn, path)
            assert info is not None
            if self._fs.read(path) != data:
                self.set_aside(BadFile(info, "it does not read back as it was written"))
                raise BadCheckpoint(
                    f"checkpoint {path} does not read back as it was written; it was set aside as *{_BAD}, "
                    "and the older ones are kept. The disk or the memory is failing: replace it",
                    path=str(path),
                )
            if retire:
                self._retire(model, create_lsn)
        return info

    def unpin(self, model: str, create_lsn: int, name: str) -> CheckpointInfo:
        """Take the name of a checkpoint away, and apply ``retention`` to it. Raises ``NoCheckpoint``."""
        with self._writing, actionable_errors(f"unpin a checkpoint in {self._folder(model, create_lsn)}"):
            info = find(self.list(model, create_lsn), model, name=name)
            path = info.path.with_name(_file_name(info.lsn, info.copy, info.digest, ""))
            self._fs.rename(info.path, path)
            self._fs.fsync_dir(path.parent)
            self._retire(model, create_lsn)
        return replace(info, path=path, name="")

    def _retire(self, model: str, create_lsn: int) -> None:
        """Remove the checkpoints that ``retention`` does not keep. Bad ones among the newest do not count."""
        if not self._bytes:
            self._bytes = {key: _sum_of_bytes(self.list(*key)) for key in self.models()}
        good: list[CheckpointInfo] = []
        for info in self.list(model, create_lsn):
            if len(good) >= self._retention.newest or self._good(info) is not None:
                good.append(info)
        self._bytes[model, create_lsn] = _sum_of_bytes(self._remove_others(good))
        self._limit_bytes()

    def _limit_bytes(self) -> None:
        """Remove checkpoints of any model if all of them have more than ``max_bytes``."""
        limit = self._retention.max_bytes
        if not limit or sum(self._bytes.values()) <= max(limit, self._necessary_bytes):
            return
        kept = self._remove_others([info for key in self.models() for info in self.list(*key)])
        self._bytes = dict.fromkeys(self._bytes, 0)
        for info in kept:
            self._bytes[info.model, info.create_lsn] = (
                self._bytes.get((info.model, info.create_lsn), 0) + info.bytes
            )
        self._necessary_bytes = _sum_of_bytes(kept)
        if self._necessary_bytes > limit:
            self._warn(
                f"the checkpoints take {self._necessary_bytes} bytes, more than checkpoints.max_bytes "
                f"({limit}); the newest {self._retention.newest} of each model and those with a name are "
                "kept. Unpin some, or raise the setting"
            )

    def _remove_others(self, infos: Sequence[CheckpointInfo]) -> set[CheckpointInfo]:
        """Remove those of ``infos`` that ``retention`` does not keep; return the others."""
        kept = retained(infos, self._retention)
        for info in infos:
            if info not in kept:
                self._fs.unlink(info.path)
        return kept

    def models(self) -> list[tuple[str, int]]:
        """Return ``(model, create_lsn)`` of every model with a checkpoint directory."""
        matches = (_DIRECTORY.fullmatch(name) for name in self._fs.listdir(self._directory))
        return sorted((match["model"], int(match["create_lsn"])) for match in matches if match)

    def list(self, model: str, create_lsn: int) -> list[CheckpointInfo]:
        """Return the model's checkpoints, newest first, without those that were set aside."""
        folder = self._folder(model, create_lsn)
        infos = (self._info(model, create_lsn, folder / name) for name in self._fs.listdir(folder))
        return sorted((info for info in infos if info), key=lambda info: (info.lsn, info.copy), reverse=True)

    def read(self, info: CheckpointInfo) -> bytes:
        """Return the checkpoint's bytes. Raises ``BadCheckpoint`` if their hash is wrong."""
        data = self._fs.read(info.path)
        if xxh3_64_hexdigest(data) != info.digest:
            raise BadCheckpoint(
                f"checkpoint {info.path} is damaged: its {len(data)} bytes do not have the hash in its "
                "name; use another checkpoint of the model",
                path=str(info.path),
            )
        return data

    def load(self, info: CheckpointInfo) -> tuple[Arrays, dict[str, str]]:
        """Return ``(arrays, metadata)`` of a checkpoint. Raises ``BadCheckpoint``."""
        return tensors.decode(self.read(info))

    def examine(self, model: str, create_lsn: int) -> Examined:
        """Find the newest good checkpoint of a model. Changes nothing."""
        bad: list[BadFile] = []
        for info in self.list(model, create_lsn):
            content = self._content(info)
            if not isinstance(content, BadFile):
                return Examined(Loaded(info, *content), bad)
            bad.append(content)
        return Examined(None, bad)

    def newest_valid(self, model: str, create_lsn: int) -> Loaded | None:
        """Return the newest good checkpoint, or ``None``. Sets bad ones aside, with a warning."""
        found = self.examine(model, create_lsn)
        for bad in found.bad:
            self.set_aside(bad)
        return found.newest

    def drop(self, model: str, create_lsn: int) -> None:
        """Remove all checkpoints of the model, bad ones included."""
        folder = self._folder(model, create_lsn)
        with self._writing:
            if self._fs.exists(folder):
                # Rename first: a crash must not leave an older checkpoint without the newer one.
                self._fs.rename(folder, unused_name(self._fs, folder, _DROPPED))
                self._fs.fsync_dir(self._directory)
            self._bytes.pop((model, create_lsn), None)
            for name in self._fs.listdir(self._directory):
                if _DROPPED_DIRECTORY.fullmatch(name):
                    for file in self._fs.listdir(self._directory / name):
                        self._fs.unlink(self._directory / name / file)
                    self._fs.rmdir(self._directory / name)

    def verify(self) -> Sequence[Diagnostic]:
        """Read every checkpoint and return all problems. Changes nothing; a daemon may be running."""
        findings = []
        for model, create_lsn in self.models():
            for name in self._fs.listdir(folder := self._folder(model, create_lsn)):
                if name.endswith(_TEMPORARY):
                    findings.append(
                        Diagnostic("note", folder / name, "an unfinished checkpoint; the next one removes it")
                    )
                elif _BAD_FILE.fullmatch(name):
                    findings.append(
                        Diagnostic("damage", folder / name, "a bad checkpoint that was set aside")
                    )
            findings += self._verify_model(model, create_lsn)
        return findings

    def _verify_model(self, model: str, create_lsn: int) -> Iterator[Diagnostic]:
        for info in self.list(model, create_lsn):
            try:
                self.load(info)
            except BadCheckpoint as error:
                yield Diagnostic("damage", info.path, error.message)
            except FileNotFoundError:
                continue  # a running daemon has just removed it
            except OSError as error:
                yield Diagnostic("damage", info.path, f"cannot be read: {error.strerror or error}")

    def _folder(self, model: str, create_lsn: int) -> Path:
        return self._directory / f"{model}@{create_lsn}"

    def _info(self, model: str, create_lsn: int, path: Path) -> CheckpointInfo | None:
        match = _FILE.fullmatch(path.name)
        if match is None:
            return None
        try:
            stat = self._fs.stat(path)
        except FileNotFoundError:
            return None  # removed since the directory was listed
        return CheckpointInfo(
            model,
            create_lsn,
            int(match["lsn"]),
            path,
            stat.size,
            stat.time,
            int(match["copy"]),
            match["digest"],
            match["name"] or "",
        )

    def _good(self, info: CheckpointInfo) -> tuple[Arrays, dict[str, str]] | None:
        """Return the content of the checkpoint; if it is bad, set it aside and return ``None``."""
        content = self._content(info)
        if isinstance(content, BadFile):
            self.set_aside(content)
            return None
        return content

    def _content(self, info: CheckpointInfo) -> tuple[Arrays, dict[str, str]] | BadFile:
        try:
            with actionable_errors(f"read the checkpoint {info.path}"):
                return self.load(info)
        except BadCheckpoint as error:
            return BadFile(info, error.message)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return BadFile(info, f"{info.path} cannot be read: {error.strerror}")

    def set_aside(self, bad: BadFile) -> None:
        """Rename a bad checkpoint, with a warning."""
        path = bad.info.path
        aside = unused_name(self._fs, path, _BAD)
        self._fs.rename(path, aside)
        self._fs.fsync_dir(aside.parent)
        self._warn(
            f"{bad.reason}. It was set aside as {aside.name}; the one before it is used, with a longer replay"
        )


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


def _file_name(lsn: int, copy: int, digest: str, name: str) -> str:
    return f"{lsn:020d}-{copy}-{digest}{name and '-'}{name}.safetensors"


def _sum_of_bytes(infos: Iterable[CheckpointInfo]) -> int:
    return sum(info.bytes for info in infos)
