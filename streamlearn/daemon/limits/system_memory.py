"""The memory of the machine, of the control group, and of this process."""

from __future__ import annotations

import ctypes
import mmap
import os
from pathlib import Path

MAPS = Path("/proc/self/maps")
CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")


def default_memory_bytes() -> int:
    """Return half of the machine's memory, or half of the control group's limit if that is less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([total, *_cgroup_limits()]) // 2


def resident_bytes() -> int:
    """Return the resident memory of this process; 0 if the system does not report it."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def release_code(library: str) -> None:
    """Give back the memory of a shared library's code, which the process does not need for now.

    The code stays in the system's page cache, and is mapped again where it runs. On other systems than Linux
    nothing happens.

    Parameters
    ----------
    library
        A part of the file's name.
    """
    try:
        lines = MAPS.read_text().splitlines()
        advise = ctypes.CDLL(None).madvise
    except (OSError, AttributeError):
        return
    for fields in (line.split(maxsplit=5) for line in lines):
        # Data of the library is not given back: it has addresses that the loader wrote.
        if len(fields) == 6 and fields[1] == "r-xp" and library in os.path.basename(fields[5]):
            first, end = (int(address, 16) for address in fields[0].split("-"))
            advise(ctypes.c_void_p(first), ctypes.c_size_t(end - first), mmap.MADV_DONTNEED)


def _cgroup_limits() -> list[int]:
    """The limits of this process's control group, of versions 1 and 2, as far as they exist."""
    limits = []
    for path in _cgroup_files():
        try:
            text = path.read_text().strip()
        except OSError:
            continue
        if text.isdigit():  # version 2 writes "max" for no limit; version 1 a number above the memory
            limits.append(int(text))
    return limits


def _cgroup_files() -> list[Path]:
    """The files that may hold the limit of this process's group or of a group that contains it."""
    files = []
    try:
        lines = OWN_CGROUP.read_text().splitlines()
    except OSError:
        return []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            top, name = CGROUPS, "memory.max"
        elif "memory" in controllers.split(","):
            top, name = CGROUPS / "memory", "memory.limit_in_bytes"
        else:
            continue
        inside = Path(group.lstrip("/"))
        files += [top / parent / name for parent in (inside, *inside.parents)]
    return files
