"""The gateway of `serve --http`: a child process, which is started again when it ends.

The daemon binds the address and the child inherits the listening socket. So a taken port is an error of the
start, the ready line has the real address, and requests wait while the child is started again. The child's
standard input is a pipe: the child stops when the pipe ends, also if the daemon is killed.
"""

from __future__ import annotations

import errno
import importlib.util
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from streamlearn import logs
from streamlearn.access.hosts import host_and_port, is_local
from streamlearn.daemon.config import Http, Log
from streamlearn.errors import BadConfig, InsecureBind, PortTaken, StartupError

log = logs.get_logger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0  # seconds before the next start; each is twice the one before
STEADY_SECONDS = 60.0  # after the child has run for so long, the next pause is the first one
STOP_SECONDS = 5.0  # for the last answers; then the child is killed
TAKEN_SECONDS = 3.0  # how long the child of a daemon that was killed may hold the address
NEEDED = "fastapi", "uvicorn", "httptools", "websockets", "prometheus_client"
# The child has its own key, and does not report to systemd.
NOT_INHERITED = frozenset(
    "STREAMLEARN_ENDPOINT STREAMLEARN_SERVER_KEY STREAMLEARN_KEY STREAMLEARN_KEY_FILE"
    " NOTIFY_SOCKET WATCHDOG_USEC WATCHDOG_PID".split()
)


def bind(settings: Http) -> socket.socket:
    """Return a socket at the address, which does not listen yet.

    Raises
    ------
    BadConfig
        If the libraries of the gateway are not installed.
    InsecureBind
        If other hosts reach the address, and there are no tokens.
    PortTaken, StartupError
        If the address is in use, or cannot be bound.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise BadConfig(
            f"--http (http.address) needs {', '.join(missing)}, which is not installed: pip install"
            " 'streamlearn[gateway]'"
        )
    address = settings.address
    host, port = host_and_port(address)
    if not settings.tokens and not is_local(host):
        raise InsecureBind(
            f"http at {address} would accept everybody on the network: make a token with `streamlearn token"
            " NAME` and set http.tokens to its file, or use 127.0.0.1",
            endpoint=address,
        )
    deadline = time.monotonic() + TAKEN_SECONDS
    while True:
        try:
            return _bound(host, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                reason = error.strerror or str(error)
                raise StartupError(f"http: can't bind {address}: {reason}", endpoint=address) from None
            if time.monotonic() > deadline:
                raise PortTaken(
                    f"http: another process listens at {address}; stop it, or choose another address (port 0"
                    " chooses a free one)",
                    endpoint=address,
                ) from None
            time.sleep(0.05)


def _bound(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


def url(settings: Http, bound: socket.socket) -> str:
    """Return the address as clients use it, with the real number of the port."""
    host, port = bound.getsockname()[:2]
    return f"{'https' if settings.certificate else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def command(
    settings: Http, logged: Log, bound: socket.socket, requests: str, server_key: str | None
) -> list[str]:
    """Return the command of the child.

    Parameters
    ----------
    settings, logged
        The sections `http` and `log` of the settings.
    bound
        The socket that the child inherits.
    requests, server_key
        The daemon's endpoint, and its public key.
    """
    for wildcard, local in (("//0.0.0.0:", "//127.0.0.1:"), ("//[::]:", "//[::1]:")):
        requests = requests.replace(wildcard, local)
    options = {
        "--inherited": str(bound.fileno()),
        "--endpoint": requests,
        "--server-key": server_key,
        "--key-file": settings.key_file,
        "--tokens": settings.tokens,
        "--rules": settings.rules,
        "--certificate": settings.certificate,
        "--private-key": settings.private_key,
        "--alarms": settings.alarms,
        "--log-level": logged.level,
        "--log-format": logged.format,
    }
    given = [word for name, value in options.items() if value for word in (name, value)]
    return [sys.executable, "-m", "streamlearn", "gateway", "--http", settings.address, *given]


@contextmanager
def supervised(command: Sequence[str], bound: socket.socket) -> Iterator[None]:
    """Run the gateway beside the body of the `with` statement."""
    supervisor = Supervisor(command, bound)
    try:
        yield
    finally:
        supervisor.stop()


class Supervisor:
    """A thread that starts the child, waits for its end, and starts it again after a pause."""

    def __init__(self, command: Sequence[str], bound: socket.socket) -> None:
        self._command, self._bound = command, bound
        self._stopping = threading.Event()
        self._lock = threading.Lock()  # between a start and `stop`
        self._child: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._run, name="gateway", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the child and the thread."""
        with self._lock:
            self._stopping.set()
            child = self._child
        if child is not None:
            child.terminate()
            self._thread.join(STOP_SECONDS)
            child.kill()
        self._thread.join()

    def _run(self) -> None:
        pause = FIRST_PAUSE
        while not self._stopping.is_set():
            began = time.monotonic()
            code = None
            try:
                code = self._run_once()
            except Exception:  # for example no memory, or too many processes
                log.exception("can't start the gateway")
            if time.monotonic() - began > STEADY_SECONDS:
                pause = FIRST_PAUSE
            if self._stopping.is_set():
                return
            log.error("the gateway ended; the daemon goes on", exit_code=code, next_start_seconds=pause)
            self._stopping.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _run_once(self) -> int | None:
        """Start the child and wait for its end. Returns its exit code."""
        with self._lock:
            if self._stopping.is_set():
                return None
            self._child = child = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,  # ends with this process
                stdout=subprocess.PIPE,
                text=True,
                pass_fds=[self._bound.fileno()],
                env={name: value for name, value in os.environ.items() if name not in NOT_INHERITED},
                process_group=0,  # Ctrl-C is for the daemon, which ends the child last
            )
        with child:
            assert child.stdout is not None
            for line in child.stdout:
                log.info(line.strip(), pid=child.pid)
            return child.wait()
