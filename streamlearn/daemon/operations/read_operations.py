"""Operations that do not change models: descriptions, queries, statistics (docs/protocol.md)."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from streamlearn.daemon.context import Context
from streamlearn.daemon.durability.checkpointer import Checkpointer
from streamlearn.daemon.durability.group_commit import GroupCommit
from streamlearn.daemon.network.replies import (
    ReplyAddress,
    checkpoint_fields,
    deleted_while_waiting,
    model_fields,
    quarantine_fields,
)
from streamlearn.daemon.operations.queries import Arrays, Queries, Query
from streamlearn.errors import TooLarge
from streamlearn.shard import HostedModel
from streamlearn_client.protocol import VERSION, Request, check_channels

if TYPE_CHECKING:
    from streamlearn.models.base import Model

READ_ADVICE = "read fewer parts at a time, or use export, which sends the model in parts"
PAGE = 500  # models in one answer to `models` or `stats`
FORECAST_VALUE_BYTES = 8  # a forecast is computed in float64


class ReadOperations:
    """Handlers by the name of the operation. Each runs between two slices of learning."""

    def __init__(
        self, context: Context, group_commit: GroupCommit, checkpointer: Checkpointer, queries: Queries
    ) -> None:
        self._context = context
        self._group_commit = group_commit
        self._checkpointer = checkpointer
        self._queries = queries
        self._started = context.runtime.steady()
        self._hello: dict[str, Any] = {
            "server": "streamlearn",
            "version": context.version,
            "protocol": VERSION,
            "limits": context.limits.to_map(),
            "endpoints": context.sockets.endpoints(),
            "instance": secrets.token_hex(8),
        }
        self.handlers: dict[str, Callable[[ReplyAddress, Request], None]] = {
            "hello": self._do_hello,
            "models": self._do_models,
            "describe": self._do_describe,
            "predict": self._do_predict,
            "explain": self._do_explain,
            "forecast": self._do_forecast,
            "sample": self._do_sample,
            "read": self._do_read,
            "checkpoints": self._do_checkpoints,
            "stats": self._do_stats,
            "position": self._do_position,
        }

    def _do_hello(self, reply_to: ReplyAddress, request: Request) -> None:
        accepted = request.fields.get("cumulative_acks", False)
        self._context.replies.accept_cumulative(reply_to, accepted)
        self._context.replies.ok(reply_to, self._hello | {"cumulative_acks": accepted})

    def _do_models(self, reply_to: ReplyAddress, request: Request) -> None:
        models, more = self._page(reply_to.identity.sees, request.fields.get("after", ""))
        silences = self._context.silences
        listed = [model_fields(hosted) | {"silent": silences.count(hosted.name)} for hosted in models]
        fields = {"models": listed, "more": more}
        self._context.replies.ok(reply_to, fields)

    def _page(self, visible: Callable[[str], bool], after: str) -> tuple[list[HostedModel], bool]:
        """Return the first models by name after a name, and whether there are more.

        An answer for thousands of models would delay all other clients.
        """
        names = sorted(each.name for each in self._context.shard if each.name > after and visible(each.name))
        models = [self._context.shard.find(name) for name in names[:PAGE]]
        return models, len(names) > PAGE

    def _do_describe(self, reply_to: ReplyAddress, request: Request) -> None:
        """The description includes every batch that was accepted before this request."""
        self._group_commit.commit()
        hosted = self._context.shard.hosted(request.model)
        self._context.watermarks.when_applied(
            hosted, hosted.accepted_lsn, partial(self._describe, reply_to), between_records=True
        )

    def _describe(self, reply_to: ReplyAddress, hosted: HostedModel | None) -> None:
        if hosted is None:
            self._context.replies.error(reply_to, deleted_while_waiting())
            return
        model = hosted.model
        self._context.replies.ok(
            reply_to,
            {
                **model_fields(hosted),
                "silent": self._context.silences.count(hosted.name),
                "spec": model.spec_dict(),
                "target_dim": model.target_dim,
                "needs_keys": model.needs_keys,
                "accepts_late_targets": model.accepts_late_targets,
                "uses_time": model.uses_time,
                "durable_lsn": self._context.journal.durable_lsn,
                "state_hash": model.state_hash(),
                "quality": model.quality(),
                "label_names": model.label_names,
                "checkpoints": self._checkpoints(hosted),
            },
        )

    def _do_predict(self, reply_to: ReplyAddress, request: Request) -> None:
        assert request.x is not None  # the codec guarantees it
        hosted, x, keys = self._context.shard.hosted(request.model), request.x, request.keys
        times = self._times_of(request)
        self._query_samples(
            reply_to,
            request,
            hosted,
            hosted.model.outputs_class,
            lambda model: model.predict(x, keys, times=times).arrays,
        )

    def _do_explain(self, reply_to: ReplyAddress, request: Request) -> None:
        assert request.x is not None  # the codec guarantees it
        hosted, x, y, keys = self._context.shard.hosted(request.model), request.x, request.y, request.keys
        times = self._times_of(request)
        self._query_samples(
            reply_to,
            request,
            hosted,
            hosted.model.explanation_class,
            lambda model: model.explain(x, y, keys, times=times).arrays,
        )

    def _times_of(self, request: Request) -> Any:
        """The times of the samples of a query; now by default."""
        return self._context.runtime.wall_ns() if request.times is None else request.times

    def _query_samples(
        self,
        reply_to: ReplyAddress,
        request: Request,
        hosted: HostedModel,
        outputs_class: Any,
        evaluate: Callable[[Model], Arrays],
    ) -> None:
        """Run a query that answers with one row of outputs per sample."""
        from streamlearn.models.outputs import row_bytes  # a daemon without models does not need it

        check_channels(request.channels, hosted.model.spec.channels, "the columns of x")
        given = (request.x, request.y, request.keys, request.times)
        query_bytes = sum(array.nbytes for array in given if array is not None)
        rows = 0 if request.x is None else len(request.x)
        self._queries.run(
            hosted,
            Query(reply_to, rows, evaluate, query_bytes, rows * row_bytes(hosted.model, outputs_class)),
        )

    def _do_forecast(self, reply_to: ReplyAddress, request: Request) -> None:
        steps, key, times = request.fields["steps"], request.fields.get("key"), request.times

        def forecast(model: Model) -> tuple[Arrays, dict[str, Any]]:
            found = model.forecast_in_full(steps, key, times=times)
            arrays = {name: np.ascontiguousarray(array) for name, array in found.arrays.items()}
            return arrays, {"mix_of": list(found.mix_of)} if found.mix_of else {}

        self._generate(reply_to, request, "steps", forecast)

    def _do_sample(self, reply_to: ReplyAddress, request: Request) -> None:
        options = {name: value for name, value in request.fields.items() if name != "n"}
        n = request.fields["n"]
        self._generate(reply_to, request, "n", lambda model: {"sample": model.sample(n, **options)})

    def _generate(
        self,
        reply_to: ReplyAddress,
        request: Request,
        field: str,
        evaluate: Callable[[Model], Arrays | tuple[Arrays, dict[str, Any]]],
    ) -> None:
        """Run a query that generates as many steps as the request's `field` names. Raises `TooLarge`."""
        hosted = self._context.shard.hosted(request.model)
        count, outputs, rows = request.fields[field], hosted.model.outputs, self._context.limits.rows
        if count * outputs > rows:
            limit = rows // outputs
            raise TooLarge(
                f"{field} is {count}, and may be {limit} at most with this model: {field} times its "
                f"{outputs} outputs may be limits.rows ({rows}) at most",
                limit="limits.rows",
                most=limit,
            )
        if not outputs:  # such a model refuses at once, for any count
            count = 0
        mixed = 3 + len(hosted.model.mix_of)  # values of a step and a channel in the answer: bands, weights
        output_bytes = count * (outputs * FORECAST_VALUE_BYTES + mixed * hosted.model.dim * 4)
        self._queries.run(hosted, Query(reply_to, count, evaluate, output_bytes=output_bytes))

    def _do_read(self, reply_to: ReplyAddress, request: Request) -> None:
        hosted, what = self._context.shard.hosted(request.model), request.fields["what"]
        parts = hosted.model.parts(what)
        sizes = {name: size for part in parts for name, size in part.sizes.items()}
        most = self._context.limits.frame_bytes
        for name, size in sizes.items():
            if size > most:
                raise TooLarge(
                    f"{name} has {size} bytes, and a frame may have {most}; export sends the whole model in "
                    "parts of any size",
                    limit="limits.frame_bytes",
                    bytes=size,
                    most=most,
                )

        def evaluate(model: Model) -> tuple[Arrays, dict[str, Any]]:
            arrays, facts = model.read_parts(what)
            return arrays, {"model": hosted.name, "kind": model.kind, **facts}

        values = 1 + sum(part.work for part in parts)
        size = sum(sizes.values())
        self._queries.run(
            hosted, Query(reply_to, 0, evaluate, output_bytes=size, values=values, advice=READ_ADVICE)
        )

    def _do_checkpoints(self, reply_to: ReplyAddress, request: Request) -> None:
        hosted = self._context.shard.hosted(request.model)
        self._context.replies.ok(reply_to, {"checkpoints": self._checkpoints(hosted)})

    def _checkpoints(self, hosted: HostedModel) -> list[dict[str, Any]]:
        now = self._context.runtime.wall_ns()
        return [checkpoint_fields(info, now) for info in self._checkpointer.checkpoints_of(hosted)]

    def _do_stats(self, reply_to: ReplyAddress, request: Request) -> None:
        context = self._context
        more = False
        if request.model:
            hosted_models = [context.shard.find(request.model)]
        else:
            allows = partial(reply_to.identity.allows, "query")
            hosted_models, more = self._page(allows, request.fields.get("after", ""))
        models = {}
        for hosted in hosted_models:
            models[hosted.name] = {
                "samples": hosted.model.samples,
                "quarantined": quarantine_fields(hosted),
                "learned": hosted.learned,
                "missing_batches": hosted.missing_batches,
                "matched_targets": hosted.matched_targets,
                "unmatched_targets": hosted.unmatched_targets,
                "backlog_rows": hosted.backlog_rows,
                "silent": context.silences.count(hosted.name),
                "microseconds_per_sample": hosted.nanoseconds_per_row / 1e3,
                **context.metrics.model(hosted.name).to_map(),
            }
        context.replies.ok(
            reply_to,
            {
                **context.metrics.to_map(),
                "refused": context.sockets.access.refusals.to_map(),
                "uptime_seconds": context.runtime.steady() - self._started,
                "events": context.publisher.published,
                "memory": context.budget.to_map(),
                "subscriptions": context.publisher.subscriptions.to_map(),
                "backlog_rows": context.shard.backlog_rows,
                "backlog_bytes": context.shard.backlog_bytes,
                "written_lsn": context.journal.written_lsn,
                "durable_lsn": context.journal.durable_lsn,
                "journal_bytes": context.journal.bytes,
                "journal_segments": context.journal.segments,
                "models": models,
                "more": more,
            },
        )

    def _do_position(self, reply_to: ReplyAddress, request: Request) -> None:
        self._group_commit.commit()
        producers = self._context.shard.hosted(request.model).accepted_producers
        epoch, next_seq, lsn = producers.position(request.fields["producer"])
        self._context.replies.ok(reply_to, {"epoch": epoch, "next_seq": next_seq, "lsn": lsn})
