"""A collector keeps its lines until they are answered. Whatever is killed, each sample is learned once."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest

from streamlearn_client import Client
from tests.e2e.daemon_process import DaemonProcess
from tests.gateway.gateway_process import GatewayProcess

SEED = 20261130
SAMPLES = 300
SPEC = {"dim": 2, "grid": [4, 4], "channels": ["flow", "pressure"], "scale": "standard", "seed": 1}


class Collector:
    """Keeps lines as Telegraf does: the oldest first, in batches that differ from attempt to attempt."""

    def __init__(self, groups: list[str], chance: random.Random) -> None:
        self.groups = groups  # the lines of one time stay together
        self.sent = 0
        self.attempts = 0
        self._chance = chance

    def write(self, url: str) -> None:
        batch = self.groups[self.sent : self.sent + self._chance.randint(1, 40)]
        self.attempts += 1
        # A short timeout loses answers: the gateway learns, and the collector sends again.
        timeout = self._chance.choice([0.01, 0.05, 5.0])
        try:
            answer = httpx.post(f"{url}/api/v2/write", content="".join(batch), timeout=timeout)
        except httpx.TransportError:
            return
        assert answer.status_code in (204, 503), answer.text
        if answer.status_code == 204:
            self.sent += len(batch)


@pytest.mark.faults
def test_killed_gateways_and_daemons(
    serve: Callable[[], DaemonProcess], start: Callable[..., GatewayProcess]
) -> None:
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    x = np.random.default_rng(SEED).normal(size=(SAMPLES, 2)).astype(np.float32)
    times = 1_772_622_720_000_000_000 + np.arange(SAMPLES) * 10**9
    groups = [
        f"pump,type=coil flow={flow!r} {time}\npump,type=holding pressure={pressure!r} {time}\n"
        for (flow, pressure), time in zip(x.tolist(), times, strict=True)
    ]
    collector = Collector(groups, chance)
    daemon, gateways = serve(), []
    daemon.ready()
    with Client(daemon.requests) as client:
        for name in ("pump", "twin"):
            client.create(name, "som", **SPEC)
        client.learn("twin", x, times=times)

    def gateway() -> GatewayProcess:
        gateways.append(start(daemon.requests).ready())
        return gateways[-1]

    running = gateway()
    for kill_at in (1, 2, 3):  # the gateway, the daemon, and both
        goal = SAMPLES * kill_at // 4
        while collector.sent < goal:
            collector.write(running.url)
        sending = threading.Thread(target=collector.write, args=[running.url])
        sending.start()
        victims: list[subprocess.Popen[bytes]] = []
        if kill_at != 2:
            victims.append(running.process)
        if kill_at != 1:
            victims.append(daemon.process)
        for process in victims:
            process.kill()
        sending.join()
        for process in victims:
            process.wait()
        if kill_at != 1:
            daemon = serve()
            daemon.ready()
        if kill_at != 2:
            running = gateway()
    while collector.sent < SAMPLES:
        collector.write(running.url)
    with Client(daemon.requests) as client:
        pump, twin = client.describe("pump"), client.describe("twin")
    print(f"{collector.attempts} attempts")
    assert pump["samples"] == SAMPLES
    assert pump["state_hash"] == twin["state_hash"]


def test_the_command_names_a_wrong_rule(tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rule]]\nmodels = "pump"\n')
    command = [sys.executable, "-m", "streamlearn", "gateway", "--http", "127.0.0.1:0", "--rules", str(rules)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "rule 1, models: there is no such key; the keys are measurement, tags" in " ".join(
        done.stderr.split()
    )
