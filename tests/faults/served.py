"""A daemon in a process that is forked from one that has imported everything: it starts in a moment.

`multiprocessing` keeps the process to fork from. So a test can start and kill a daemon a thousand times.
"""

from __future__ import annotations

import os
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from streamlearn.daemon import lifecycle
from streamlearn.daemon.config import Settings
from streamlearn.kernels import compile_all

compile_all(lambda *_: None)  # in the process that is forked, once


def _serve(directory: Path, settings: dict[str, Any]) -> None:
    with (directory / "log").open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    endpoints = {name: f"ipc://{directory}/{name}" for name in ("requests", "firehose", "events")}
    os._exit(lifecycle.run(Settings(data_dir=directory / "data", endpoints=endpoints, **settings)))


def start(directory: Path, settings: dict[str, Any]) -> BaseProcess:
    """Start a daemon on the directory; its requests endpoint is ``ipc://<directory>/requests``."""
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=_serve, args=(directory, settings), daemon=True)
    process.start()
    return process
