"""The demo's scenario: stream, query, kill the daemon, recover, and compare with the reference run."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamlearn.cli.demo.alarm import Alarm, demonstrate
from streamlearn.cli.demo.daemon import Daemon
from streamlearn.cli.demo.models import MAP, DemoModel, ReferenceRun, reference_run
from streamlearn.cli.demo.progress import DemoProgress
from streamlearn.cli.demo.query_client import Outage, QueryClient, QueryStatistics
from streamlearn.cli.demo.streams import Producer, ScoreSubscriber
from streamlearn.cli.errors import CommandError
from streamlearn.cli.verify import examine
from streamlearn_client import Client, StreamlearnError

if TYPE_CHECKING:
    from rich.console import Console

    from streamlearn.store.diagnostic import Diagnostic

FULL_SPEED = "full-speed"
POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill -9. Sample counts are sums over all models."""

    exit_code: int
    acknowledged: int
    """samples acknowledged when the daemon was killed"""
    in_flight: int
    """samples sent and not acknowledged when the daemon was killed"""
    recovered: int
    """learned samples that the next daemon reported first"""
    outage: Outage


@dataclass(frozen=True, slots=True)
class ModelResult:
    """The result of one model: what was sent, and what the daemon holds at the end."""

    model: DemoModel
    sent: int
    acknowledged: int
    resent: int
    seconds: float
    description: Mapping[str, Any]
    """the daemon's answer to ``describe`` at the end"""
    reference: ReferenceRun

    @property
    def learned(self) -> int:
        """Samples that the daemon's model has learned."""
        return int(self.description["samples"])

    @property
    def lost(self) -> int:
        """Samples that were acknowledged and are not learned."""
        return max(0, self.acknowledged - self.learned)

    @property
    def learned_twice(self) -> int:
        """Samples learned beyond those sent. Equal state hashes rule out that these hide a loss."""
        return max(0, self.learned - self.sent)

    @property
    def equals_reference(self) -> bool:
        """Whether the daemon's model equals the reference run bit for bit."""
        return bool(self.description["state_hash"] == self.reference.state_hash)


@dataclass(frozen=True, slots=True)
class Results:
    """All results of the scenario."""

    models: list[ModelResult]
    full_speed: ModelResult
    kills: list[Kill]
    queries: QueryStatistics
    events: int
    """scores of the map that arrived as events"""
    events_equal: bool
    exit_code: int
    """of the daemon after SIGTERM"""
    findings: list[Diagnostic]
    seconds: float
    alarm: Alarm | None
    """the alarm of a machine with a fault; None if there was none"""


def run_scenario(
    models: Sequence[DemoModel], folder: Path, kills: int, seconds: float, console: Console
) -> Results:
    """Run the scenario in ``folder``. Raises ``CommandError`` if the demo itself cannot continue."""
    began = time.monotonic()
    with Daemon(folder / "data", folder / "daemon.log") as daemon:
        with console.status("starting a daemon"):
            start_seconds = daemon.start()
        console.print(
            f"started a daemon, process {daemon.pid}, ready at {daemon.endpoint} after {start_seconds:.1f} s"
        )
        with Client(daemon.endpoint, timeout=30.0) as client:
            for model in models:
                client.create(model.name, model.kind, **model.spec)
            som = next(model for model in models if model.name == MAP)
            producers = [Producer(model, daemon.endpoint, seconds) for model in models]
            with (
                ScoreSubscriber(daemon.endpoint, MAP, len(som.x)) as subscriber,
                QueryClient(daemon.endpoint, models, folder / "queries.npy") as query_client,
            ):
                query_client.wait_for_first_answer()
                with DemoProgress(producers, query_client, console) as progress:
                    for producer in producers:
                        producer.start()
                    done_kills = _kill_during_streams(daemon, client, producers, kills, progress)
                    for producer in producers:
                        producer.join()
                full_speed = _stream_at_full_speed(som, client, daemon.endpoint)
                queries = query_client.stop([kill.outage for kill in done_kills])
                subscriber.finish()
            everything = [*producers, full_speed]
            described = {producer.model.name: client.describe(producer.model.name) for producer in everything}
            alarm = demonstrate(client, console)
        exit_code = daemon.stop()
    console.print("learning the same samples in this process, in one call")
    references = {model.name: reference_run(model) for model in models}
    references[FULL_SPEED] = references[MAP]
    results = [
        _result(producer, described[producer.model.name], references[producer.model.name])
        for producer in everything
    ]
    return Results(
        models=results[:-1],
        full_speed=results[-1],
        kills=done_kills,
        queries=queries,
        events=int(subscriber.received.sum()),
        events_equal=subscriber.equals(references[MAP].outputs),
        exit_code=exit_code,
        findings=_damage(folder / "data"),
        seconds=time.monotonic() - began,
        alarm=alarm,
    )


def _kill_during_streams(
    daemon: Daemon, client: Client, producers: Sequence[Producer], kills: int, progress: DemoProgress
) -> list[Kill]:
    """Kill the daemon after equal shares of the samples, and restart it each time."""
    total = sum(len(producer.model.x) for producer in producers)
    done: list[Kill] = []
    while any(producer.is_alive() for producer in producers):
        acknowledged = sum(producer.acknowledged for producer in producers)
        if len(done) < kills and acknowledged >= total * (len(done) + 1) / (kills + 1):
            done.append(_kill(daemon, client, producers, progress))
        time.sleep(POLL_SECONDS)
    for producer in producers:
        if producer.error is not None:
            raise CommandError(f"{producer.model.name}: the stream failed: {producer.error}")
    if len(done) < kills:
        raise CommandError(
            f"the streams ended after {len(done)} of {kills} kills; make them longer with --seconds"
        )
    return done


def _kill(daemon: Daemon, client: Client, producers: Sequence[Producer], progress: DemoProgress) -> Kill:
    in_flight = sum(producer.in_flight for producer in producers)
    killed, pid = time.monotonic(), daemon.pid
    code = daemon.kill()
    acknowledged = sum(producer.acknowledged for producer in producers)
    progress.print(f"kill -9 {pid}, with {in_flight:,} samples in flight")
    start_seconds = daemon.start()
    ready = time.monotonic()
    recovered = sum(int(model["samples"]) for model in client.models())
    progress.print(
        f"process {daemon.pid} is ready after {start_seconds:.1f} s; recovered {recovered:,} samples"
    )
    return Kill(code, acknowledged, in_flight, recovered, Outage(killed, ready))


def _stream_at_full_speed(som: DemoModel, client: Client, endpoint: str) -> Producer:
    """Stream the map's samples again, into a new model, at full speed."""
    producer = Producer(DemoModel(FULL_SPEED, som.kind, som.spec, som.x), endpoint, 0.0)
    client.create(FULL_SPEED, som.kind, **som.spec)
    producer.start()
    producer.join()
    if producer.error is not None:
        raise CommandError(f"{FULL_SPEED}: the stream failed: {producer.error}")
    return producer


def _result(producer: Producer, description: Mapping[str, Any], reference: ReferenceRun) -> ModelResult:
    return ModelResult(
        model=producer.model,
        sent=producer.sent,
        acknowledged=producer.acknowledged,
        resent=producer.resent,
        seconds=producer.elapsed,
        description=description,
        reference=reference,
    )


def _damage(data_dir: Path) -> list[Diagnostic]:
    """Return the damage that ``verify`` finds."""
    try:
        found = examine(data_dir)
        if found.refusal is not None:
            raise found.refusal
    except StreamlearnError as error:
        raise CommandError(f"cannot read the demo's data directory: {error.message}") from error
    return [finding for finding in found.findings if finding.level == "damage"]
