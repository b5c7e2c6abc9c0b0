"""The driver of the Python client: executes the commands of `clients/suite/README.md`."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from streamlearn_client import Client, Stream, StreamlearnError, Subscription
from streamlearn_client.results import Ack

EXACT = 1 << 53


class Driver:
    """The client, its stream and its subscription. A command calls the method of the same name."""

    client: Client
    stream: Stream
    events: Subscription

    # --------------------------------------------------------------------------------------- connection

    def connect(self, **settings: Any) -> dict[str, Any]:
        self.client = Client(**settings)
        return {}

    def hello(self) -> dict[str, Any]:
        ok = self.client.hello()
        return {name: ok[name] for name in ("version", "protocol")}

    def close(self) -> dict[str, Any]:
        self.client.close()
        return {}

    # ----------------------------------------------------------------------------------------- requests

    def create(self, model: str, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
        return {"name": self.client.create(model, kind, **spec)["name"]}

    def delete(self, model: str) -> dict[str, Any]:
        self.client.delete(model)
        return {}

    def models(self) -> dict[str, Any]:
        return {"names": sorted(each["name"] for each in self.client.models())}

    def describe(self, model: str) -> dict[str, Any]:
        ok = self.client.describe(model)
        return {name: ok[name] for name in ("kind", "dim", "samples", "state_hash", "paused")}

    def learn(self, model: str, **batch: Any) -> dict[str, Any]:
        return ack(self.client.learn(model, **samples(batch)))

    def learn_targets(self, model: str, ids: list[Any], y: list[Any]) -> dict[str, Any]:
        return ack(self.client.learn_targets(model, identifiers(ids), floats(y)))

    def predict(self, model: str, **batch: Any) -> dict[str, Any]:
        return outputs(self.client.predict(model, **samples(batch)).arrays)

    def explain(self, model: str, **batch: Any) -> dict[str, Any]:
        return outputs(self.client.explain(model, **samples(batch)).arrays)

    def forecast(self, model: str, steps: int, key: int | str | None = None) -> dict[str, Any]:
        forecast = self.client.forecast_in_full(model, steps, key=key)
        found = {name: getattr(forecast, name) for name in ("forecast", "lower", "upper")}
        return outputs({name: each for name, each in found.items() if each is not None})

    def read(self, model: str, what: list[str]) -> dict[str, Any]:
        reading = self.client.read(model, what)
        return {"samples": reading.samples, "arrays": {name: array(reading[name]) for name in what}}

    def label(self, model: str, label: str, unit: int) -> dict[str, Any]:
        self.client.label(model, label, unit=unit)
        return {}

    def feedback(self, model: str, sample: int, verdict: str) -> dict[str, Any]:
        self.client.feedback(model, sample, verdict)
        return {}

    def pause(self, model: str) -> dict[str, Any]:
        self.client.pause(model)
        return {}

    def resume(self, model: str) -> dict[str, Any]:
        self.client.resume(model)
        return {}

    def checkpoint(self, model: str, name: str | None = None) -> dict[str, Any]:
        return {"lsn": self.client.checkpoint(model, name)["lsn"]}

    def checkpoints(self, model: str) -> dict[str, Any]:
        return {"names": sorted(each["name"] for each in self.client.checkpoints(model) if each["name"])}

    def restore(self, model: str, name: str) -> dict[str, Any]:
        self.client.restore(model, name=name)
        return {}

    def clone(self, model: str, into: str) -> dict[str, Any]:
        self.client.clone(model, into)
        return {}

    def export(self, model: str, path: str) -> dict[str, Any]:
        self.client.export(model, path)
        return {}

    def import_(self, model: str, path: str) -> dict[str, Any]:
        self.client.create(model, from_file=path)
        return {}

    def stats(self) -> dict[str, Any]:
        return {"models": sorted(self.client.stats()["models"])}

    def position(self, model: str, producer: str) -> dict[str, Any]:
        found = self.client.position(model, producer)
        return {"epoch": integer(found.epoch), "next_seq": found.next_seq}

    # ------------------------------------------------------------------------------------------ streams

    def stream_open(self, model: str, **settings: Any) -> dict[str, Any]:
        self.stream = self.client.stream(model, **settings)
        return {"producer": self.stream.producer, "epoch": integer(self.stream.epoch)}

    def push(self, **batch: Any) -> dict[str, Any]:
        arrays = samples(batch)
        for row, sample in enumerate(arrays.pop("x")):
            self.stream.push(sample, **{name: each[row] for name, each in arrays.items()})
        return {}

    def flush(self, **settings: Any) -> dict[str, Any]:
        self.stream.flush(**settings)
        return {"acknowledged": self.stream.acknowledged}

    def stream_status(self) -> dict[str, Any]:
        stream = self.stream
        return {
            "acknowledged": stream.acknowledged,
            "pending": stream.pending,
            "resent": stream.resent,
            "epoch": integer(stream.epoch),
        }

    def stream_close(self) -> dict[str, Any]:
        self.stream.close()
        return {}

    def stream_abort(self) -> dict[str, Any]:
        self.stream.abort()
        return {}

    def firehose(self, model: str, x: list[Any]) -> dict[str, Any]:
        with self.client.firehose(model) as firehose:
            firehose.push(floats(x))
        return {}

    # ------------------------------------------------------------------------------------------- events

    def subscribe(self, kinds: list[str] | None = None, models: list[str] | None = None) -> dict[str, Any]:
        self.events = self.client.subscribe(kind=kinds, models=models)
        return {}

    def next_event(self, timeout: float) -> dict[str, Any]:
        event = self.events.next_event(timeout)
        if event is None:
            return {"event": None}
        found = {name: getattr(event, name) for name in ("kind", "model", "lsn", "first", "rows")}
        arrays = {name: array(each) for name, each in event.outputs.arrays.items()}
        keys = [each if isinstance(each, str) else integer(each) for each in event.keys]
        return {"event": {**found, "arrays": arrays, **({"keys": keys} if keys else {})}}

    def unsubscribe(self) -> dict[str, Any]:
        self.events.close()
        return {}


# ------------------------------------------------------------------------------------------------ values


def floats(rows: list[Any]) -> np.ndarray:
    """Return rows as float32; ``None`` is NaN."""
    return np.array([[np.nan if value is None else float(value) for value in row] for row in rows], "<f4")


def identifiers(values: list[Any]) -> list[Any] | np.ndarray:
    """Return keys, ids or times: integers of 64 bits, or texts as they are."""
    if any(isinstance(each, str) and not each.removeprefix("-").isdigit() for each in values):
        return values
    return np.array([int(each) for each in values], "<i8")


def samples(batch: dict[str, Any]) -> dict[str, Any]:
    convert: dict[str, Callable[[Any], Any]] = dict.fromkeys(("x", "y"), floats)
    convert |= dict.fromkeys(("keys", "ids", "times"), identifiers)
    return {name: convert[name](value) if name in convert else value for name, value in batch.items()}


def integer(value: int) -> int | str:
    return value if abs(value) <= EXACT else str(value)


def plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None if math.isnan(value) else str(value)
    return value if isinstance(value, bool) else integer(value)


def array(values: np.ndarray) -> dict[str, Any]:
    flat = [plain(each) for each in values.ravel().tolist()]
    return {"dtype": values.dtype.str, "shape": list(values.shape), "values": flat}


def ack(found: Ack) -> dict[str, Any]:
    names = ("lsn", "durable_lsn", "applied_lsn", "duplicate", "rows", "matched", "unmatched")
    return {name: value for name in names if (value := getattr(found, name)) is not None}


def outputs(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    return {"arrays": {name: array(each) for name, each in arrays.items()}}


# -------------------------------------------------------------------------------------------------- loop


def execute(driver: Driver, line: str) -> dict[str, Any]:
    try:
        command = {name: value for name, value in json.loads(line).items() if value is not None}
        method = getattr(driver, {"import": "import_"}.get(name := command.pop("do"), name))
        return {"ok": method(**command)}
    except StreamlearnError as error:
        facts = {"code": error.code, "message": error.message, "in_doubt": error.in_doubt}
        cause = error.detail.get("cause")
        if cause:
            facts["cause"] = cause["code"]
        return {"error": facts}
    except Exception as problem:  # noqa: BLE001 - the suite shows it
        return {"error": {"code": "DRIVER", "message": f"{type(problem).__name__}: {problem}"}}


def main() -> None:
    driver = Driver()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(execute(driver, line)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
