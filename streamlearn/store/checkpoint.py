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
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, TypeVar

from numpy.typing import NDArray
from xxhash import xxh3_64_hexdigest

from streamlearn.errors import BadCheckpoint, StreamlearnError
from streamlearn.store import tensors
from streamlearn.store.checkpoint_info import (
    TEMPORARY,
    CheckpointInfo,
    Content,
    Draft,
    Written,
    check_unused,
    file_name,
    find,
    newest_first,
    sum_of_bytes,
)
from streamlearn.store.diagnostic import Diagnostic
from streamlearn.store.fs import (
    FS,
    actionable_error,
    actionable_errors,
    unused_name,
    write_atomically,
    write_new,
)
from streamlearn.store.retention import Retention, retained
from streamlearn.store.tensors import Arrays

__all__ = ["CheckpointInfo", "CheckpointStore", "Content", "Written", "check_unused", "find"]

ModelKey = tuple[str, int]  # a model's name, and the lsn of the record that created it

_DIRECTORY = re.compile(r"(?P<model>[^@]+)@(?P<create_lsn>\d+)")
_BAD = ".bad"
_BAD_FILE = re.compile(r".*\.safetensors\.bad(\.\d+)?")
_DROPPED = ".dropped"
_DROPPED_DIRECTORY = re.compile(r"[^@]+@\d+\.dropped(\.\d+)?")
_ROOM = 64  # a removal for lack of space frees this part of `max_bytes`

_Result = TypeVar("_Result")


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
        self._all_bytes = 0  # their sum
        self._necessary_bytes = 0  # what the last removal for lack of space had to leave, and some more

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
        with self._writing:
            return self._write_one(Content(model, create_lsn, lsn, arrays, metadata, name), retire).info

    def write_all(self, contents: Sequence[Content], *, retire: bool = True) -> Sequence[Written | Exception]:
        """Write checkpoints of several models, at most one of each; they are durable on return.

        They share two syncs of the file system, where two syncs of each would take most of the time. For each
        content, the result has the checkpoint, or the error that `write` would raise.
        """
        with self._writing:
            fd = self._fs.begin_group_sync(self._directory) if self._fs.exists(self._directory) else None
            try:
                if fd is not None:
                    return self._write_group(fd, contents, retire)
                return [self._result(partial(self._write_one, content, retire)) for content in contents]
            finally:
                if fd is not None:
                    self._fs.close(fd)

    def _write_one(self, content: Content, retire: bool) -> Written:
        draft = self._draft(content)
        with draft.errors():
            self._fs.makedirs(draft.path.parent)
            write_atomically(self._fs, draft.path, draft.data, TEMPORARY)
            return self._finish(draft, retire)

    def _write_group(
        self, fd: int, contents: Sequence[Content], retire: bool
    ) -> Sequence[Written | Exception]:
        """Write to temporary names, sync, rename, sync; then read back and remove older ones."""
        drafts = [self._result(partial(self._write_temporary, content)) for content in contents]
        good = [draft for draft in drafts if isinstance(draft, Draft)]
        try:
            self._fs.group_sync(fd)
            for draft in good:
                self._fs.rename(draft.temporary, draft.path)
            self._fs.group_sync(fd)
        except OSError as error:
            for draft in good:
                draft.discard(self._fs)
            failure = actionable_error(error, f"write {len(good)} checkpoints to {self._directory}")
            return [failure if isinstance(draft, Draft) else draft for draft in drafts]
        return [
            self._result(partial(self._finish, draft, retire)) if isinstance(draft, Draft) else draft
            for draft in drafts
        ]

    def _write_temporary(self, content: Content) -> Draft:
        draft = self._draft(content)
        with draft.errors():
            draft.new_folder = not self._fs.exists(draft.path.parent)
            self._fs.mkdir(draft.path.parent)
            try:
                write_new(self._fs, draft.temporary, draft.data, sync=False)
            except OSError:
                draft.discard(self._fs)
                raise
        return draft

    def _draft(self, content: Content) -> Draft:
        """Encode a checkpoint and choose the name of its file. Removes what a crash left in its directory."""
        data = tensors.encode(content.arrays, content.metadata)
        folder = self._folder(content.model, content.create_lsn)
        names = self._fs.listdir(folder)
        existing = self._infos(content.model, content.create_lsn, names)
        check_unused(content.name, existing)
        copies = [info.copy for info in existing if info.lsn == content.lsn]
        copy = max(copies, default=-1) + 1
        path = folder / file_name(content.lsn, copy, xxh3_64_hexdigest(data), content.name)
        for left in names:
            if left.endswith(TEMPORARY):  # by a crash
                self._fs.unlink(folder / left)
        return Draft(content.model, content.create_lsn, path, data, existing)

    def _finish(self, draft: Draft, retire: bool) -> Written:
        """Read a written checkpoint back, and remove older ones."""
        info = CheckpointInfo.of(self._fs, draft.model, draft.create_lsn, draft.path.parent, draft.path.name)
        assert info is not None
        if self._fs.read(draft.path) != draft.data:
            self.set_aside(BadFile(info, "it does not read back as it was written"))
            raise BadCheckpoint(
                f"checkpoint {draft.path} does not read back as it was written; it was set aside as *{_BAD}, "
                "and the older ones are kept. The disk or the memory is failing: replace it",
                path=str(draft.path),
            )
        infos = newest_first([info, *draft.existing])
        return Written(info, self._retire(infos, info) if retire else infos)

    @staticmethod
    def _result(work: Callable[[], _Result]) -> _Result | Exception:
        try:
            return work()
        except (StreamlearnError, OSError, ValueError) as error:
            return error

    def unpin(self, model: str, create_lsn: int, name: str) -> CheckpointInfo:
        """Take the name of a checkpoint away, and apply ``retention`` to it. Raises ``NoCheckpoint``."""
        with self._writing, actionable_errors(f"unpin a checkpoint in {self._folder(model, create_lsn)}"):
            info = find(self.list(model, create_lsn), model, name=name)
            unpinned = replace(info, name="")
            self._fs.rename(info.path, unpinned.path)
            self._fs.fsync_dir(info.folder)
            self._retire(self.list(model, create_lsn))
        return unpinned

    def _retire(
        self, infos: Sequence[CheckpointInfo], intact: CheckpointInfo | None = None
    ) -> Sequence[CheckpointInfo]:
        """Remove the checkpoints that ``retention`` does not keep; return the others, newest first.

        Bad ones among the newest do not count. ``infos`` are all checkpoints of one model, newest first;
        ``intact`` was just read.
        """
        if not self._bytes:
            self._bytes = {key: sum_of_bytes(self.list(*key)) for key in self.models()}
            self._all_bytes = sum(self._bytes.values())
        good: list[CheckpointInfo] = []
        for info in infos:
            if len(good) >= self._retention.newest or info == intact or self._good(info) is not None:
                good.append(info)
        kept = self._remove_others(good)
        key = infos[0].model, infos[0].create_lsn
        self._count_bytes(key, sum_of_bytes(kept))
        self._limit_bytes()
        return [info for info in good if info in kept]

    def _count_bytes(self, key: ModelKey, size: int) -> None:
        self._all_bytes += size - self._bytes.pop(key, 0)
        if size:
            self._bytes[key] = size

    def _limit_bytes(self) -> None:
        """Remove checkpoints of any model if all of them have more than ``max_bytes``.

        This looks at all models. So it makes room for some more checkpoints, and is rare.
        """
        limit = self._retention.max_bytes
        if not limit or self._all_bytes <= max(limit, self._necessary_bytes):
            return
        infos = [info for key in self.models() for info in self.list(*key)]
        kept = self._remove_others(infos, replace(self._retention, max_bytes=limit - limit // _ROOM))
        self._bytes = {}
        for info in kept:
            key = info.model, info.create_lsn
            self._bytes[key] = self._bytes.get(key, 0) + info.bytes
        self._all_bytes = sum_of_bytes(kept)
        self._necessary_bytes = self._all_bytes + limit // _ROOM
        if self._all_bytes > limit:
            self._warn(
                f"the checkpoints take {self._all_bytes} bytes, more than checkpoints.max_bytes "
                f"({limit}); the newest {self._retention.newest} of each model and those with a name are "
                "kept. Unpin some, or raise the setting"
            )

    def _remove_others(
        self, infos: Sequence[CheckpointInfo], retention: Retention | None = None
    ) -> set[CheckpointInfo]:
        """Remove those of ``infos`` that ``retention`` does not keep; return the others."""
        kept = retained(infos, retention or self._retention)
        for info in infos:
            if info not in kept:
                self._fs.unlink(info.path)
        return kept

    def models(self) -> list[tuple[str, int]]:
        """Return ``(model, create_lsn)`` of every model with a checkpoint directory."""
        matches = (_DIRECTORY.fullmatch(name) for name in self._fs.listdir(self._directory))
        return sorted((match["model"], int(match["create_lsn"])) for match in matches if match)

    def list(self, model: str, create_lsn: int) -> Sequence[CheckpointInfo]:
        """Return the model's checkpoints, newest first, without those that were set aside."""
        return self._infos(model, create_lsn, self._fs.listdir(self._folder(model, create_lsn)))

    def _infos(self, model: str, create_lsn: int, names: Iterable[str]) -> Sequence[CheckpointInfo]:
        """Return the checkpoints among the files in a model's directory, newest first."""
        folder = self._folder(model, create_lsn)
        infos = (CheckpointInfo.of(self._fs, model, create_lsn, folder, name) for name in names)
        return newest_first(info for info in infos if info)

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

    def drop(self, model: str, create_lsn: int) -> None:
        """Remove all checkpoints of the model, bad ones included."""
        folder = self._folder(model, create_lsn)
        with self._writing:
            if self._fs.exists(folder):
                # Rename first: a crash must not leave an older checkpoint without the newer one.
                self._fs.rename(folder, unused_name(self._fs, folder, _DROPPED))
                self._fs.fsync_dir(self._directory)
            self._count_bytes((model, create_lsn), 0)
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
                if name.endswith(TEMPORARY):
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
