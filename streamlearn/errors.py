"""Every error of streamlearn under one name: the client's tree, and the errors that end the daemon.

The classes with wire codes belong to ``streamlearn_client.errors``, so that ``except DiskFull`` means the
same on both sides of a socket. Added here are those that never travel: the ones the daemon stops with,
each with its own exit code.
"""

from __future__ import annotations

from typing import ClassVar

from streamlearn_client.errors import (
    BadCheckpoint,
    BadDtype,
    BadMessage,
    BadName,
    BadShape,
    BadSpec,
    BadValue,
    Busy,
    DiskFull,
    Fenced,
    Gap,
    Internal,
    ModelExists,
    NoAnswer,
    NoCheckpoint,
    ShuttingDown,
    StreamlearnError,
    StreamLost,
    TooLarge,
    UnknownModel,
    UnknownOp,
    Unrecognised,
    UnsupportedVersion,
    by_code,
    from_wire,
)

__all__ = [
    "BadCheckpoint",
    "BadConfig",
    "BadDtype",
    "BadMessage",
    "BadName",
    "BadShape",
    "BadSpec",
    "BadValue",
    "Busy",
    "DamagedCheckpoints",
    "DamagedJournal",
    "DirectoryLocked",
    "DiskFull",
    "FatalError",
    "Fenced",
    "Gap",
    "InsecureBind",
    "Internal",
    "JournalFailed",
    "ModelExists",
    "NoAnswer",
    "NoCheckpoint",
    "PortTaken",
    "ShuttingDown",
    "StartupError",
    "StreamLost",
    "StreamlearnError",
    "TooLarge",
    "UnknownModel",
    "UnknownOp",
    "Unrecognised",
    "UnsupportedVersion",
    "by_code",
    "from_wire",
]


class FatalError(StreamlearnError):
    """The daemon can't go on, and exits with ``exit_code``."""

    code = "FATAL"
    exit_code: ClassVar[int] = 1


class StartupError(FatalError):
    """The daemon can't start; nothing was changed by the attempt."""

    code = "STARTUP"


class BadConfig(StartupError):
    """The configuration is wrong; ``detail["errors"]``, when there, is a list of ``{field, message}``."""

    code = "BAD_CONFIG"
    exit_code = 2


class PortTaken(StartupError):
    """Somebody else listens at an endpoint."""

    code = "PORT_TAKEN"
    exit_code = 3


class DirectoryLocked(StartupError):
    """Another daemon uses the data directory."""

    code = "DIRECTORY_LOCKED"
    exit_code = 4


class DamagedJournal(StartupError):
    """Records that had been durable can't be read; ``detail`` says segment, offset and lsn."""

    code = "DAMAGED_JOURNAL"
    exit_code = 5


class DamagedCheckpoints(StartupError):
    """A model has no good checkpoint, and the journal no longer reaches back to its creation."""

    code = "DAMAGED_CHECKPOINTS"
    exit_code = 6


class InsecureBind(StartupError):
    """An endpoint would be open to the network without authentication."""

    code = "INSECURE_BIND"
    exit_code = 7


class JournalFailed(FatalError):
    """Writing the journal to disk failed: what is on disk is unknown until a restart has read it."""

    code = "JOURNAL_FAILED"
    exit_code = 8
