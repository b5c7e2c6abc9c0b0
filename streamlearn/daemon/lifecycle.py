"""Start and end of a daemon process.

A start locks the directory, reads the journal, recovers (and compiles or loads the kernels of its models),
binds the sockets, opens the journal for writing, and prints `ready`. Then all other kernels that are not in
the cache are compiled beside serving. A failed start changes no file except the lock file, prints one line on
stderr and returns its own exit code (docs/operate/troubleshooting.md).
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import time
from contextlib import ExitStack, suppress
from functools import partial

from streamlearn import __version__, logs
from streamlearn import models as model_kinds
from streamlearn.daemon import gateway, sdnotify
from streamlearn.daemon.config import Settings
from streamlearn.daemon.daemon import Daemon
from streamlearn.daemon.kernels import ModelSource, bytes_to_load
from streamlearn.daemon.limits.budget import Budget, frame_bytes, memory_bytes, queue_bytes
from streamlearn.daemon.limits.model_memory import state_bytes
from streamlearn.daemon.limits.system_memory import resident_bytes
from streamlearn.daemon.network.sockets import bind, check_exposure
from streamlearn.daemon.process import Terminated, check_terminated
from streamlearn.daemon.security.access import Access
from streamlearn.daemon.trial import survives
from streamlearn.errors import (
    BadConfig,
    CheckpointsFailed,
    FatalError,
    StreamlearnError,
)
from streamlearn.recovery import CHECKPOINTS, Recovered, examine, startup_errors, take_over
from streamlearn.replay import ReplayOptions
from streamlearn.store.checkpoint import CheckpointStore
from streamlearn.store.deaths import DeathLog
from streamlearn.store.fs import FS

log = logs.get_logger(__name__)

INTERRUPTED = 130  # by Ctrl-C before the daemon served
SWITCH_SECONDS = 0.001  # how long the loop may hold the interpreter while another thread waits for it


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; returns the process's exit code."""
    logs.configure(settings.log.level, settings.log.format)
    try:
        with ExitStack() as stack:
            with startup_errors(settings.data_dir):
                daemon, http = _start(settings, FS(), stack)
            return _serve(daemon, http)
    except StreamlearnError as error:
        _print_error(error.message)
        return error.exit_code if isinstance(error, FatalError) else FatalError.exit_code
    except Terminated:
        log.info("stopped by SIGTERM before it was ready")
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception:
        log.exception("the daemon failed; every record acknowledged as durable is in the journal")
        return FatalError.exit_code


def _print_error(message: str) -> None:
    with suppress(OSError, ValueError):  # standard error is closed
        sys.stderr.write(f"streamlearn: {' '.join(message.split())}\n")
        sys.stderr.flush()


def _start(settings: Settings, fs: FS, stack: ExitStack) -> tuple[Daemon, socket.socket | None]:
    """Recover the models and bind the sockets, that of the gateway too. `stack` closes what this opens."""
    # A reload that is requested during the start is done by the first turn of the loop.
    early: list[int] = []  # signals while the keys are read
    signal.signal(signal.SIGHUP, lambda number, _: early.append(number))
    access = Access(settings.security)
    signal.signal(signal.SIGHUP, lambda *_: setattr(access, "reload_requested", True))
    access.reload_requested |= bool(early)
    for endpoint in check_exposure(settings.endpoints, keys=access.server_key is not None):
        log.warning(
            "INSECURE: %s accepts everybody on the network, without keys and without encryption", endpoint
        )
    directory = settings.data_dir
    lock = stack.enter_context(fs.lock(directory / "lock"))
    mode = fs.mode(directory)
    if mode & 0o007:
        log.warning(
            "other users can access the data directory", mode=f"{mode:04o}", run=f"chmod o= {directory}"
        )
    deaths = DeathLog(lock)
    if deaths.last is not None:
        log.warning(
            "the last process died while it applied a record", lsn=deaths.last.lsn, deaths=deaths.last.deaths
        )
    # All checks come before `take_over`: a start that is refused changes no file.
    repair = settings.journal.repair
    retention = settings.checkpoints.retention()
    checkpoints = CheckpointStore(fs, directory / CHECKPOINTS, retention, warn=log.warning)
    began = time.monotonic()
    watchdog = sdnotify.Watchdog()
    options = ReplayOptions(
        prepare=check_terminated,
        progress=_replaying,
        alive=watchdog.feed_start,
        trial=partial(survives, lock, watchdog),
    )
    scan, recovered = examine(
        fs, directory, ModelSource(), checkpoints, deaths=deaths, repair=repair, options=options
    )
    _limit_row_cost(settings, recovered)
    _check_declared(settings, recovered)
    models_bytes = sum(state_bytes(hosted.model) for hosted in recovered.shard)
    budget = Budget(memory_bytes(settings), max(resident_bytes() - models_bytes, 0) + bytes_to_load())
    sockets = bind(settings.endpoints, frame_bytes(settings), queue_bytes(settings), access)
    stack.callback(sockets.close)
    http = stack.enter_context(gateway.bind(settings.http)) if settings.http.address else None
    journal = take_over(
        fs,
        directory,
        scan,
        checkpoints,
        recovered,
        segment_bytes=settings.journal.segment_bytes,
        repair=repair,
        warn=log.warning,
    )
    stack.callback(journal.close)
    for hosted in recovered.shard:
        if hosted.set_aside is not None:
            log.error(
                "a model is set aside; `streamlearn repair` can drop the record or the model",
                model=hosted.name,
                lsn=hosted.set_aside.lsn,
                reason=hosted.set_aside.reason,
            )
    log.info(
        "recovered %d models; replayed %d records (%d samples) in %.2f s",
        len(recovered.shard),
        recovered.records,
        recovered.rows,
        time.monotonic() - began,
    )
    daemon = Daemon(settings, journal, checkpoints, recovered, sockets, __version__, budget=budget)
    stack.callback(daemon.close)
    for declared in settings.models:
        if declared.name not in recovered.shard:
            daemon.write_operations.create(declared.name, declared.kind, declared.spec)
    _tune_interpreter()
    return daemon, http


def _serve(daemon: Daemon, http: socket.socket | None) -> int:
    """Announce the daemon and serve. Returns the exit code."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: daemon.loop.stop())
    signal.signal(signal.SIGHUP, lambda *_: daemon.loop.reload())
    check_terminated()
    context = daemon.context
    if context.sockets.access.reload_requested:
        daemon.loop.reload()  # wakes the first turn
    endpoints, settings = context.sockets.endpoints(), context.settings
    if http is not None:
        endpoints["http"] = gateway.url(settings.http, http)
        http.listen(socket.SOMAXCONN)  # requests wait until the gateway serves; none is refused
    shown = " ".join(f"{name}={endpoint}" for name, endpoint in endpoints.items())
    _announce(f"streamlearn ready {shown} data={settings.data_dir}\n")
    sdnotify.notify("READY=1")
    daemon.kernels.compile_rest()
    with ExitStack() as beside:
        if http is not None:
            key = context.sockets.access.server_key
            public = None if key is None else key.public
            command = gateway.command(settings.http, settings.log, http, endpoints["requests"], public)
            beside.enter_context(gateway.supervised(command, http))
        daemon.loop.run()
    sdnotify.notify("STOPPING=1")
    unsaved = daemon.unsaved_models()
    if unsaved:
        raise CheckpointsFailed(
            f"stopped, but the last checkpoint of {', '.join(unsaved)} could not be written (the log has the "
            "reason); nothing is lost: the next start replays the journal",
            models=unsaved,
        )
    log.info("stopped cleanly at record %d", context.journal.written_lsn)
    return 0


def _announce(line: str) -> None:
    """Write the ready line. The daemon serves also if nobody can read it."""
    try:
        sys.stdout.write(line)
        sys.stdout.flush()
    except OSError as error:  # its reader is gone, or its disk is full
        log.warning("can't write the ready line to standard output: %s", error)
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - Python flushes standard output at exit


def _replaying(lsn: int, end: int) -> None:
    log.info("replaying: at record %d of %d", lsn, end)
    sdnotify.notify(f"STATUS=replaying the journal: record {lsn} of {end}")


def _limit_row_cost(settings: Settings, recovered: Recovered) -> None:
    """Limit the cost of a row of new models, and warn of recovered ones with a higher cost."""
    limit = recovered.shard.max_row_cost = settings.limits.row_cost
    for hosted in recovered.shard:
        if hosted.row_cost > limit:
            log.warning(
                "a row of model %r may cost %d multiply-adds, more than limits.row_cost (%d). The model goes "
                "on, but each such row delays all clients; delete the model or raise the limit",
                hosted.name,
                hosted.row_cost,
                limit,
            )


def _check_declared(settings: Settings, recovered: Recovered) -> None:
    """Raise `BadConfig` if a declared model can't be created or exists with another spec; list all."""
    problems = []
    missing = sum(declared.name not in recovered.shard for declared in settings.models)
    if missing and len(recovered.shard) + missing > settings.limits.models:
        problems.append({"field": "models", "message": f"{missing} more than limits.models allows"})
    for declared in settings.models:
        if declared.name not in recovered.shard:
            try:
                model_kinds.valid_spec(declared.kind, declared.spec, settings.limits.row_cost)
            except StreamlearnError as error:
                problems.append({"field": f"models.{declared.name}", "message": error.message})
            continue
        existing = recovered.shard.find(declared.name).model
        if existing.kind != declared.kind:
            problems.append({"field": f"models.{declared.name}", "message": f"is a {existing.kind} already"})
            continue
        have = existing.spec_dict()
        want = model_kinds.valid_spec(declared.kind, declared.spec).model_dump(mode="json", by_alias=True)
        problems += [
            {
                "field": f"models.{declared.name}.spec.{name}",
                "message": f"declared as {want[name]!r}, but the model was created with {have.get(name)!r}",
            }
            for name in want
            if want[name] != have.get(name)
        ]
    if problems:
        details = "; ".join(f"{each['field']}: {each['message']}" for each in problems)
        raise BadConfig(
            f"declared models differ from those in the data directory: {details}; delete the model, "
            "or declare it with its existing spec",
            errors=problems,
        )


def _tune_interpreter() -> None:
    """Exclude all existing objects from garbage collection: they live until the process ends."""
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.collect()
    gc.freeze()
