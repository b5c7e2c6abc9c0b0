"""A daemon's context for tests of one part: only the collaborators that the test provides."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from streamlearn.daemon.context import Context
from streamlearn.daemon.limits.budget import Budget
from streamlearn.daemon.runtime import Runtime


def context_of(**collaborators: Any) -> Context:
    """A context in which all other collaborators except these two are `None`, so that using one fails."""
    missing = dict.fromkeys(field.name for field in fields(Context))
    return Context(**(missing | {"runtime": Runtime(), "budget": Budget(1 << 30)} | collaborators))
