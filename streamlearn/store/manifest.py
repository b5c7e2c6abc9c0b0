"""``manifest.json``: what a data directory must contain (docs/journal.md).

Segments of the journal are removed when checkpoints make them unnecessary. Without a note of that, a journal
whose first segments were lost looks the same. The manifest is written before segments are removed. It is
optional: without it a start checks less.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from streamlearn.errors import DamagedJournal
from streamlearn.store.fs import FS, actionable_errors, write_atomically

VERSION = 1


@dataclass(frozen=True, slots=True)
class Manifest:
    """The journal's id, the first lsn that it must contain, and the models that were created before it.

    ``models`` maps (name, create lsn) to an lsn: the model needs a checkpoint at or after it.
    """

    journal: int
    first_lsn: int
    models: dict[tuple[str, int], int] = field(default_factory=dict)


class ManifestFile:
    """The manifest of the data directory ``directory``."""

    def __init__(self, fs: FS, directory: Path) -> None:
        self._fs = fs
        self.path = directory / "manifest.json"

    def read(self) -> Manifest | None:
        """Return the manifest; ``None`` if there is none. Raises ``DamagedJournal`` if it is not valid."""
        if not self._fs.exists(self.path):
            return None
        with actionable_errors(f"read {self.path}"):
            data = self._fs.read(self.path)
        try:
            content = json.loads(data)
            if content["version"] != VERSION:
                raise ValueError(f"it has version {content['version']}, expected {VERSION}")
            models = {
                (name, int(create_lsn)): int(lsn)
                for key, lsn in content["models"].items()
                for name, _, create_lsn in [key.rpartition("@")]
            }
            return Manifest(int(content["journal"], 16), int(content["first_lsn"]), models)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamagedJournal(
                f"{self.path} cannot be read ({error}); restore it from a backup. Or move it away: then a "
                "start does not notice missing files that only the manifest lists"
            ) from error

    def write(self, manifest: Manifest) -> None:
        """Replace the manifest, durably."""
        content = {
            "version": VERSION,
            "journal": f"{manifest.journal:016x}",
            "first_lsn": manifest.first_lsn,
            "models": {f"{name}@{create_lsn}": lsn for (name, create_lsn), lsn in manifest.models.items()},
        }
        with actionable_errors(f"write {self.path}"):
            write_atomically(self._fs, self.path, json.dumps(content, indent=1).encode() + b"\n")
