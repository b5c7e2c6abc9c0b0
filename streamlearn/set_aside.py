"""Repair of a data directory in which the daemon has set models aside. The daemon must be stopped."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from streamlearn.errors import UnknownModel
from streamlearn.store.deaths import DeathLog, Suspect
from streamlearn.store.dropped import drop
from streamlearn.store.fs import FS, unused_name, write_atomically
from streamlearn.store.journal import Journal
from streamlearn.store.record import Record, RecordKind
from streamlearn.store.scan import JournalScan


class Repair:
    """A data directory, locked until the end of the context. Raises ``DirectoryLocked``."""

    def __init__(self, fs: FS, directory: Path) -> None:
        self._fs = fs
        self._directory = directory
        self._lock = fs.lock(directory / "lock")
        self._deaths = DeathLog(self._lock)

    def __enter__(self) -> Repair:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def set_aside(self) -> list[Suspect]:
        """Return the models that are set aside."""
        return [each for each in self._deaths.suspects if each.set_aside]

    def find(self, name: str) -> Suspect:
        """Return a model that is set aside. Raises ``UnknownModel``."""
        for each in self.set_aside():
            if each.name == name:
                return each
        raise UnknownModel(f"no model {name!r} is set aside; {self._describe()}", model=name)

    def model_at(self, lsn: int) -> str:
        """Return the name of the model that is set aside at record ``lsn``. Raises ``UnknownModel``."""
        return self._at(lsn).name

    def drop_record(self, lsn: int) -> Path:
        """Drop the record at which a model was set aside, durably; return the path of its copy.

        Raises ``DamagedJournal`` if the record can't be read.
        """
        suspect = self._at(lsn)
        scan = JournalScan(self._fs, self._directory / "journal")
        record = next(scan.replay(lsn), None)
        if record is None or record.lsn != lsn or scan.id is None:
            raise UnknownModel(f"the journal does not have record {lsn}; start the daemon", lsn=lsn)
        copy = drop(self._fs, scan.directory, record, scan.id)
        self._forget(suspect)
        return copy

    def drop_model(self, name: str) -> Path:
        """Delete a model that is set aside, durably; return the directory with a copy of its files.

        The copy has the checkpoints of the model, and the journal. The next start removes the originals.
        Until the journal is read up to the deletion, the model stays set aside.
        """
        suspect = self.find(name)
        copy = self._copy(suspect)
        scan = JournalScan(self._fs, self._directory / "journal")
        time = max((record.time for record in scan.replay()), default=0)
        journal = Journal.open(self._fs, scan.directory, scan=scan)
        journal.append([Record(RecordKind.DELETE, 0, time, name)])
        journal.sync()
        journal.close()
        return copy

    def _at(self, lsn: int) -> Suspect:
        for each in self.set_aside():
            if each.lsn == lsn:
                return each
        raise UnknownModel(f"no model is set aside at record {lsn}; {self._describe()}", lsn=lsn)

    def _describe(self) -> str:
        names = ", ".join(f"{each.name} (at record {each.lsn})" for each in self.set_aside())
        return f"set aside: {names or 'none'}"

    def _forget(self, suspect: Suspect) -> None:
        self._deaths.keep([each for each in self._deaths.suspects if each != suspect])

    def _copy(self, suspect: Suspect) -> Path:
        """Copy the journal and the checkpoints of a model to a new directory."""
        folder = f"{suspect.name}@{suspect.create_lsn}"
        target = unused_name(self._fs, self._directory / folder, ".dropped")
        for part in (Path("journal"), Path("checkpoints") / folder):
            source = self._directory / part
            self._fs.makedirs(target / part)
            for name in self._fs.listdir(source):
                write_atomically(self._fs, target / part / name, self._fs.read(source / name))
        return target
