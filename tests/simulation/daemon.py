"""One life of the daemon: the real parts, on tasks, a simulated disk and simulated sockets."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

from greenlet import GreenletExit

from streamlearn import models
from streamlearn.daemon.daemon import Daemon
from streamlearn.daemon.limits.budget import Budget
from streamlearn.daemon.runtime import Runtime
from streamlearn.recovery import recover, take_over
from streamlearn.store.checkpoint import CheckpointStore
from streamlearn.store.journal import Journal
from streamlearn.store.manifest import ManifestFile
from streamlearn.store.scan import JournalScan
from tests.simulation.interrupts import Interrupts
from tests.simulation.models import SPECS
from tests.simulation.network import Sockets
from tests.simulation.tasks import Event, Poller, Queue, SelfPipe, Task, Tasks

DIRECTORY = Path("/data")
JOURNAL = DIRECTORY / "journal"
CHECKPOINTS = DIRECTORY / "checkpoints"


class Life:
    """From a start to a crash or a stop."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.tasks = Tasks(world.clock.peek_ns)
        self.daemon: Daemon | None = None
        self.journal: Journal | None = None
        self.stopping = False
        self.faults = world.disk.faults  # before this life
        self.warnings: list[str] = []
        self.main: Task = self.tasks.thread(self._serve, "loop")
        self.main.start()

    def runtime(self) -> Runtime:
        """Everything that waits, as tasks."""
        world, clock, tasks = self.world, self.world.clock, self.tasks
        parts: dict[str, Any] = {
            "wall_ns": clock.wall_ns,
            "steady_ns": clock.steady_ns,
            "cpu_ns": clock.steady_ns,
            "thread": tasks.thread,
            "lower_priority": lambda: None,
            "event": lambda: Event(tasks),
            "queue": lambda: Queue(tasks),
            "self_pipe": SelfPipe,
            "poller": lambda: Poller(tasks, clock.peek_ns),
            "interrupts": lambda socket, _: Interrupts(socket, Random(world.seed + world.steps)),
        }
        return Runtime(**parts)

    def _serve(self) -> None:
        """What `lifecycle.run` does, without the process."""
        for kind, _ in SPECS.values():
            models.load_kernels(kind)  # so that the trace does not depend on what this process did before
        with ExitStack() as stack:
            try:
                self._serve_until_stopped(stack)
            except GreenletExit:  # killed: nothing is closed
                stack.pop_all()
                raise

    def _serve_until_stopped(self, stack: ExitStack) -> None:
        world, warn = self.world, self.warnings.append
        disk, settings = world.disk, world.settings
        stack.enter_context(disk.lock(DIRECTORY / "lock"))
        scan = JournalScan(disk, JOURNAL)
        retention = settings.checkpoints.retention()
        checkpoints = CheckpointStore(disk, CHECKPOINTS, retention, warn=warn)
        recovered = recover(scan, checkpoints, models, manifest=ManifestFile(disk, DIRECTORY).read())
        self.journal = journal = take_over(
            disk, DIRECTORY, scan, checkpoints, recovered, segment_bytes=world.segment_bytes, warn=warn
        )
        stack.callback(journal.close)
        world.recovered(journal, recovered)
        sockets: Any = Sockets(world.network)
        budget = Budget(1 << 30)
        budget.queued.limit = world.queued_bytes
        self.daemon = daemon = Daemon(
            settings,
            journal,
            checkpoints,
            recovered,
            sockets,
            "simulated",
            self.runtime(),
            budget,
        )
        stack.callback(daemon.close)
        daemon._checkpointer._writer.few = 1  # checkpoints that are due together share their syncs
        world.network.start(sockets)
        while not daemon.loop.finished():
            self.tasks.wait("turn")
            daemon.loop.turn()
        world.network.stop()

    def stop(self) -> None:
        """SIGTERM."""
        if self.daemon is not None:
            self.stopping = True
            self.daemon.loop.stop()
