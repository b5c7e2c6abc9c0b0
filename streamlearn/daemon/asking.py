"""Operations that change nothing: what is there, and what models are asked."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from streamlearn.daemon.desk import Desk, deleted_meanwhile, summary, told
from streamlearn.daemon.queries import Arrays, Query
from streamlearn.daemon.replies import Asker
from streamlearn.errors import TooLarge
from streamlearn.models.base import Model
from streamlearn.shard import Entry
from streamlearn_client.protocol import VERSION, Request


class Asking:
    """Each operation answers between two slices of learning; what may take longer is up to `Queries`."""

    def __init__(self, desk: Desk, version: str, endpoints: dict[str, str]) -> None:
        self._desk = desk
        self._started = time.monotonic()
        self._hello: dict[str, Any] = {
            "server": "streamlearn",
            "version": version,
            "protocol": VERSION,
            "limits": desk.limits.to_map(),
            "endpoints": endpoints,
            "instance": secrets.token_hex(8),
        }
        self.ops: dict[str, Callable[[Asker, Request], None]] = {
            "hello": self._do_hello,
            "models": self._do_models,
            "describe": self._do_describe,
            "predict": self._do_predict,
            "forecast": self._do_forecast,
            "sample": self._do_sample,
            "checkpoints": self._do_checkpoints,
            "stats": self._do_stats,
            "position": self._do_position,
        }

    def _do_hello(self, asker: Asker, request: Request) -> None:
        self._desk.replies.ok(asker, self._hello)

    def _do_models(self, asker: Asker, request: Request) -> None:
        self._desk.replies.ok(
            asker, {"models": [summary(entry) for entry in sorted(self._desk.shard, key=_name)]}
        )

    def _do_describe(self, asker: Asker, request: Request) -> None:
        """Shows everything that was accepted before it."""
        self._desk.writer.commit()
        entry = self._desk.shard.entry(request.model)
        self._desk.when_learned.wait(entry, entry.accepted_lsn, partial(self._describe, asker))

    def _describe(self, asker: Asker, entry: Entry | None) -> None:
        if entry is None:
            self._desk.replies.error(asker, deleted_meanwhile())
            return
        model = entry.model
        self._desk.replies.ok(
            asker,
            {
                **summary(entry),
                "spec": model.spec_dict(),
                "target_dim": model.target_dim,
                "needs_keys": model.needs_keys,
                "accepts_late_targets": model.accepts_late_targets,
                "uses_time": model.uses_time,
                "durable_lsn": self._desk.journal.durable_lsn,
                "state_hash": model.state_hash(),
                "quality": model.quality(),
                "checkpoints": [told(info) for info in self._desk.checkpointer.kept(entry)],
            },
        )

    def _do_predict(self, asker: Asker, request: Request) -> None:
        assert request.x is not None  # the codec has seen to it
        x, keys = request.x, request.keys
        held = x.nbytes + (0 if keys is None else keys.nbytes)
        entry = self._desk.shard.entry(request.model)
        query = Query(asker, len(x), lambda model: model.predict(x, keys).arrays, held)
        self._desk.queries.ask(entry, query)

    def _do_forecast(self, asker: Asker, request: Request) -> None:
        steps, key = request.fields["steps"], request.fields.get("key")

        def forecast(model: Model) -> Arrays:
            return {"forecast": np.ascontiguousarray(model.forecast(steps, key))}

        self._let_go_on(asker, request, "steps", forecast)

    def _do_sample(self, asker: Asker, request: Request) -> None:
        said = {name: value for name, value in request.fields.items() if name != "n"}
        n = request.fields["n"]
        self._let_go_on(asker, request, "n", lambda model: {"sample": model.sample(n, **said)})

    def _let_go_on(self, asker: Asker, request: Request, what: str, say: Callable[[Model], Arrays]) -> None:
        """Let a model go on by itself, for as long as `what` says: no further than samples could be sent."""
        entry = self._desk.shard.entry(request.model)
        count, outputs, rows = request.fields[what], entry.model.outputs, self._desk.limits.rows
        if count * outputs > rows:
            most = rows // outputs
            raise TooLarge(
                f"{what} is {count}, and may be {most} at most with this model: times its {outputs} "
                f"outputs no more than limits.rows ({rows})",
                limit=most,
            )
        # A model that forecasts nothing says so at once, whatever it is asked for.
        self._desk.queries.ask(entry, Query(asker, count if outputs else 0, say))

    def _do_checkpoints(self, asker: Asker, request: Request) -> None:
        kept = self._desk.checkpointer.kept(self._desk.shard.entry(request.model))
        self._desk.replies.ok(asker, {"checkpoints": [told(info) for info in kept]})

    def _do_stats(self, asker: Asker, request: Request) -> None:
        entries = [self._desk.shard.entry(request.model)] if request.model else list(self._desk.shard)
        models = {}
        for entry in entries:
            models[entry.name] = {
                "samples": entry.model.samples,
                "learned": entry.learned,
                "missing_batches": entry.missing,
                "backlog_rows": entry.backlog_rows,
                "microseconds_per_sample": entry.nanoseconds_per_row / 1e3,
                **self._desk.metrics.model(entry.name).to_map(),
            }
        self._desk.replies.ok(
            asker,
            {
                **self._desk.metrics.to_map(),
                "uptime_seconds": time.monotonic() - self._started,
                "events": self._desk.publisher.published,
                "backlog_rows": self._desk.shard.backlog_rows,
                "backlog_bytes": self._desk.shard.backlog_bytes,
                "written_lsn": self._desk.journal.written_lsn,
                "durable_lsn": self._desk.journal.durable_lsn,
                "journal_bytes": self._desk.journal.bytes,
                "journal_segments": self._desk.journal.segments,
                "models": models,
            },
        )

    def _do_position(self, asker: Asker, request: Request) -> None:
        self._desk.writer.commit()
        epoch, next_seq, lsn = self._desk.shard.entry(request.model).ahead.position(
            request.fields["producer"]
        )
        self._desk.replies.ok(asker, {"epoch": epoch, "next_seq": next_seq, "lsn": lsn})


def _name(entry: Entry) -> str:
    return entry.name
