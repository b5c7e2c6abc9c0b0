"""The files of new segments: new ones, or spares, which are the files of retired segments.

Overwriting a file costs less to sync than filling space that was only reserved, because the file system need
not record that the space is now in use. A spare keeps the records of its earlier segment until they are
overwritten. No reader takes them for records of the new segment: their ``prev`` differs, and their lsns are
smaller. The header says how far they may reach (``stale``).

Spares belong to one run of the process: they are removed when a journal is opened and when it is closed.
"""

from __future__ import annotations

from pathlib import Path
from threading import Lock

from streamlearn.store.fs import FS, FULL
from streamlearn.store.segment import Header, SegmentFile, encode_header

SUFFIX = ".spare"
MOST_SPARES = 8
FREE_SEGMENTS = 16  # with less free space on the disk, measured in segments, there are no spares


class SegmentFiles:
    """Files for the segments in ``directory``. One thread may call `create`, one other `keep`."""

    def __init__(self, fs: FS, directory: Path, segment_bytes: int) -> None:
        self._fs = fs
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._lock = Lock()  # guards the fields below; never held during file access
        self._spares: list[Path] = []
        self._created = 0  # segments since the last `plan_spares`
        self._most = 0

    def create(self, segment: SegmentFile, header: Header, limit: int, needed: int) -> tuple[int, int, int]:
        """Create the file of a segment with its header; neither is durable.

        Sets ``header.stale``. After an ``OSError`` there is no file.

        Returns
        -------
        tuple of int
            The descriptor, the reserved bytes, and the hash of the header. ``limit`` bytes are reserved, or
            fewer on a nearly full disk, but at least ``needed``.
        """
        fs = self._fs
        with self._lock:
            self._created += 1
        spare = self._take_spare()
        if spare is not None and not fs.exists(spare):  # another program has removed it
            spare = None
        path = spare or segment.path
        fd = -1
        try:
            fd = fs.open(path) if spare else fs.create(path)
            header.stale = fs.stat(path).size
            limit = _reserve(fs, fd, limit, needed)
            data, digest = encode_header(header)
            fs.write(fd, [data], 0)
            if spare:
                fs.rename(spare, segment.path)
        except OSError:
            if fd >= 0:
                fs.close(fd)
                fs.unlink(path)
                fs.fsync_dir(self._directory)  # it must not come back before a later segment
            raise
        return fd, limit, digest

    def plan_spares(self) -> None:
        """Let `keep` have as many spares as segments were created since the last call."""
        with self._lock:
            self._most, self._created = min(self._created, MOST_SPARES), 0
        if self._most and self._fs.free_bytes(self._directory) < FREE_SEGMENTS * self._segment_bytes:
            self._most = 0
            self.remove_spares()

    def keep(self, segment: SegmentFile) -> bool:
        """Durably turn the file of a retired segment into a spare. Return ``False`` if it is not needed.

        A file with several names is not used: a copy by hard links would change with it.
        """
        fs, path = self._fs, segment.path.with_suffix(SUFFIX)
        usual = self._segment_bytes // 2 <= fs.stat(segment.path).size <= self._segment_bytes
        if len(self._spares) >= self._most or not usual or fs.has_other_names(segment.path):
            return False
        fs.rename(segment.path, path)
        fs.fsync_dir(self._directory)
        with self._lock:
            self._spares.append(path)
        return True

    def remove_spares(self) -> None:
        """Remove all spares. For any thread."""
        while (spare := self._take_spare()) is not None:
            self._fs.unlink(spare)

    def remove_leftovers(self) -> None:
        """Remove the spares of an earlier process."""
        for name in self._fs.listdir(self._directory):
            if name.endswith(SUFFIX):
                self._fs.unlink(self._directory / name)

    def _take_spare(self) -> Path | None:
        """Return a spare, which is the caller's from now on."""
        with self._lock:
            return self._spares.pop(0) if self._spares else None


def _reserve(fs: FS, fd: int, limit: int, needed: int) -> int:
    """Reserve ``limit`` bytes, or fewer on a nearly full disk, but at least ``needed``; return the number."""
    while True:
        try:
            fs.allocate(fd, limit)
            return limit
        except OSError as error:
            if error.errno not in FULL or limit == needed:
                raise
            fs.truncate(fd, 0)  # release what was reserved
            limit = max(needed, limit // 8)
