"""The asyncio client's operations that create, export and clone models."""

from __future__ import annotations

import os
from typing import Any, cast

from streamlearn_client.aio_administration import AsyncAdministration
from streamlearn_client.descriptions import ExportedFile, ModelChange
from streamlearn_client.files import ExportFile, Parameters, parameters_source, state_source
from streamlearn_client.protocol import SamplesLike

__all__ = ["AsyncTransfers"]


class AsyncTransfers(AsyncAdministration):
    """Models from parameters, files, networks and other models. Base class of `AsyncClient`."""

    async def create(
        self,
        name: str,
        kind: str | None = None,
        *,
        from_file: str | os.PathLike[str] | None = None,
        parameters: Parameters | None = None,
        **spec: Any,
    ) -> ModelChange:
        """Create a model: from parameters, from the file of a model, or from the parameters of a network.

        Parameters
        ----------
        name : str
            Name of the model: 1 to 64 letters, digits, ``_``, ``.`` or ``-``.
        kind : str, optional
            Kind of the model, for example ``"som"`` or ``"rnn"``. Only a file of a model needs no kind.
        from_file : str or path, optional
            A file of `export`, of ``save``, or of a daemon's checkpoint. The new model has the spec and the
            state in it, bit for bit. It has no producers: numbered batches begin again.
        parameters : str or path, or Mapping of str to array_like, optional
            The start of a network (``rnn``, ``birnn``): the ``state_dict`` of a PyTorch ``nn.RNN``,
            ``nn.GRU`` or ``nn.LSTM``, alone or with one linear read-out. A ``.safetensors`` file, or arrays
            by name, which need the library safetensors. Size, cell and biases come from it.
        **spec
            Parameters of the model, as for `streamlearn.SOM` and the other models. Tuples, NumPy arrays and
            ``Decay`` schedules are accepted.

        Returns
        -------
        dict
            The model's description, with its full ``spec``, ``lsn`` and ``durable_lsn``.

        Raises
        ------
        BadSpec
            If parameters are wrong. ``error.detail["errors"]`` lists all of them.
        BadCheckpoint
            If the file is damaged, or is not a model of this version.
        BadShape, BadDtype, BadValue
            If the parameters do not fit the network.
        ModelExists
            If a model of this name exists.
        TooLarge
            If the model or the parameters exceed a limit of the daemon.
        """
        source = None if from_file is None else state_source(from_file)
        if parameters is not None:
            if source is not None:
                raise TypeError("create takes from_file or parameters, not both")
            source = parameters_source(parameters)
        return cast(ModelChange, await self._run(self._session.create(name, kind, spec, source)))

    async def export(self, model: str, file: str | os.PathLike[str]) -> ExportedFile:
        """Write a model to a file while it learns.

        The file has the spec and the state after everything sent before, and no producers. `create` with
        ``from_file`` makes a model of it, and ``streamlearn.load`` too. It arrives in parts; its digest is
        checked, and the file appears when it is complete. Each part has the client's timeout.

        Parameters
        ----------
        model : str
            Name of the model.
        file : str or path
            The file. An existing one is replaced.

        Returns
        -------
        dict
            ``model``, ``kind``, ``lsn`` and ``samples`` of the state, ``bytes`` and ``sha256`` of the file.

        Raises
        ------
        UnknownModel
            If no model has this name.
        Busy
            If the daemon has no memory for it now.
        OSError
            If the file cannot be written.
        """
        with ExportFile(file) as written:
            facts = await self._run(self._session.export(model, written))
            written.commit()
        return cast(ExportedFile, facts)

    async def clone(self, model: str, new: str) -> ModelChange:
        """Create a second model with the spec and the state of a model, which learns on.

        The state is that after everything sent before. From then on the two models are independent. The new
        model has no producers: numbered batches begin again. The request is not repeated: if the connection
        is lost before the answer, ``NoAnswer`` is raised, and `models` shows whether it happened.

        Parameters
        ----------
        model : str
            Name of the model.
        new : str
            Name of the new model.

        Returns
        -------
        dict
            The description of the new model, with ``cloned_lsn``: the last record of ``model`` in its state;
            and ``lsn`` and ``durable_lsn`` of the record that created it.

        Raises
        ------
        ModelExists
            If there is a model ``new``.
        TooLarge, Busy
            If the daemon has no memory for it.
        """
        return cast(ModelChange, await self._run(self._session.clone(model, new)))

    async def label(
        self,
        model: str,
        label: str | None,
        *,
        unit: int | None = None,
        sample: int | str | None = None,
        x: SamplesLike | None = None,
        idempotency_key: str | None = None,
    ) -> ModelChange:
        """Give a label to a unit, or to one sample.

        The daemon applies it after everything sent before. A `restore` undoes it. Without an
        ``idempotency_key``, the request is not repeated: if the connection is lost before the answer,
        ``NoAnswer`` is raised, and the ``labelled`` event shows whether it happened.

        Parameters
        ----------
        model : str
            Name of the model: a som, a competitive or a gng.
        label : str or None
            The name, at most 32 bytes; or the number of a class as text. A new name takes the first class
            without a name that was never used. None: take the label of the unit away.
        unit : int, optional
            Number of the unit, row by row on a grid. It keeps the label until it gets another one.
        sample : int or str, optional
            Id of one of the last ``delay`` samples, if it has no label yet; its number if it has no id. The
            label counts for its winner, like one that came with the sample. Without ``labels`` in the spec:
            the number of the first sample or of the peak of one of the last eight alarms; its winner gets the
            label.
        x : array_like of shape (dim,), optional
            The values of a sample, instead of its id.
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
            If the model has no labels, an argument is invalid, or all classes have other names.
        """
        return cast(
            ModelChange, await self._run(self._session.label(model, label, unit, sample, x, idempotency_key))
        )
