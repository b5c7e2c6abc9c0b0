"""The blocking client's operations on models, checkpoints and producers."""

from __future__ import annotations

from typing import Any, TypeVar, cast

from streamlearn_client.descriptions import (
    CheckpointInfo,
    DaemonInfo,
    ModelChange,
    ModelDescription,
    ModelSummary,
    NamedCheckpoint,
    Restored,
)
from streamlearn_client.results import Position
from streamlearn_client.session import Operation, Session
from streamlearn_client.transport import Transport

__all__ = ["Administration"]

T = TypeVar("T")


class Administration:
    """Operations on models, checkpoints and producers. Base class of `Client`."""

    timeout: float | None
    _session: Session
    _transport: Transport

    def hello(self) -> DaemonInfo:
        """Return information about the daemon.

        Returns
        -------
        dict
            ``server``, ``version``, ``protocol``, ``limits``, ``endpoints`` and ``instance`` (random per
            start).
        """
        return cast(DaemonInfo, self._run(self._session.hello()))

    def delete(self, model: str) -> None:
        """Delete a model with its state and its checkpoints.

        Parameters
        ----------
        model : str
            Name of the model.

        Raises
        ------
        UnknownModel
            If no model has this name.
        """
        self._run(self._session.delete(model))

    def models(self) -> list[ModelSummary]:
        """Return all models.

        Returns
        -------
        list of dict
            One map per model: ``name``, ``kind``, ``dim``, ``samples``, ``applied_lsn`` and ``create_lsn``.
        """
        return cast(list[ModelSummary], self._run(self._session.models()))

    def describe(self, model: str) -> ModelDescription:
        """Return the description of a model, after it has learned everything sent before.

        Parameters
        ----------
        model : str
            Name of the model.

        Returns
        -------
        dict
            Among others ``kind``, ``spec``, ``samples``, ``applied_lsn``, ``durable_lsn``, ``create_lsn``,
            ``state_hash``, ``quality`` and ``checkpoints``.
        """
        return cast(ModelDescription, self._run(self._session.request("describe", model)))

    def stats(self, model: str | None = None) -> dict[str, Any]:
        """Return the daemon's counters.

        Parameters
        ----------
        model : str, optional
            Name of a model. By default the counters of the daemon and of all models.

        Returns
        -------
        dict
            The counters.
        """
        return self._run(self._session.stats(model or ""))

    def reheat(self, model: str, heat: float = 1.0, *, idempotency_key: str | None = None) -> ModelChange:
        """Set the model's schedules back, so that it learns faster again.

        The daemon applies it after everything sent before. Without an ``idempotency_key``, the request is not
        repeated: if the connection is lost before the answer, ``NoAnswer`` is raised, and the ``reheated``
        event shows whether it happened.

        Parameters
        ----------
        model : str
            Name of the model.
        heat : float, default 1.0
            How far to set the schedules back, above 0 and up to 1. 1: to their start.
        idempotency_key : str, optional
            A name of this request, at most 256 bytes. The change is executed once, however often and from
            whichever process it is sent with this key; a repetition is answered with ``duplicate``. So the
            client repeats it itself after a lost connection.

        Returns
        -------
        dict
            The model's description, with ``lsn`` and ``durable_lsn`` of the record.

        Raises
        ------
        BadValue
            If ``heat`` is out of range.
        """
        return cast(ModelChange, self._run(self._session.reheat(model, heat, idempotency_key)))

    def feedback(
        self,
        model: str,
        sample: Any,
        verdict: str,
        name: str = "",
        *,
        idempotency_key: str | None = None,
    ) -> ModelChange:
        """Judge a sample: its pattern is normal, or a fault with a name.

        A pattern called normal begins no alarm when it comes again. A pattern called a fault begins an alarm
        with this name. The daemon applies it after everything sent before. A `restore` undoes it.
        Without an ``idempotency_key``, the request is not repeated: if the connection is lost before the
        answer, ``NoAnswer`` is raised, and the ``judged`` event shows whether it happened.

        Parameters
        ----------
        model : str
            Name of the model, which has ``alarm`` in its spec.
        sample : array_like of shape (dim,), or int
            The sample's values in the stream's own units; NaN marks a missing value. Or its number, if it
            was the first sample or the peak of one of the last eight alarms.
        verdict : {"normal", "fault"}
            The verdict.
        name : str, default ""
            Name of a fault, at most 32 bytes. Empty: "fault".
        idempotency_key : str, optional
            A name of this request, at most 256 bytes. The change is executed once, however often and from
            whichever process it is sent with this key; a repetition is answered with ``duplicate``. So the
            client repeats it itself after a lost connection.

        Returns
        -------
        dict
            The model's description, with ``lsn`` and ``durable_lsn`` of the record.

        Raises
        ------
        BadValue
            If the verdict or the name is invalid, the values of the sample are not kept, or the model has no
            alarms.
        """
        return cast(
            ModelChange, self._run(self._session.feedback(model, sample, verdict, name, idempotency_key))
        )

    def pause(self, model: str, *, idempotency_key: str | None = None) -> ModelChange:
        """Pause learning: the model only watches its samples until `resume`.

        It returns outputs, scores and events, and its quality counts the samples. Weights, scaling and the
        score's reference stay as they are. The daemon applies it after everything sent before. To pause a
        paused model has no effect.

        Parameters
        ----------
        model : str
            Name of the model.
        idempotency_key : str, optional
            A name of this request, at most 256 bytes. The change is executed once, however often and from
            whichever process it is sent with this key; a repetition is answered with ``duplicate``. So the
            client repeats it itself after a lost connection.

        Returns
        -------
        dict
            The model's description, with ``lsn`` and ``durable_lsn`` of the record.
        """
        return cast(ModelChange, self._run(self._session.pause(model, idempotency_key)))

    def resume(self, model: str, *, idempotency_key: str | None = None) -> ModelChange:
        """Learn again after `pause`.

        It also ends the watching after a drift alarm. The daemon applies it after everything sent before.

        Parameters
        ----------
        model : str
            Name of the model.
        idempotency_key : str, optional
            A name of this request, at most 256 bytes. The change is executed once, however often and from
            whichever process it is sent with this key; a repetition is answered with ``duplicate``. So the
            client repeats it itself after a lost connection.

        Returns
        -------
        dict
            The model's description, with ``lsn`` and ``durable_lsn`` of the record.
        """
        return cast(ModelChange, self._run(self._session.resume(model, idempotency_key)))

    def checkpoint(self, model: str, name: str | None = None) -> NamedCheckpoint:
        """Write a checkpoint of the model now.

        With a name, the request is not repeated: if the connection is lost before the answer, ``NoAnswer`` is
        raised, and `checkpoints` shows whether it was written.

        Parameters
        ----------
        model : str
            Name of the model.
        name : str, optional
            A name for the checkpoint, of the form of a model's name. It pins the checkpoint: the daemon does
            not remove it until `unpin`. By default the checkpoint has no name and is removed in its turn.

        Returns
        -------
        dict
            ``model``, and the entry of the checkpoint as in `checkpoints`.

        Raises
        ------
        CheckpointExists
            If the model has a checkpoint of this name.
        BadName
            If the name is invalid, or starts with ``undo-``.
        DiskFull
            If the disk has no space for the checkpoint.
        """
        return cast(
            NamedCheckpoint,
            self._run(self._session.request("checkpoint", model, idempotent=name is None, name=name)),
        )

    def unpin(self, model: str, name: str) -> NamedCheckpoint:
        """Take the name of a checkpoint away.

        The checkpoint is then removed in its turn, at once if it is older than all that the daemon keeps.

        Parameters
        ----------
        model : str
            Name of the model.
        name : str
            Name of the checkpoint.

        Returns
        -------
        dict
            ``model``, and the entry of the checkpoint as in `checkpoints`, now without a name.

        Raises
        ------
        NoCheckpoint
            If the model has no checkpoint of this name.
        """
        return cast(
            NamedCheckpoint, self._run(self._session.request("unpin", model, idempotent=False, name=name))
        )

    def checkpoints(self, model: str) -> list[CheckpointInfo]:
        """Return the checkpoints of a model.

        Parameters
        ----------
        model : str
            Name of the model.

        Returns
        -------
        list of dict
            ``lsn``, ``name`` (or ``None``), ``pinned``, ``bytes``, ``time`` (ns since 1970) and
            ``age_seconds`` of each checkpoint, newest first.
        """
        return cast(list[CheckpointInfo], self._run(self._session.request_list("checkpoints", model)))

    def restore(
        self,
        model: str,
        lsn: int | None = None,
        *,
        name: str | None = None,
        into: str | None = None,
        idempotency_key: str | None = None,
    ) -> Restored:
        """Set a model back to an earlier state, or create a model with an earlier state of another.

        The daemon writes a checkpoint of the current state first, so that the restore can be undone with
        ``restore(model, name=answer["undo_name"])``.

        Without an ``idempotency_key``, the request is not repeated: a second restore could undo learning that
        happened after the first. If the connection is lost before the answer, ``NoAnswer`` is raised, and
        `describe` shows the model's state.

        Parameters
        ----------
        model : str
            Name of the model.
        lsn : int, optional
            Restore the state after the record with this lsn: that of a checkpoint, or any lsn that a
            checkpoint and the journal after it still reach. By default the newest checkpoint, except those
            that a restore wrote.
        name : str, optional
            Restore the checkpoint of this name. Excludes ``lsn``.
        into : str, optional
            Name of a new model that gets the state; ``model`` does not change. The new model has no
            producers: numbered batches begin again.
        idempotency_key : str, optional
            A name of this request, at most 256 bytes. The change is executed once, however often and from
            whichever process it is sent with this key; a repetition is answered with ``duplicate``. So the
            client repeats it itself after a lost connection.

        Returns
        -------
        dict
            The description of the restored or new model, with ``restored_lsn``, ``lsn`` and ``durable_lsn``.
            Without ``into`` also ``undo_lsn`` and ``undo_name``: the checkpoint of the state before. The
            answer to a repetition has no ``restored_lsn``.

        Raises
        ------
        NoCheckpoint
            If no checkpoint has this name, or if the lsn cannot be reached. ``error.detail["ranges"]`` lists
            the lsns that can be reached, as ``[first, last]``.
        ModelExists
            If there is a model ``into``.
        DiskFull
            If the disk has no space for the checkpoint or the record. Nothing was restored.
        """
        return cast(Restored, self._run(self._session.restore(model, lsn, name, into, idempotency_key)))

    def backup(self, directory: str, timeout: float | None = 3600.0) -> dict[str, Any]:
        """Copy the daemon's data directory while it runs.

        The copy contains at least everything that was acknowledged before. ``streamlearn verify`` and
        ``streamlearn serve`` accept it. The daemon learns and answers meanwhile. This client waits: use
        another one for other calls. The request is not repeated: after ``NoAnswer``, the daemon may still
        write the copy, and the directory exists once it is complete.

        Parameters
        ----------
        directory : str
            Absolute path of the copy on the daemon's host. It must not exist; the directory that contains it
            must.
        timeout : float, default 3600
            Seconds to wait.

        Returns
        -------
        dict
            ``directory``, ``lsn`` (the last record in the copy), ``models``, ``segments``, ``checkpoints``,
            ``damaged`` (checkpoints that could not be read and are not in the copy), ``bytes`` and
            ``seconds``.

        Raises
        ------
        BadValue
            If the path is not absolute, exists, or cannot be written. ``error.detail["problem"]`` says which.
        Forbidden
            If the daemon's setting ``backup.directory`` does not allow the path.
        DiskFull
            If the disk has too little space. Nothing of the copy is left.
        Busy
            If another backup takes longer than the timeout.
        """
        operation = self._session.request("backup", idempotent=False, directory=directory)
        return self._transport.run(operation, timeout)

    def position(self, model: str, producer: str | None = None) -> Position:
        """Return the epoch and the next sequence number of a producer.

        Parameters
        ----------
        model : str
            Name of the model.
        producer : str, optional
            Name of the producer. By default this client.

        Returns
        -------
        Position
            The producer's state; both values are 0 for an unknown producer.
        """
        return self._run(self._session.position(model, producer or self._session.producer))

    def _run(self, operation: Operation[T]) -> T:
        return self._transport.run(operation, self.timeout)
