"""A real mosquitto and a real bridge."""

from __future__ import annotations

import re
import select
import signal
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from tests.processes import Forked
from tools.waiting import wait_for

SECONDS = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Broker:
    """mosquitto with persistence after every change, so that ``kill -9`` loses little."""

    def __init__(self, directory: Path, *lines: str, anonymous: bool = True) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.port, self.directory = free_port(), directory
        self.configuration = directory / "mosquitto.conf"
        self.configuration.write_text(
            "\n".join(
                [
                    f"listener {self.port} 127.0.0.1",
                    f"allow_anonymous {str(anonymous).lower()}",
                    "user root",
                    "persistence true",
                    f"persistence_location {directory}/",
                    "autosave_on_changes true",
                    "autosave_interval 1",
                    "max_inflight_messages 200",
                    "max_queued_messages 100000",
                    *lines,
                ]
            )
            + "\n"
        )
        self.start()

    def start(self) -> None:
        with (self.directory / "mosquitto.log").open("ab") as log:
            self.process = subprocess.Popen(
                ["mosquitto", "-c", str(self.configuration)], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        wait_for(self._listens, "mosquitto listens")

    def _listens(self) -> bool:
        assert self.process.poll() is None, (self.directory / "mosquitto.log").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(SECONDS)


class Bridge:
    """``streamlearn mqtt`` with a configuration."""

    def __init__(self, directory: Path, endpoint: str, configuration: str, **variables: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory, self.endpoint = directory, endpoint
        self.variables = variables
        self.configuration = directory / "bridge.toml"
        self.configuration.write_text(configuration)
        self.log = directory / "bridge.log"
        self.line = ""
        """The line with which it was ready."""
        self.start()

    def start(self) -> None:
        variables = {"STREAMLEARN_ENDPOINT": self.endpoint} | self.variables
        self.process = Forked("mqtt", "-c", str(self.configuration), log=self.log, variables=variables)

    def ready(self) -> Bridge:
        out = self.process.stdout
        assert out is not None
        assert select.select([out], [], [], SECONDS)[0], f"not ready:\n{self.log.read_text()}"
        self.line = line = out.readline().decode().strip()
        assert "ready" in line, f"it ended with {self.process.wait(SECONDS)}:\n{self.log.read_text()}"
        return self

    def kill(self, number: int = signal.SIGKILL) -> int:
        """Send a signal; return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def ended(self) -> tuple[int, str]:
        """Wait for the end; return the exit code and the last line of the log."""
        code = self.process.wait(SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code, self.log.read_text().splitlines()[-1]

    def figures(self) -> dict[str, int]:
        """Stop the bridge and return its counters."""
        assert self.kill(signal.SIGTERM) == 0, self.log.read_text()
        last = [line for line in self.log.read_text().splitlines() if "stopped" in line][-1]
        return {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", last)}


class Peer:
    """Another client of the broker, which publishes and remembers what it receives."""

    def __init__(self, port: int, *topics: str, name: str = "peer") -> None:
        self.received: list[tuple[str, bytes, bool]] = []
        self._confirmed = threading.Event()
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=paho.MQTTv5)
        self.client.on_message = lambda _, __, m: self.received.append((m.topic, m.payload, m.retain))
        self.client.on_subscribe = lambda *_: self._confirmed.set()
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        if topics:
            self.client.subscribe([(topic, 1) for topic in topics])
            assert self._confirmed.wait(SECONDS)

    def publish(self, topic: str, payload: str | bytes, qos: int = 1, **more: Any) -> paho.MQTTMessageInfo:
        return self.client.publish(topic, payload, qos, **more)

    def of(self, topic: str) -> list[bytes]:
        return [payload for name, payload, _ in self.received if name == topic]

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()
