"""What happens in the demo, from the first sample to the last comparison."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamlearn.cli.demo.cast import MAP, Role, Twin, twin
from streamlearn.cli.demo.daemon import Daemon
from streamlearn.cli.demo.listener import Listener
from streamlearn.cli.demo.producer import Producer
from streamlearn.cli.demo.questions import Answers, Asker, Outage
from streamlearn.cli.demo.stage import Stage
from streamlearn.cli.errors import CommandError
from streamlearn.cli.verify import examine
from streamlearn_client import Client, StreamlearnError

if TYPE_CHECKING:
    from rich.console import Console

    from streamlearn.store.finding import Finding

BURST = "full-speed"
LOOK_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Killed:
    """One kill -9."""

    exit_code: int
    acknowledged: int
    """samples, of all models, when it was killed"""
    under_way: int
    """samples that had been sent and not acknowledged"""
    learned: int
    """samples, of all models, that the next daemon knew as soon as it was asked"""
    outage: Outage


@dataclass(frozen=True, slots=True)
class Played:
    """What became of one model."""

    role: Role
    sent: int
    acknowledged: int
    resent: int
    seconds: float
    found: dict[str, Any]
    """what the daemon described at the end"""
    twin: Twin

    @property
    def learned(self) -> int:
        return int(self.found["samples"])

    @property
    def lost(self) -> int:
        """Samples that were acknowledged and are not learned."""
        return max(0, self.acknowledged - self.learned)

    @property
    def twice(self) -> int:
        """Samples learned beyond those that were sent. Equal hashes rule out that they hide a loss."""
        return max(0, self.learned - self.sent)

    @property
    def same(self) -> bool:
        return bool(self.found["state_hash"] == self.twin.state_hash)


@dataclass(frozen=True, slots=True)
class Story:
    """Everything that was seen."""

    played: list[Played]
    burst: Played
    kills: list[Killed]
    answers: Answers
    published: int
    """scores of the map that came as events"""
    published_well: bool
    stopped: int
    """the daemon's exit code after SIGTERM"""
    findings: list[Finding]
    seconds: float


def play(roles: Sequence[Role], folder: Path, kills: int, seconds: float, console: Console) -> Story:
    """Stream, ask, kill and compare. Raises ``CommandError`` where the demo itself can't go on."""
    began = time.monotonic()
    with Daemon(folder / "data", folder / "daemon.log") as daemon:
        with console.status("starting a daemon"):
            took = daemon.start()
        console.print(f"a daemon, process {daemon.pid}, ready at {daemon.endpoint} after {took:.1f} s")
        with Client(daemon.endpoint, timeout=30.0) as client:
            for role in roles:
                client.create(role.name, role.kind, **role.spec)
            the_map = next(role for role in roles if role.name == MAP)
            producers = [Producer(role, daemon.endpoint, seconds) for role in roles]
            with (
                Listener(daemon.endpoint, MAP, len(the_map.x)) as listener,
                Asker(daemon.endpoint, roles, folder / "answers.npy") as asker,
            ):
                asker.begin()
                with Stage(producers, asker, console) as stage:
                    for producer in producers:
                        producer.start()
                    killed = _kill_on_the_way(daemon, client, producers, kills, stage)
                    for producer in producers:
                        producer.join()
                burst = _at_full_speed(the_map, client, daemon.endpoint)
                answers = asker.stop([each.outage for each in killed])
                listener.finish()
            found = {each.role.name: client.describe(each.role.name) for each in [*producers, burst]}
        stopped = daemon.stop()
    console.print("the same samples once more, in this process and in one piece")
    twins = {role.name: twin(role) for role in roles}
    twins[BURST] = twins[MAP]
    played = [_played(each, found[each.role.name], twins[each.role.name]) for each in [*producers, burst]]
    return Story(
        played=played[:-1],
        burst=played[-1],
        kills=killed,
        answers=answers,
        published=int(listener.seen.sum()),
        published_well=listener.agrees(twins[MAP].outputs),
        stopped=stopped,
        findings=_verify(folder / "data"),
        seconds=time.monotonic() - began,
    )


def _kill_on_the_way(
    daemon: Daemon, client: Client, producers: Sequence[Producer], kills: int, stage: Stage
) -> list[Killed]:
    """Kill the daemon at even shares of the way, and start it again at once."""
    total = sum(len(each.role.x) for each in producers)
    killed: list[Killed] = []
    while any(each.is_alive() for each in producers):
        done = sum(each.acknowledged for each in producers)
        if len(killed) < kills and done >= total * (len(killed) + 1) / (kills + 1):
            killed.append(_kill(daemon, client, producers, stage))
        time.sleep(LOOK_SECONDS)
    for producer in producers:
        if producer.error is not None:
            raise CommandError(f"{producer.role.name}: the stream broke off: {producer.error}")
    if len(killed) < kills:
        raise CommandError(
            f"the streams were over after {len(killed)} of {kills} kills; spread them over more --seconds"
        )
    return killed


def _kill(daemon: Daemon, client: Client, producers: Sequence[Producer], stage: Stage) -> Killed:
    under_way = sum(each.under_way for each in producers)
    at, pid = time.monotonic(), daemon.pid
    code = daemon.kill()
    acknowledged = sum(each.acknowledged for each in producers)
    stage.say(f"kill -9 {pid}, with {under_way:,} samples under way")
    took = daemon.start()
    ready = time.monotonic()
    learned = sum(int(each["samples"]) for each in client.models())
    stage.say(f"process {daemon.pid} took over after {took:.1f} s; it knows {learned:,} learned samples")
    return Killed(code, acknowledged, under_way, learned, Outage(at, ready))


def _at_full_speed(role: Role, client: Client, endpoint: str) -> Producer:
    """The map's stream again, into a new model, as fast as it goes."""
    burst = Producer(Role(BURST, role.kind, role.spec, role.x), endpoint, 0.0)
    client.create(BURST, role.kind, **role.spec)
    burst.start()
    burst.join()
    if burst.error is not None:
        raise CommandError(f"{BURST}: the stream broke off: {burst.error}")
    return burst


def _played(producer: Producer, found: dict[str, Any], uninterrupted: Twin) -> Played:
    return Played(
        role=producer.role,
        sent=producer.sent,
        acknowledged=producer.acknowledged,
        resent=producer.resent,
        seconds=producer.took,
        found=found,
        twin=uninterrupted,
    )


def _verify(data_dir: Path) -> list[Finding]:
    try:
        return [finding for finding in examine(data_dir).findings if finding.level == "damage"]
    except StreamlearnError as error:
        raise CommandError(f"the demo's data directory can't be read: {error.message}") from error
