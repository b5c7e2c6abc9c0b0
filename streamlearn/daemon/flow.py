"""A request that waits several times, as one generator.

The generator yields what it waits for: a function that gets `resume` and arranges exactly one call
`resume(result, error)`, at once or later. The result is the value of the `yield`; an error is raised there.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeAlias

from streamlearn.errors import FatalError

Resume: TypeAlias = Callable[[Any, Exception | None], None]
Wait: TypeAlias = Callable[[Resume], None]
Flow: TypeAlias = Generator[Wait, Any, None]


def run(flow: Flow, done: Callable[[Exception | None], None]) -> None:
    """Run a flow on the loop's thread, and call `done` at its end. A `FatalError` is raised instead."""

    def resume(result: Any, error: Exception | None) -> None:
        try:
            wait = flow.send(result) if error is None else flow.throw(error)
        except StopIteration:
            done(None)
        except FatalError:
            raise
        except Exception as problem:  # noqa: BLE001 - `done` reports it
            done(problem)
        else:
            wait(resume)

    resume(None, None)
