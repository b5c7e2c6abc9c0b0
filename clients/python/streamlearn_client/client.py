"""The blocking client."""

from __future__ import annotations

import os
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from streamlearn_client.firehose import Firehose
from streamlearn_client.keys import client_keys
from streamlearn_client.protocol import (
    AnsweredLevel,
    EventKind,
    IdentifiersLike,
    SamplesLike,
    TimesLike,
    check_model,
)
from streamlearn_client.queries import Queries
from streamlearn_client.results import Ack, BatchNumber
from streamlearn_client.session import Session
from streamlearn_client.stream import Stream
from streamlearn_client.subscription import Subscription, selection
from streamlearn_client.timeouts import check_timeout
from streamlearn_client.transport import Transport

__all__ = ["DEFAULT_ENDPOINT", "Client"]

DEFAULT_ENDPOINT: Final = "tcp://127.0.0.1:7700"


class Client(Queries):
    """A connection to a streamlearn daemon.

    The daemon need not run yet, and may restart. A call waits for the daemon and sends its request again
    after a connection loss. After ``timeout`` seconds it raises ``NoAnswer``. A refusal by the daemon is
    raised as a typed error, see `streamlearn_client.errors`. Threads may share a client; their calls take
    turns.

    Parameters
    ----------
    endpoint : str, default "tcp://127.0.0.1:7700"
        The daemon's requests endpoint: ``tcp://HOST:PORT`` or ``ipc://PATH``.
    events : str, optional
        The daemon's events endpoint. By default the endpoint that the daemon announces.
    timeout : float or None, default 10.0
        Seconds that a call may take. ``None``: no limit.
    producer : str, optional
        The name of this client in the daemon's producer table, 1 to 64 bytes of printable text that does not
        start with ``~``. By default a random name that starts with ``~``. If two clients use one name, the
        daemon refuses the older one's batches (``Fenced``).
    server_key : str or path, optional
        The public key of the daemon, or the path of its ``.pub`` file. By default STREAMLEARN_SERVER_KEY. A
        daemon with keys needs it, and the key of this client.
    key : str, optional
        The secret key of this client. By default STREAMLEARN_KEY.
    key_file : str or path, optional
        The ``.key`` file of this client, instead of ``key``. By default STREAMLEARN_KEY_FILE.

    Raises
    ------
    BadValue
        If ``timeout`` is not a positive number or ``None``, or ``endpoint`` or a key is not valid.
    BadName
        If ``producer`` is not a valid name.

    Examples
    --------
    >>> with Client("tcp://127.0.0.1:7700") as client:  # doctest: +SKIP
    ...     client.create("pump", kind="som", dim=8, grid=[10, 10], scale="standard")
    ...     ack = client.learn("pump", samples)
    ...     out = client.predict("pump", samples[-1:])
    ...     print(ack.lsn, out.winner, out.score)
    """

    def __init__(
        self,
        endpoint: str = DEFAULT_ENDPOINT,
        events: str | None = None,
        timeout: float | None = 10.0,
        producer: str | None = None,
        *,
        server_key: str | os.PathLike[str] | None = None,
        key: str | None = None,
        key_file: str | os.PathLike[str] | None = None,
    ) -> None:
        check_timeout(timeout)
        self.endpoint = endpoint
        self.timeout = timeout
        self._events = events
        self._session = Session(producer, endpoint)
        self._keys = client_keys(server_key, key, key_file)
        self._transport = Transport(endpoint, self._keys)

    # ----------------------------------------------------------------------------------- learn and predict

    def learn(
        self,
        model: str,
        x: SamplesLike,
        y: SamplesLike | None = None,
        *,
        keys: IdentifiersLike | None = None,
        ids: IdentifiersLike | None = None,
        times: TimesLike | None = None,
        ack: AnsweredLevel = "durable",
        idempotency_key: str | None = None,
        part: int = 0,
        number: BatchNumber | None = None,
    ) -> Ack:
        """Send samples to a model and wait for the acknowledgement. The model learns them in order.

        Each batch is numbered: the model learns it once, even if the client sends it twice. Samples that
        exceed the size of one message are sent in parts. `stream` is faster for many batches.

        Parameters
        ----------
        model : str
            Name of the model.
        x : array_like, (n, dim) or (dim,), data frame, Arrow table, or dict of columns
            The samples, converted to float32. NaN and ``None`` are missing values. Names of columns must be
            the model's ``channels``, in their order.
        y : array_like, (n, targets) or (n,), optional
            The targets of the samples. Names of labels, for models with ``labels``.
        keys : int, str or array_like, (n,), optional
            The keys of the samples, or one key for all, for models that need keys.
        ids : int, str or array_like, (n,), optional
            The ids of the samples, for targets that come later.
        times : array_like, (n,), or str, optional
            The times of the samples, or one for all: ``datetime64``, datetimes with a time zone, nanoseconds
            (int) or seconds (float) since 1970. Text is the name of their column in a data frame, table or
            dict. By default an index of dates, else the time of arrival at the daemon.
        ack : {"received", "written", "durable"}, default "durable"
            When the daemon acknowledges: in memory, in the journal (survives ``kill -9``), or synced to disk
            (survives a power cut).
        idempotency_key : str, optional
            Text that names this batch, for a sender that may repeat the call, also from another process. The
            model learns the batch once. The daemon remembers the last 4096 keys of a model; its ack of a
            repeated batch has ``duplicate``.
        part : int, default 0
            The number of this batch among those of ``idempotency_key``: 0, 1, 2, … A sender that repeats them
            all, in the same batches, has each learned once.
        number : BatchNumber, optional
            The number of this batch, for a sender that numbers its batches itself and keeps its position with
            its source; `position` returns the next one. A batch with a known number is not learned again.

        Returns
        -------
        Ack
            The acknowledgement of the last part, with ``rows`` of the whole batch.

        Raises
        ------
        BadShape, BadDtype, BadValue
            If the model does not accept the arrays.
        UnknownModel
            If no model has this name.
        Conflict
            If another batch was sent with this ``idempotency_key`` or ``number``.
        Gap, Fenced, UnknownProducer
            If ``number`` is neither known nor the next one.
        NoAnswer
            If no answer arrived in time. The outcome is unknown; ``error.detail`` has the batch's number.
        """
        return self._run(
            self._session.learn(model, x, y, keys, ids, ack, times, idempotency_key, part, number)
        )

    def learn_targets(
        self,
        model: str,
        ids: IdentifiersLike,
        y: SamplesLike,
        *,
        keys: IdentifiersLike | None = None,
        ack: AnsweredLevel = "durable",
        number: BatchNumber | None = None,
    ) -> Ack:
        """Send targets of earlier samples to a model and wait for the acknowledgement.

        An id without a waiting sample is not an error. ``matched`` and ``unmatched`` of the acknowledgement
        count both cases. The ``targets`` event shows the result for each target.

        Parameters
        ----------
        model : str
            Name of the model.
        ids : int, str or array_like, (n,)
            The ids of the samples. A sample without an id has its number as its id, counted from 0.
        y : array_like, (n, targets) or (n,)
            The targets; for a single id also (targets,).
        keys : int, str or array_like, (n,), optional
            The keys of the samples, or one key for all, for models that need keys.
        ack : {"received", "written", "durable"}, default "durable"
            When the daemon acknowledges, see `learn`.
        number : BatchNumber, optional
            The number of this batch, see `learn`.

        Returns
        -------
        Ack
            The acknowledgement.

        Raises
        ------
        BadShape, BadDtype, BadValue
            If the model does not accept the arrays.
        UnknownModel
            If no model has this name.
        NoAnswer
            If no answer arrived in time. The outcome is unknown.
        """
        return self._run(self._session.learn(model, None, y, keys, ids, ack, number=number))

    # ----------------------------------------------------------------------------- streams and subscriptions

    def stream(
        self,
        model: str,
        *,
        batch: int = 256,
        interval: float | None = 0.05,
        window: int = 64,
        ack: AnsweredLevel = "durable",
        producer: str | None = None,
        timeout: float | None = 60.0,
    ) -> Stream:
        """Open a buffered stream of samples to a model. Each sample is learned exactly once.

        Parameters
        ----------
        model : str
            Name of the model.
        batch : int, default 256
            Largest number of samples in a batch.
        interval : float or None, default 0.05
            Seconds after which an incomplete batch is sent. 0: at once; samples that are pushed meanwhile
            form the next batch. ``None``: only `Stream.flush` sends it.
        window : int, default 64
            Largest number of unacknowledged batches. Range: 1 to 1024, or what ``hello`` announces.
        ack : {"received", "written", "durable"}, default "durable"
            When the daemon acknowledges, see `learn`.
        producer : str, optional
            Name of the stream in the daemon's producer table. Random by default.
        timeout : float or None, default 60.0
            Seconds that `Stream.push`, `Stream.flush` and `Stream.close` may wait. ``None``: no limit.

        Returns
        -------
        Stream
            The stream. Of an `AsyncClient`: an `AsyncStream`, to be entered with ``async with``.

        Raises
        ------
        BadValue
            If a setting is out of range.
        UnknownModel
            If no model has this name.
        """
        self._transport.check_open()
        config = self._run(self._session.stream_config(model, producer, batch, window, ack))
        return Stream(
            config,
            self.endpoint,
            batch=batch,
            interval=interval,
            window=window,
            timeout=timeout,
            connection_keys=self._keys,
        )

    def firehose(self, model: str, *, endpoint: str | None = None, producer: str | None = None) -> Firehose:
        """Open a sender without acknowledgements.

        Parameters
        ----------
        model : str
            Name of the model.
        endpoint : str, optional
            The daemon's firehose endpoint. By default the endpoint that the daemon announces.
        producer : str, optional
            Name of the sender in the daemon's producer table. Random by default.

        Returns
        -------
        Firehose
            The sender. Of an `AsyncClient`: an `AsyncFirehose`, to be entered with ``async with``.
        """
        check_model(model)
        if endpoint is not None:
            return Firehose(model, endpoint, producer, self.timeout, connection_keys=self._keys)
        announced = self._run(self._session.endpoint("firehose"))
        limits = self._run(self._session.limits())
        return Firehose(
            model,
            announced,
            producer,
            self.timeout,
            self.endpoint,
            self._keys,
            limits.firehose_frame_bytes,
        )

    def subscribe(
        self,
        model: str | None = None,
        *kinds: EventKind,
        kind: EventKind | Sequence[EventKind] | None = None,
        models: Sequence[str] | None = None,
        timeout: float | None = None,
    ) -> Subscription:
        """Subscribe to events, for example to all alarms of all models: ``subscribe(kind="alarm")``.

        Parameters
        ----------
        model : str, optional
            Name of the model. By default all models.
        *kinds : str
            Kinds of events: ``output``, ``targets``, ``drift``, ``alarm``, ``checkpoint``, ``created``,
            ``deleted``, ``restored``, ``reheated``, ``paused``, ``resumed``, ``judged`` or ``labelled``. All
            kinds by default.
        kind : str or sequence of str, optional
            One more kind, or several.
        models : sequence of str, optional
            Names of models, instead of ``model`` or in addition to it.
        timeout : float or None, optional
            Seconds without an event after which iteration ends. By default, ``None``, it never ends.

        Returns
        -------
        Subscription
            An iterator of `Event`. Of an `AsyncClient`: an `AsyncSubscription`, to be entered with
            ``async with``.

        Raises
        ------
        BadValue
            If a kind does not exist, or ``models`` is empty.
        TooLarge
            If this is more than ``limits.subscriptions`` of the daemon: one for each kind of each model.
        NoAnswer
            If the events endpoint does not confirm the subscription within the client's timeout.
        """
        selected = selection(model, kinds, kind, models)
        check_timeout(timeout, zero=True)
        connect_timeout = check_timeout(self.timeout)
        self._transport.check_open()
        if self._events is not None:
            return Subscription(self._events, selected, timeout, connect_timeout, connection_keys=self._keys)
        announced = self._run(self._session.endpoint("events"))
        return Subscription(announced, selected, timeout, connect_timeout, self.endpoint, self._keys)

    # --------------------------------------------------------------------------------------------- closing

    def close(self) -> None:
        """Close the connection of this client.

        Streams, subscriptions and firehoses have their own connections and stay open.
        """
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
