"""Changes to a journal's files before use: cut off a torn tail or damage, after checks that change nothing.

All changes are durable on return. A crash at any point is safe: the next start finds the same end of the
chain, or the journal already truncated there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from streamlearn.store.fs import FS, unused_name
from streamlearn.store.scan import JournalScan
from streamlearn.store.segment import SegmentFile


def make_durable(fs: FS, scan: JournalScan, warn: Callable[[str], None]) -> None:
    """Make the valid records of ``scan`` durable, and remove everything behind them."""
    if scan.tail.damage is not None:
        _keep_copies(fs, scan, warn)
    elif (message := scan.torn_tail()) is not None:
        warn(message)
    if scan.uncertain is not None:
        index, offset = scan.uncertain
        _rewrite(fs, scan.segments[index : scan.end.index + 1], offset, scan.end.offset)
    _cut(fs, scan)


def remove(fs: FS, segments: Sequence[SegmentFile]) -> None:
    """Remove ``segments`` durably."""
    for segment in segments:
        fs.unlink(segment.path)
    if segments:
        fs.fsync_dir(segments[0].path.parent)


def _keep_copies(fs: FS, scan: JournalScan, warn: Callable[[str], None]) -> None:
    """Copy the segments from the end on to ``*.damaged``."""
    for segment in scan.segments[scan.end.index :]:
        fd = fs.create(unused_name(fs, segment.path, ".damaged"))
        fs.write(fd, [fs.read(segment.path)], 0)
        fs.fdatasync(fd)
        fs.close(fd)
    fs.fsync_dir(scan.directory)
    warn(
        f"the journal in {scan.directory} was damaged at record {scan.end.lsn}, byte {scan.end.offset} of "
        f"{scan.segments[scan.end.index].path.name} ({scan.tail.damage}), and is cut there; the original "
        "segments are kept as *.damaged"
    )


def _cut(fs: FS, scan: JournalScan) -> None:
    """Remove everything behind the end. A segment without a valid header is removed completely."""
    end = scan.end
    no_header = end.offset == 0
    remove(fs, scan.segments[end.index if no_header else end.index + 1 :])
    if not no_header:
        # Leftover bytes must be removed durably before new records are written there.
        fd = fs.open(scan.segments[end.index].path)
        fs.truncate(fd, end.offset)
        fs.fdatasync(fd)
        fs.close(fd)
    fs.fsync_dir(scan.directory)


def _rewrite(fs: FS, segments: Sequence[SegmentFile], begin: int, end: int) -> None:
    """Write ``segments`` again, from byte ``begin`` of the first to ``end`` of the last, and sync.

    A previous process wrote them, and nothing proves that they are on the disk. After a failed sync the
    system may still return bytes that it never wrote and does not include in the next sync.
    """
    for segment in segments:
        size = end - begin if segment is segments[-1] else None
        fd = fs.open(segment.path)
        fs.write(fd, [fs.read(segment.path, begin, size)], begin)
        fs.fdatasync(fd)
        fs.close(fd)
        begin = 0
