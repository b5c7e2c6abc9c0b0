"""Extreme numbers in every parameter of every kind: `BadSpec`, or a model that learns and is recovered.

The cases come from the specs' fields, so they cover new kinds and parameters.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from streamlearn import models
from streamlearn.errors import BadSpec
from streamlearn.models import Model
from streamlearn.shard import Shard, Snapshot
from streamlearn.store import tensors
from streamlearn.store.record import Record
from streamlearn_client.protocol import as_batch
from tests.conformance.examples import EXAMPLES, Spec, not_finite, stream
from tests.extremes import INTEGERS, OTHERS, with_extremes

EXTREMES = (*INTEGERS, *OTHERS)
NUMERIC = ("int", "float", "Decay")  # in the annotation of a field


def numeric_parameters(model: Model) -> dict[str, Any]:
    """The parameters that hold numbers, with their values in this model."""
    fields = type(model.spec).model_fields
    return {
        name: value
        for name, value in model.spec_dict().items()
        if any(word in str(fields[name].annotation) for word in NUMERIC)
    }


def bases(kind: str) -> list[Spec]:
    example = EXAMPLES[kind]
    return [example.usual, *({**example.usual, **variant} for variant in example.variants)]


def cases(kind: str) -> Iterator[Spec]:
    """Each parameter with each extreme, in one base for each form of its value."""
    seen = set()
    for base in bases(kind):
        for name, value in numeric_parameters(models.create(kind, base)).items():
            form = name, name in base, type(value), len(value) if isinstance(value, (list, dict)) else 0
            if form not in seen:
                seen.add(form)
                yield from ({**base, name: changed} for changed in with_extremes(value, EXTREMES))


def combinations(kind: str, count: int, chance: random.Random) -> Iterator[Spec]:
    """Two or three parameters with extremes at once."""
    known = [(base, numeric_parameters(models.create(kind, base))) for base in bases(kind)]
    for _ in range(count):
        base, parameters = chance.choice(known)
        names = chance.sample(sorted(parameters), chance.choice([2, 3]))
        yield base | {name: chance.choice(list(with_extremes(parameters[name], EXTREMES))) for name in names}


def learn(shard: Shard, journal: list[Record], seed: int) -> None:
    model = shard.hosted("m").model
    batch = stream(model, 6, seed)
    given = as_batch("m", batch["X"], batch.get("y"), batch.get("keys"), batch.get("ids"))
    record = shard.accept_learn(given, len(journal) + 1, 10**9 * len(journal))
    assert isinstance(record, Record)
    journal.append(record)
    shard.enqueue(record)
    shard.drain()


def check(kind: str, spec: Spec) -> bool:
    """Create the model, let it learn, recover it in two ways. Return whether the spec was accepted."""
    shard = Shard(models)
    try:
        journal = [shard.accept_create("m", kind, spec, 1, 0)]
    except BadSpec as error:
        if not error.detail["errors"]:
            raise
        return False
    shard.enqueue(journal[0])
    learn(shard, journal, 1)
    snapshot = shard.hosted("m").snapshot()
    learn(shard, journal, 2)
    model = shard.hosted("m").model
    assert not not_finite(model)
    from_checkpoint, from_journal = Shard(models), Shard(models)
    arrays, metadata = tensors.decode(tensors.encode(snapshot.arrays, snapshot.metadata))
    from_checkpoint.install(Snapshot("m", 1, snapshot.lsn, arrays, metadata))
    for again in (from_checkpoint, from_journal):
        for record in journal:
            again.enqueue(record)
        again.drain()
        assert again.hosted("m").model.state_hash() == model.state_hash()
    return True


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", sorted(models.kinds()))
def test_whatever_the_numbers_a_spec_is_refused_or_makes_a_sound_model(kind: str, extremes: int) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    accepted = 0
    for spec in [*cases(kind), *combinations(kind, extremes, random.Random(seed))]:
        try:
            accepted += check(kind, spec)
        except Exception as error:
            raise AssertionError(f"{kind} {spec}") from error
    assert accepted
