"""Small fake models, and a list as the journal: a shard needs nothing else."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from streamlearn.errors import BadSpec
from streamlearn.models.base import Model, Spec
from streamlearn.models.batch import Batch
from streamlearn.models.outputs import Explanation, ModelOutputs
from streamlearn.shard import Duplicate, Shard
from streamlearn.store.record import Record
from streamlearn_client.protocol import Learn, as_batch, decode_request, encode_request
from tests.shard.interrupts import requested
from tests.shard.ledger import Ledger


class SumSpec(Spec):
    targets: int = 0
    keep: float = 0.5


class RunningSum(Model):
    """s ← keep·s + x, sample by sample: the order of samples matters, and so does every one of them."""

    kind: ClassVar[str] = "sum"
    Spec: ClassVar[type[Spec]] = SumSpec

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        self.state = {"samples": np.zeros(1, np.int64), "sum": np.zeros(self.dim, np.float32)}

    @property
    def target_dim(self) -> int:
        return int(self.spec.targets)

    def _learn(self, batch: Batch) -> ModelOutputs:
        x, y = batch.x, batch.y
        assert x.flags.c_contiguous
        assert x.flags.writeable
        total = self.state["sum"]
        distance = np.empty(len(x), np.float32)
        rows = 0
        for sample in x:
            distance[rows] = total.sum()
            total *= np.float32(self.spec.keep)
            total += np.nan_to_num(sample) + (0 if y is None else y[rows].sum())
            rows += 1
            if requested(self.interrupt):
                break
        self.state["samples"][0] += rows
        return ModelOutputs(distance=distance[:rows])

    def predict_validated(self, batch: Batch) -> ModelOutputs:
        return ModelOutputs(distance=np.abs(batch.x - self.state["sum"]).sum(axis=1))

    def explain_validated(self, batch: Batch) -> Explanation:
        expected = np.broadcast_to(self.state["sum"].astype(np.float32), batch.x.shape)
        deviation = np.abs(batch.x - expected)
        contribution = deviation / deviation.sum(axis=1, keepdims=True)
        return Explanation(
            expected=expected, contribution=contribution, score=np.zeros(batch.rows, np.float32)
        )

    def _quality(self) -> dict[str, Any]:
        return {"sum": float(self.state["sum"].sum())}


class SlowSum(RunningSum):
    """Takes a millisecond per sample until ``let_go`` is set."""

    kind: ClassVar[str] = "slow"
    let_go: ClassVar[threading.Event] = threading.Event()

    def _learn(self, batch: Batch) -> ModelOutputs:
        self.let_go.wait(len(batch.x) / 1000)
        return super()._learn(batch)


class Fakes:
    """A model source with the fake kinds, in place of `streamlearn.models`."""

    kinds: ClassVar[dict[str, type[Model]]] = {"sum": RunningSum, "slow": SlowSum, "ledger": Ledger}

    def create(self, kind: str, spec: Mapping[str, Any], max_row_cost: int | None = None) -> Model:
        if kind not in self.kinds:
            raise BadSpec(f"there is no kind {kind!r}", errors=[])
        return self.kinds[kind](**spec)

    def from_arrays(self, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> Model:
        model = self.kinds[metadata.get("kind", "sum")](**json.loads(metadata["spec"]))
        model.adopt(arrays)
        return model


class Bench:
    """A shard and its journal as a list of records. Requests pass through the codec, as over a socket."""

    def __init__(self, models: Any = None) -> None:
        self.models = models if models is not None else Fakes()
        self.shard = Shard(self.models)
        self.journal: list[Record] = []
        self.accepted: list[Record] = []

    @property
    def next_lsn(self) -> int:
        return len(self.journal) + len(self.accepted) + 1

    def create(self, name: str = "m", kind: str = "sum", **spec: Any) -> None:
        self.change(self.shard.accept_create(name, kind, {"dim": 2} | spec, self.next_lsn, self.next_lsn))

    def change(self, record: Record) -> None:
        self.commit()
        self.journal.append(record)
        self.shard.enqueue(record)

    def accept(self, learn: Learn, *, lossy: bool = False) -> Record | Duplicate:
        """Validate a batch without journalling it."""
        message = decode_request([bytes(frame) for frame in encode_request(learn)])
        assert isinstance(message, Learn)
        made = self.shard.accept_learn(message, self.next_lsn, self.next_lsn, lossy=lossy)
        if isinstance(made, Record):
            self.accepted.append(made)
        return made

    def commit(self) -> None:
        records, self.accepted = self.accepted, []
        self.journal += records
        for record in records:
            self.shard.enqueue(record)

    def refuse(self) -> None:
        """Refuse the accepted batches, as a full disk does."""
        self.accepted.clear()
        self.shard.forget_unqueued()

    def learn(self, x: Any, name: str = "m", **fields: Any) -> Record | Duplicate:
        """Accept and journal a batch. The shard learns it in `step`."""
        keys, ids = fields.pop("keys", None), fields.pop("ids", None)
        made = self.accept(as_batch(name, np.asarray(x, np.float32), None, keys, ids)._replace(**fields))
        self.commit()
        return made

    def targets(self, ids: Any, y: Any, name: str = "m", **fields: Any) -> Record | Duplicate:
        """Accept and journal late targets."""
        keys = fields.pop("keys", None)
        made = self.accept(as_batch(name, None, y, keys, ids)._replace(**fields))
        self.commit()
        return made

    def hash(self, name: str = "m") -> str:
        """The state hash after all accepted records."""
        self.commit()
        self.shard.drain()
        return self.shard.hosted(name).model.state_hash()


def replayed(journal: list[Record], models: Any = None, into: Shard | None = None) -> Shard:
    """A shard after the replay of these records, whose payloads are read-only as in a real journal."""
    shard = Shard(models if models is not None else Fakes()) if into is None else into
    for record in journal:
        shard.enqueue(
            Record(
                **{
                    name: getattr(record, name)
                    for name in Record.__slots__
                    if name not in ("payload", "digest")
                },
                payload=memoryview(bytes(record.payload)),
            )
        )
    shard.drain()
    return shard
