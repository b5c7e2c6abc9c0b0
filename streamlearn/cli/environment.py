"""Environment variables. An unknown name that starts with ``STREAMLEARN_`` is an error: it may be a typo."""

from __future__ import annotations

import os
import re

from streamlearn import processor
from streamlearn.cli.errors import BadUsage
from streamlearn.spelling import hint

PREFIX = "STREAMLEARN_"
COMMAND_VARIABLES = frozenset(
    f"{PREFIX}{name}" for name in ("DEBUG", "ENDPOINT", "KEY", "KEY_FILE", "PROCESSOR", "SERVER_KEY")
)
"""The variables of all commands. The others are settings of the daemon."""

_of_kubernetes = re.compile(r"\w+_(SERVICE_HOST|SERVICE_PORT\w*|PORT(_\d+_\w+)?)").fullmatch
"""Variables that Kubernetes sets in every container for a service of this name."""


def check_environment() -> None:
    """Raise `BadUsage` for a variable ``STREAMLEARN_…`` that no command reads."""
    names = {name for name in os.environ if name.upper().startswith(PREFIX)} - COMMAND_VARIABLES
    names = {name for name in names if not _of_kubernetes(name)}
    if not names:
        return
    from streamlearn.daemon.config import variables

    known = COMMAND_VARIABLES | variables()
    for name in sorted(names):
        if name not in known:
            question = hint(name.upper(), known, "docs/reference/settings.md lists all", cutoff=0.5)
            raise BadUsage(f"unknown environment variable {name} ({question}); correct it or unset it")


def choose_processor() -> None:
    """Compile kernels for the processor that ``STREAMLEARN_PROCESSOR`` names. Raises `BadUsage`."""
    try:
        processor.choose()
    except processor.UnknownProcessor as error:
        raise BadUsage(str(error)) from None
