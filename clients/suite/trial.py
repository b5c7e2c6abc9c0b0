"""What a behaviour works with: daemons, proxies, drivers, and models to compare with."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from clients.suite.clients import Client
from clients.suite.driver import Driver
from clients.suite.fake import Answer, FakeDaemon
from clients.suite.proxy import Proxy
from streamlearn import models
from streamlearn_client import Client as PythonClient
from streamlearn_client.keys import generate, write_key_pair
from tests.daemon.keyrings import KeyRing
from tests.e2e.daemon_process import ForkedDaemon

SECONDS = 60.0
Rows: TypeAlias = list[list[float | None]]
MAP = ("som", {"dim": 3, "grid": [4, 4], "scale": "standard"})


class Daemon:
    """A real daemon on ``ipc://`` endpoints in a directory, which it keeps after a kill."""

    def __init__(self, directory: Path, settings: Mapping[str, Any], ring: KeyRing | None = None) -> None:
        directory.mkdir(parents=True)
        self.requests, self.events = (f"ipc://{directory}/{name}" for name in ("requests", "events"))
        self._directory, self._settings, self._ring = directory, dict(settings), ring
        self._process: ForkedDaemon | None = None
        self.start()

    def start(self) -> None:
        settings = {
            f"{section}__{name}": value
            for section, each in self._settings.items()
            for name, value in each.items()
        }
        self._process = ForkedDaemon(self._directory, settings=settings)
        with self.client() as client:
            client.hello()

    def client(self) -> PythonClient:
        """Return a client of the suite's own, to look at the daemon with."""
        if self._ring is None:
            return PythonClient(self.requests, timeout=SECONDS)
        keys = self._ring.keys("operator")
        return PythonClient(self.requests, timeout=SECONDS, server_key=keys.server, key=keys.secret)

    def samples(self, model: str) -> int:
        with self.client() as client:
            return int(client.describe(model)["samples"])

    def state_hash(self, model: str) -> str:
        with self.client() as client:
            return str(client.describe(model)["state_hash"])

    def kill(self) -> None:
        """End the daemon by SIGKILL."""
        assert self._process is not None
        self._process.kill()

    def stop(self) -> None:
        """End the daemon by SIGTERM."""
        assert self._process is not None
        self._process.terminate()

    def restart(self) -> None:
        self.kill()
        self.start()


class Suite:
    """What the trials of a run share: a daemon, and drivers that wait for the next trial of their client."""

    def __init__(self, directory: Path) -> None:
        self.daemon = Daemon(directory, {})
        self._idle: dict[str, list[Driver]] = {}

    def driver(self, client: Client, command: Sequence[str], log: Path) -> Driver:
        idle = self._idle.get(client.name)
        return idle.pop() if idle else Driver(command, log, client.environment)

    def give_back(self, client: Client, driver: Driver) -> None:
        if driver.reset():
            self._idle.setdefault(client.name, []).append(driver)
        else:
            driver.close()

    def end_drivers(self) -> None:
        for drivers in self._idle.values():
            for driver in drivers:
                driver.close()
        self._idle.clear()

    def close(self) -> None:
        self.end_drivers()
        self.daemon.kill()


class KeyFiles(KeyRing):
    """Keys of clients, in files as `streamlearn keygen` writes them."""

    def file(self, name: str) -> str:
        """Return the path of the key file of a client; that of a stranger for an unknown name."""
        path = self.directory / f"{name}.key"
        if not path.exists():
            write_key_pair(self.pairs.get(name) or generate(name), self.directory)
        return str(path)


class Trial:
    """What a behaviour works with. Everything is closed at its end."""

    def __init__(self, client: Client, command: Sequence[str], directory: Path, suite: Suite) -> None:
        self.shared = suite.daemon
        """A daemon for behaviours that leave it as it was. Its models belong to one trial each."""
        self._client, self._command, self._directory, self._suite = client, command, directory, suite
        self._stack = ExitStack()
        self._count = 0
        self.name = directory.name
        """Unique among the trials of a run."""

    def path(self, name: str) -> Path:
        """Return the path of a file of this trial."""
        return self._directory / name

    def close(self) -> None:
        self._stack.close()

    def _next(self, name: str) -> str:
        self._count += 1
        return f"{name}-{self._count}"

    # ---------------------------------------------------------------------------------------- the sides

    def daemon(self, **settings: Any) -> Daemon:
        """Start a daemon of this trial alone."""
        daemon = Daemon(self._directory / self._next("d"), settings)
        self._stack.callback(daemon.kill)
        return daemon

    def daemon_with_keys(self) -> tuple[Daemon, KeyFiles]:
        ring = KeyFiles(self._directory / self._next("keys"))
        security = asdict(ring.security)
        daemon = Daemon(self._directory / self._next("d"), {"security": security}, ring)
        self._stack.callback(daemon.kill)
        return daemon, ring

    def proxy(self, endpoint: str) -> Proxy:
        proxy = Proxy(endpoint)
        self._stack.callback(proxy.close)
        return proxy

    def fake(self, answer: Answer) -> FakeDaemon:
        fake = FakeDaemon(answer)
        self._stack.callback(fake.close)
        return fake

    def driver(self, endpoint: str | None = None, timeout: float = SECONDS, **settings: Any) -> Driver:
        """Start a driver, and connect it: to the shared daemon, or to an endpoint."""
        driver = self._suite.driver(self._client, self._command, self._directory / "driver.log")
        self._stack.callback(self._suite.give_back, self._client, driver)
        driver.do("connect", endpoint=endpoint or self.shared.requests, timeout=timeout, **settings)
        return driver

    def model(self, driver: Driver, kind: str = MAP[0], spec: Mapping[str, Any] = MAP[1]) -> str:
        """Create a model. Return its name, which no other trial uses."""
        name = f"{self.name}-{self._next('m')}"
        driver.do("create", model=name, kind=kind, spec=spec)
        return name


def rows(count: int, seed: int = 1, dim: int = 3) -> Rows:
    """Return samples that JSON and float32 hold exactly."""
    values = np.random.default_rng(seed).integers(-1000, 1000, (count, dim)) / 64
    return [[float(value) for value in row] for row in values]


def float32(values: Rows) -> np.ndarray:
    return np.array([[np.nan if value is None else value for value in row] for row in values], "<f4")


def learned(*batches: Rows, kind: str = MAP[0], spec: Mapping[str, Any] = MAP[1]) -> models.Model:
    """Return a model that learned these samples without interruption."""
    model = models.create(kind, dict(spec))
    for batch in batches:
        model.learn(float32(batch))
    return model


def array(found: Mapping[str, Any]) -> np.ndarray:
    """Return an array of an answer."""
    values = [np.nan if value is None else value for value in found["values"]]
    if found["dtype"].endswith("8") and found["dtype"][1] in "iu":
        values = [int(value) for value in values]
    return np.array(values, found["dtype"]).reshape(found["shape"])


def until(condition: Callable[[], object]) -> None:
    """Wait for a condition, for at most a minute."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"the condition was not met within {SECONDS} s"
        time.sleep(0.005)
