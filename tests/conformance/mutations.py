"""Mutated model files, and a program that loads them: ``python -m tests.conformance.mutations FIRST STOP``.

Each number from FIRST to STOP is the seed of one file: a file that ``save`` wrote, changed at random. In half
of the files the digest is computed again, so that the checks behind it are tested too. The program prints
``seed N`` before each file, ``loaded N`` if the file was accepted, and ``done`` at the end. A line
``fault N …`` reports a wrong result.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

import streamlearn as sl
from streamlearn import kernels, models
from streamlearn.errors import BadCheckpoint, StreamlearnError
from streamlearn.models import Model
from streamlearn.shard import Shard, Snapshot
from streamlearn.shard.producers import ProducerState
from streamlearn.store import tensors
from tests.conformance.examples import SPECS, make, predict_arguments, stream

EXTREMES = [
    0,
    1,
    -1,
    2,
    7,
    16,
    17,
    255,
    1 << 20,
    1 << 31,
    1 << 32,
    1 << 53,
    1 << 62,
    (1 << 63) - 1,
    -(1 << 63),
]
NUMBERS = [0.0, -0.0, 1.0, -1.0, 0.5, 17.0, 1e9, 1e38, -1e38, 1e300, np.inf, -np.inf, np.nan]
NAMES = sorted(SPECS)
DIGEST = re.compile(rb'("digest":")([0-9a-f]{32})(")')

Random = np.random.Generator


def saved(model: Model) -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "model"
        model.save(path)
        return path.read_bytes()


@cache
def original(name: str, rows: int) -> bytes:
    """Return the file of a model that has learned ``rows`` samples."""
    model = make(name)
    model.learn(**stream(model, rows))
    return saved(model)


@cache
def checkpoint(name: str, rows: int) -> bytes:
    """Return the file that a daemon writes of this model: with the table of producers."""
    arrays, metadata = tensors.decode(original(name, rows))
    producers = ProducerState()
    for number in range(6):
        producers.advance(f"p{number % 3}", 1, number // 3, 10 + number, [7 * number])
    return tensors.encode(arrays | producers.to_arrays(), metadata)


def with_digest(data: bytes) -> bytes:
    """Return ``data`` with the digest of its content, if it has the text of one."""
    blank = DIGEST.sub(rb"\g<1>" + b"0" * 32 + rb"\g<3>", data, count=1)
    return DIGEST.sub(rb"\g<1>" + xxhash.xxh3_128_hexdigest(blank).encode() + rb"\g<3>", blank, count=1)


def split(data: bytes) -> tuple[dict[str, Any], bytes]:
    end = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:end]), data[end:]


def joined(header: Any, content: bytes) -> bytes:
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    return len(text).to_bytes(8, "little") + text + content


# -- mutations ----------------------------------------------------------------------------------------------


def flip_bits(data: bytes, random: Random) -> bytes:
    changed = bytearray(data)
    for position in random.integers(0, len(data), random.integers(1, 9)):
        changed[position] ^= 1 << int(random.integers(8))
    return bytes(changed)


def flip_bits_of_arrays(data: bytes, random: Random) -> bytes:
    header, content = split(data)
    return joined(header, flip_bits(content, random))


def overwrite(data: bytes, random: Random) -> bytes:
    start, length = int(random.integers(len(data))), int(random.integers(1, 64))
    return data[:start] + random.bytes(length) + data[start + length :]


def cut(data: bytes, random: Random) -> bytes:
    return data[: int(random.integers(len(data)))]


def extend(data: bytes, random: Random) -> bytes:
    return data + random.bytes(int(random.integers(1, 64)))


def insert(data: bytes, random: Random) -> bytes:
    start = int(random.integers(len(data)))
    return data[:start] + random.bytes(int(random.integers(1, 16))) + data[start:]


def change_values(data: bytes, random: Random) -> bytes:
    """Set values of some arrays, or all of them, to extremes, to neighbours or to other values."""
    arrays, metadata = tensors.decode(data)
    integers = [name for name in sorted(arrays) if arrays[name].dtype.kind in "iu" and arrays[name].size]
    others = [name for name in sorted(arrays) if arrays[name].size]
    for _ in range(int(random.integers(1, 4))):
        array = arrays[str(random.choice(integers if random.random() < 0.7 else others))]
        places = slice(None) if random.random() < 0.2 else int(random.integers(array.size))
        flat, kind = array.reshape(-1), array.dtype.kind
        if kind == "f":
            value: Any = random.choice(NUMBERS)
        elif random.random() < 0.5:
            value = int(flat[places] if isinstance(places, int) else flat[0]) + int(
                random.choice([-2, -1, 1, 2])
            )
        else:
            value = EXTREMES[int(random.integers(len(EXTREMES)))]
        if kind in "iu":
            limits = np.iinfo(array.dtype)
            value = min(max(value, int(limits.min)), int(limits.max))
        with np.errstate(over="ignore"):
            flat[places] = value
    return tensors.encode(arrays, metadata)


def swap_arrays(data: bytes, random: Random) -> bytes:
    """Take arrays of the file of another model."""
    arrays, metadata = tensors.decode(data)
    others, other_metadata = tensors.decode(original(str(random.choice(NAMES)), 40))
    for name in random.choice(sorted(others), random.integers(1, 4)):
        arrays[str(name)] = others[str(name)]
    if random.random() < 0.3:
        metadata = other_metadata
    return tensors.encode(arrays, metadata)


def swap_content(data: bytes, random: Random) -> bytes:
    """Exchange the positions of two arrays of the file."""
    header, content = split(data)
    names = [name for name in sorted(header) if name != "__metadata__"]
    a, b = (str(name) for name in random.choice(names, 2))
    header[a], header[b] = header[b], header[a]
    return joined(header, content)


def change_header(data: bytes, random: Random) -> bytes:
    header, content = split(data)
    names = sorted(header)
    name = str(random.choice(names))
    changes: list[Callable[[], Any]] = [
        lambda: header.pop(name),
        lambda: header.update({name + "x": header.pop(name)}),
        lambda: header.update({name: []}),
        lambda: header.update({name: None}),
        lambda: header.update(extra={"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}),
    ]
    entry = header[name]
    if "dtype" in entry:
        types = ["F64", "F32", "F16", "BF16", "I64", "I32", "I8", "U8", "U64", "BOOL", "F8_E4M3", "X"]
        changes += [
            lambda: entry.update(dtype=str(random.choice(types))),
            lambda: entry.update(shape=[EXTREMES[int(random.integers(len(EXTREMES)))]]),
            lambda: entry.update(shape=entry["shape"][::-1]),
            lambda: entry.update(shape=[*entry["shape"], 1]),
            lambda: entry.update(data_offsets=[int(value) for value in random.choice(EXTREMES, 2)]),
        ]
    changes[int(random.integers(len(changes)))]()
    return joined(header, content)


def change_length(data: bytes, random: Random) -> bytes:
    length = int(random.choice([0, 1, len(data), 1 << 31, (1 << 63) - 1, 1 << 20]))
    return length.to_bytes(8, "little") + data[8:]


def change_metadata(data: bytes, random: Random) -> bytes:
    header, content = split(data)
    metadata = header["__metadata__"]
    kinds = [SPECS[name][0] for name in NAMES]
    texts = ["", "{", "[]", "3", "null", "[" * 5000, "1" * 5000, '{"dim": 1e400}', "\ud83d", '{"":0}']
    changes: list[Callable[[], Any]] = [
        lambda: metadata.pop(str(random.choice(sorted(metadata)))),
        lambda: metadata.update(kind=str(random.choice(kinds))),
        lambda: metadata.update(format="2"),
        lambda: metadata.update(spec=str(random.choice(texts))),
        lambda: metadata.update(extra="x"),
        lambda: header.pop("__metadata__"),
    ]
    changes[int(random.integers(len(changes)))]()
    text = json.dumps(header, separators=(",", ":")).encode()
    return len(text).to_bytes(8, "little") + text + content


def change_spec(data: bytes, random: Random) -> bytes:
    """Set one parameter to another value, so that the arrays belong to another spec."""
    header, content = split(data)
    spec = json.loads(header["__metadata__"]["spec"])
    name = str(random.choice(sorted(spec)))
    values = [None, True, "x", [], {}, [3, 4], [[1]], 0, 1, 2, 3, 17, -1, 0.5, 1e300, 1 << 14, 1 << 63]
    spec[name] = values[int(random.integers(len(values)))]
    header["__metadata__"]["spec"] = json.dumps(spec)
    return joined(header, content)


def write_by_library(data: bytes, random: Random) -> bytes:
    """Save the arrays with the safetensors library: a file without a digest."""
    from safetensors.numpy import save

    arrays, metadata = tensors.decode(data)
    return bytes(save(arrays, metadata))


MUTATIONS: list[Callable[[bytes, Random], bytes]] = [
    *[change_values] * 6,
    *[flip_bits_of_arrays] * 3,
    *[swap_arrays] * 2,
    flip_bits,
    overwrite,
    cut,
    extend,
    insert,
    swap_content,
    change_header,
    change_length,
    change_metadata,
    change_spec,
    write_by_library,
]


def mutated(seed: int) -> tuple[bytes, bytes, str, bool]:
    """Make the file of one seed.

    Returns the original file, which ``save`` or a daemon wrote, the mutated one, the mutation's name, and
    whether the digest is computed again.
    """
    random = np.random.default_rng(seed)
    write = checkpoint if random.random() < 0.3 else original
    data = write(NAMES[int(random.integers(len(NAMES)))], int(random.choice([0, 5, 40, 90])))
    mutation = MUTATIONS[int(random.integers(len(MUTATIONS)))]
    changed = mutation(data, random)
    keep_digest = bool(seed % 2)
    if keep_digest:  # the digest of the original, wherever the changed file has one
        digest = DIGEST.search(data)
        assert digest is not None
        changed = DIGEST.sub(digest[0], changed, count=1)
    else:
        changed = with_digest(changed)
    return data, changed, mutation.__name__, not keep_digest


def use(model: Model, path: Path) -> None:
    """Call what a user calls after a load. Typed errors are fine."""
    for call in (
        lambda: model.learn(**stream(model, 20, seed=3)),
        lambda: model.predict(**predict_arguments(stream(model, 5, seed=4))),
        lambda: model.forecast(5, key=0 if model.needs_keys else None),
        lambda: model.sample(5, key=0 if model.needs_keys else None),
        lambda: model.learn_targets(
            [3000 + n for n in range(20)], np.zeros((20, model.target_dim), np.float32)
        ),
        lambda: model.learn(**stream(model, 40, seed=5)),
        model.quality,
        lambda: [
            getattr(model, name) for name in ("weights", "edges", "labels", "hits") if hasattr(model, name)
        ],
    ):
        try:
            call()
        except StreamlearnError:
            continue
    model.save(path)


def recover(data: bytes) -> None:
    """Do what a start of the daemon does with a checkpoint, and take the next one."""
    try:
        snapshot = Snapshot("m", 1, 20, *tensors.decode(data))
        hosted = Shard(models).install(snapshot)
    except StreamlearnError:
        return
    tensors.encode(hosted.snapshot().arrays, hosted.snapshot().metadata)


def run(seed: int, directory: Path) -> str | None:
    """Load one mutated file and use its model. Return a description of a wrong result."""
    data, changed, mutation, recomputed = mutated(seed)
    path = directory / "mutated"
    path.write_bytes(changed)
    recover(changed)
    try:
        model = sl.load(path)
    except BadCheckpoint:
        return None
    if not recomputed and changed != data:
        return f"{mutation}: a damaged file was loaded"
    print("loaded", seed, flush=True)
    use(model, directory / "again")
    return None


def main(first: int, stop: int) -> None:
    kernels.compile_all(lambda name, done, count: print("compiling", name, flush=True))
    np.seterr(all="ignore")
    with tempfile.TemporaryDirectory() as directory:
        for seed in range(first, stop):
            print("seed", seed, flush=True)
            try:
                fault = run(seed, Path(directory))
            except Exception as error:  # noqa: BLE001 - everything but a typed error is a fault
                fault = f"{mutated(seed)[2]}: {type(error).__name__}: {error}"
            if fault is not None:
                print("fault", seed, fault.replace("\n", " "), flush=True)
    print("done", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
