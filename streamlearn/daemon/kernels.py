"""Kernels in the daemon: those of a kind are loaded before its first model is created.

Before the daemon serves, `ModelSource` loads them. While it serves, `KernelLoader` does this on a thread: the
`create` and all later requests for the same model wait, and all other requests go on.

A cold start compiles only what its models need. `KernelLoader` compiles the rest beside serving, in a process
of the lowest priority.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from streamlearn import kernels, logs, models
from streamlearn.daemon.context import Context
from streamlearn.daemon.limits.system_memory import release_code
from streamlearn.daemon.worker import Worker
from streamlearn.errors import Busy, ShuttingDown
from streamlearn.kernels import Compilation, compiler, lazy
from streamlearn.kernels.stream import receiving
from streamlearn_client.protocol import Learn, Request
from streamlearn_client.protocol.messages import ARRAYS

if TYPE_CHECKING:
    from streamlearn.models import Model
    from streamlearn.models.base import Spec

log = logs.get_logger(__name__)

MOST_WAITING = 1000  # requests
MOST_BYTES = 16 << 20  # of their arrays and headers
HEADER_FACTOR = 8  # memory of a decoded header per byte: a list of numbers takes about so much
KERNEL_BYTES = 64 << 20  # of all kernels, when they are loaded
COMPILER_BYTES = 64 << 20  # of Numba and LLVM, which are loaded with the first kernel
LLVM = "libllvmlite"

Resume = Callable[[], None]
Run = Callable[[Compilation], None]


def bytes_to_load() -> int:
    """Return the memory that kernels may need beyond what the process has now."""
    return KERNEL_BYTES + (0 if lazy.executed(compiler) else COMPILER_BYTES)


def load(kind: str, spec: Spec | None = None, run: Run = Compilation.run) -> None:
    """Load the kernels of a kind. If the cache lacks some, compile and load those for ``spec`` only."""
    began = time.monotonic()
    started: list[str] = []

    def progress(name: str, done: int, total: int) -> None:
        started.append(name)
        log.info("compiling kernel %d of %d for the kind %s, %s", done + 1, total, kind, name)

    run(models.kernel_compilation(kind, spec, progress=progress, others=[receiving]))
    if spec is not None and not models.kernel_compilation(kind).names:
        spec = None  # the cache has all
    models.load_kernels(kind, spec)
    compiler.ready(receiving)  # receives the batches of models, see `intake/drain.py`
    release_code(LLVM)  # 50 MB that only loads and compilations run
    if started:
        seconds = time.monotonic() - began
        log.info("compiled the kernels of the kind %s in %.0f s; later starts load them", kind, seconds)


class ModelSource:
    """`streamlearn.models`, with the kernels loaded before a model is created."""

    def create(self, kind: str, spec: Mapping[str, Any], max_row_cost: int | None = None) -> Model:
        """Create a new model. Raises `BadSpec`."""
        models.class_of(kind)  # an unknown kind loads no more than this
        if not models.kernels_loaded(kind):
            valid = models.valid_spec(kind, spec, max_row_cost)
            if not models.kernels_loaded(kind, valid):
                load(kind, valid)
        return models.create(kind, spec, max_row_cost)

    def from_arrays(self, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> Model:
        """Create a model from all arrays of a checkpoint. Raises `BadCheckpoint`."""
        kind = metadata.get("kind", "")
        if not models.kernels_loaded(kind):
            load(kind)
        return models.from_arrays(arrays, metadata)


class KernelLoader:
    """Loads kernels while the daemon serves. All methods are called on the loop's thread."""

    def __init__(self, context: Context) -> None:
        self._shard = context.shard
        self._thread = context.runtime.thread
        self._worker = Worker(context.self_pipe, "kernels", context.runtime)
        self._waiting: dict[str, list[tuple[Resume, int]]] = {}  # by model, each with its bytes
        self._bytes = 0  # of all that wait
        self._loading: Compilation | None = None
        self._rest: Compilation | None = None
        self._stopping = False

    @property
    def idle(self) -> bool:
        """Whether no request waits."""
        return not self._waiting

    def must_wait(self, request: Request | Learn) -> bool:
        """Whether the request creates a model of a kind without kernels, or is for such a model."""
        if self._waiting and request.model in self._waiting:
            return True
        if isinstance(request, Learn) or request.op != "create" or request.model in self._shard:
            return False
        return not models.kernels_loaded(request.fields["kind"])

    def wait(self, request: Request | Learn, header_bytes: int, resume: Resume) -> None:
        """Call `resume` when the kernels are loaded, or when they can't be. Raises `Busy`.

        `header_bytes` is the length of the request's header.
        """
        arrays = (getattr(request, name, None) for name in ARRAYS)
        size = HEADER_FACTOR * header_bytes + sum(array.nbytes for array in arrays if array is not None)
        if sum(map(len, self._waiting.values())) >= MOST_WAITING or self._bytes + size > MOST_BYTES:
            raise Busy(
                "too many requests wait until kernels are compiled; send this again later",
                limit="requests that wait for kernels",
            )
        self._bytes += size
        if request.model in self._waiting:
            self._waiting[request.model].append((resume, size))
            return
        assert isinstance(request, Request)  # the `create`
        self._waiting[request.model] = [(resume, size)]
        kind, spec = request.fields["kind"], request.fields.get("spec", {})
        if not {"state", "parameters"}.isdisjoint(request.fields):
            spec = None  # it is in the file, or a part of it follows from the parameters
        self._worker.submit(partial(self._load, kind, spec), partial(self._loaded, request.model))

    def collect(self) -> None:
        """Continue with requests whose kernels are loaded."""
        self._worker.collect()

    def shut_down(self) -> None:
        """Refuse the requests that wait, and compile no more."""
        self._stopping = True
        self._stop_compilers()
        for model in list(self._waiting):
            self._resume(model)

    def close(self) -> None:
        """End the threads."""
        self._stopping = True
        self._stop_compilers()
        self._worker.stop()

    def compile_rest(self) -> None:
        """Compile all kernels that the cache does not hold, beside serving."""
        self._thread(target=self._compile_rest, name="compiler", daemon=True).start()

    def _compile_rest(self) -> None:
        """Runs on a thread of its own: looking for the kernels in the cache takes 0.1 s too."""
        missing = kernels.not_cached()
        if not missing:
            return

        def progress(name: str, done: int, total: int) -> None:
            log.info("compiling kernel %d of %d beside serving, %s", done + 1, total, name)

        rest = self._rest = Compilation(missing, progress, beside=True)
        if self._stopping:  # after `_rest` is set, which a stop ends
            return
        rest.run()
        if not rest.stopped:
            log.info("all kernels are compiled; later starts load them")

    def _load(self, kind: str, spec: Mapping[str, Any] | None) -> None:
        """Runs on the worker."""
        valid = None if spec is None else models.valid_spec(kind, spec)
        load(kind, valid, self._run)

    def _run(self, compilation: Compilation) -> None:
        """Runs on the worker."""
        self._loading = compilation
        if not self._stopping:
            compilation.run()
        if self._stopping:
            raise ShuttingDown("the daemon is shutting down; its kernels are not compiled")

    def _loaded(self, model: str, result: None, error: Exception | None) -> None:
        if error is not None:
            log.debug("the kernels of a new model are not loaded", model=model, reason=str(error))
        self._resume(model)

    def _resume(self, model: str) -> None:
        for resume, size in self._waiting.pop(model, ()):
            self._bytes -= size
            resume()

    def _stop_compilers(self) -> None:
        for compilation in (self._loading, self._rest):
            if compilation is not None:
                compilation.stop()
