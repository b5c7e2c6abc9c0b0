"""Every error of streamlearn: the client's classes, and the errors that end the daemon.

Classes with wire codes are defined in ``streamlearn_client.errors``, so that ``except DiskFull`` means the
same on both sides of a socket. The classes added here end the daemon, each with its own exit code.
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
    CheckpointExists,
    Conflict,
    DiskFull,
    Fenced,
    Forbidden,
    Gap,
    Internal,
    ModelExists,
    NoAnswer,
    NoCheckpoint,
    ProtocolError,
    Quarantined,
    ShuttingDown,
    StreamlearnError,
    StreamLost,
    TooLarge,
    UnknownModel,
    UnknownOp,
    UnknownProducer,
    UnknownTransfer,
    Unrecognised,
    UnsupportedVersion,
    WrongProcess,
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
    "CheckpointExists",
    "CheckpointsFailed",
    "Conflict",
    "DamagedCheckpoints",
    "DamagedJournal",
    "DirectoryLocked",
    "DiskFull",
    "FatalError",
    "Fenced",
    "Forbidden",
    "Gap",
    "InsecureBind",
    "Internal",
    "JournalFailed",
    "ModelExists",
    "NoAnswer",
    "NoCheckpoint",
    "PortTaken",
    "ProtocolError",
    "Quarantined",
    "ShuttingDown",
    "StartupError",
    "StreamLost",
    "StreamlearnError",
    "TooLarge",
    "UnknownModel",
    "UnknownOp",
    "UnknownProducer",
    "UnknownTransfer",
    "Unrecognised",
    "UnsupportedVersion",
    "WrongProcess",
    "by_code",
    "from_wire",
]


class FatalError(StreamlearnError):
    """The daemon cannot continue and exits with ``exit_code``."""

    code = "FATAL"
    exit_code: ClassVar[int] = 1


class StartupError(FatalError):
    """The daemon cannot start. The attempt changed nothing."""

    code = "STARTUP"


class BadConfig(StartupError):
    """The configuration is wrong. ``detail["errors"]``, if present, is a list of ``{field, message}``."""

    code = "BAD_CONFIG"
    exit_code = 2


class PortTaken(StartupError):
    """Another process listens at an endpoint."""

    code = "PORT_TAKEN"
    exit_code = 3


class DirectoryLocked(StartupError):
    """Another daemon uses the data directory."""

    code = "DIRECTORY_LOCKED"
    exit_code = 4


class DamagedJournal(StartupError):
    """Durable records cannot be read. ``detail`` has segment, offset and lsn."""

    code = "DAMAGED_JOURNAL"
    exit_code = 5


class DamagedCheckpoints(StartupError):
    """A model has no valid checkpoint, and the journal no longer reaches back to its creation."""

    code = "DAMAGED_CHECKPOINTS"
    exit_code = 6


class InsecureBind(StartupError):
    """An endpoint would be open to the network without authentication."""

    code = "INSECURE_BIND"
    exit_code = 7


class JournalFailed(FatalError):
    """Writing the journal failed. Its content on disk is unknown until a restart has read it."""

    code = "JOURNAL_FAILED"
    exit_code = 8


class CheckpointsFailed(FatalError):
    """The daemon stopped without checkpoints of all models. The journal has everything."""

    code = "CHECKPOINTS_FAILED"
    exit_code = 9
