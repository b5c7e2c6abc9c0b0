"""Durable storage: the journal and the checkpoints. Handles records, bytes and named arrays only."""

from streamlearn.store.checkpoint import CheckpointInfo, CheckpointStore
from streamlearn.store.diagnostic import Diagnostic
from streamlearn.store.flusher import Flusher
from streamlearn.store.fs import FS, Lock
from streamlearn.store.journal import Journal
from streamlearn.store.record import Record, RecordKind
from streamlearn.store.scan import JournalScan
from streamlearn.store.verify import verify_journal

__all__ = [
    "FS",
    "CheckpointInfo",
    "CheckpointStore",
    "Diagnostic",
    "Flusher",
    "Journal",
    "JournalScan",
    "Lock",
    "Record",
    "RecordKind",
    "verify_journal",
]
