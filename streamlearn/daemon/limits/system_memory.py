"""The memory of the machine, of the control group, and of this process."""

from __future__ import annotations

import os
from pathlib import Path

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
