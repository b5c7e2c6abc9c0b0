"""Operations that change nothing: what is there, and what models say."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamlearn.daemon.desk import Desk, deleted_meanwhile, summary, told
from streamlearn.daemon.replies import Asker
from streamlearn.errors import TooLarge
from streamlearn.models.base import Model
from streamlearn.shard import Entry
from streamlearn_client.protocol import VERSION, Request


class Asking:
    """Each operation answers between two slices of learning, from the live models."""

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
        self._desk.publisher.update()  # whoever subscribed before asking is heard before the answer
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
                "keyed": model.keyed,
                "late": model.late,
                "timed": model.timed,
                "durable_lsn": self._desk.journal.durable_lsn,
                "state_hash": model.state_hash(),
                "quality": model.quality(),
                "checkpoints": [told(info) for info in self._desk.checkpointer.kept(entry)],
            },
        )

    def _do_predict(self, asker: Asker, request: Request) -> None:
        assert request.x is not None  # the codec has seen to it
        x, keys = request.x, request.keys
        self._say(asker, request, lambda model: model.predict(x, keys).arrays)

    def _do_forecast(self, asker: Asker, request: Request) -> None:
        steps, key = request.fields["steps"], request.fields.get("key")

        def forecast(model: Model) -> dict[str, NDArray[Any]]:
            self._check_length("steps", steps, model)
            return {"forecast": np.ascontiguousarray(model.forecast(steps, key))}

        self._say(asker, request, forecast)

    def _do_sample(self, asker: Asker, request: Request) -> None:
        said = {name: value for name, value in request.fields.items() if name != "n"}
        n = request.fields["n"]

        def sample(model: Model) -> dict[str, NDArray[Any]]:
            self._check_length("n", n, model)
            return {"sample": model.sample(n, **said)}

        self._say(asker, request, sample)

    def _say(
        self, asker: Asker, request: Request, what: Callable[[Model], Mapping[str, NDArray[Any]]]
    ) -> None:
        """Answer with what a model says as it stands."""
        began = time.perf_counter_ns()
        entry = self._desk.shard.entry(request.model)
        arrays = what(entry.model)
        ok = {"applied_lsn": entry.applied_lsn, "samples": entry.model.samples}
        self._desk.replies.ok(asker, ok, arrays)
        self._desk.metrics.model(entry.name).queries += 1
        self._desk.metrics.query_seconds.add(time.perf_counter_ns() - began)

    def _check_length(self, what: str, count: int, model: Model) -> None:
        """Nothing else is served while a model goes on by itself."""
        rows = self._desk.limits.rows
        if count * model.outputs > rows:
            most = rows // model.outputs
            raise TooLarge(
                f"{what} is {count}, and may be {most} at most with this model: times its {model.outputs} "
                f"outputs no more than limits.rows ({rows})",
                limit=most,
            )

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
