"""The types of what the daemon tells about models and checkpoints.

Each is a map, as the daemon sent it. A newer daemon may send more names.
"""

from typing import Any, NotRequired, TypedDict

__all__ = [
    "CheckpointInfo",
    "DaemonInfo",
    "ExportedFile",
    "ModelChange",
    "ModelDescription",
    "ModelSummary",
    "NamedCheckpoint",
    "Quarantine",
    "Restored",
]


class DaemonInfo(TypedDict):
    """What ``hello`` tells about a daemon. ``instance`` is random per start."""

    server: str
    version: str
    protocol: int
    limits: dict[str, int]
    endpoints: dict[str, str]
    instance: str
    cumulative_acks: bool


class Quarantine(TypedDict):
    """Why a model is set aside: the record at which the daemon died, and when (ns since 1970)."""

    lsn: int
    reason: str
    time: int


class ModelSummary(TypedDict):
    """A model as ``models`` lists it.

    ``silent`` is the number of its streams that are silent; answers to changes do not have it.
    """

    name: str
    kind: str
    dim: int
    samples: int
    applied_lsn: int
    create_lsn: int
    paused: bool
    silent: NotRequired[int]
    quarantined: Quarantine | None


class CheckpointInfo(TypedDict):
    """A checkpoint. ``time`` is in ns since 1970; ``name`` is None for one without a name."""

    lsn: int
    name: str | None
    pinned: bool
    bytes: int
    time: int
    age_seconds: float


class NamedCheckpoint(CheckpointInfo):
    """A checkpoint and its model."""

    model: str


class ModelDescription(ModelSummary):
    """A model as ``describe`` shows it. ``spec`` has all defaults, ``quality`` depends on the kind."""

    spec: dict[str, Any]
    target_dim: int
    accepts_late_targets: bool
    needs_keys: bool
    uses_time: bool
    durable_lsn: int
    state_hash: str
    quality: dict[str, float]
    label_names: list[str]
    checkpoints: list[CheckpointInfo]


class ModelChange(ModelSummary):
    """A model after a change, and the record of the change. Only a new model has ``spec``."""

    lsn: int
    durable_lsn: int
    duplicate: NotRequired[bool]
    spec: NotRequired[dict[str, Any]]
    cloned_lsn: NotRequired[int]


class Restored(ModelChange):
    """A model after a restore: the lsn of its state, and the checkpoint that undoes it."""

    restored_lsn: int
    undo_lsn: NotRequired[int]
    undo_name: NotRequired[str]


class ExportedFile(TypedDict):
    """An exported model: the state that the file has, and its SHA-256."""

    model: str
    kind: str
    lsn: int
    samples: int
    bytes: int
    sha256: str
