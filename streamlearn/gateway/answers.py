"""Answers: JSON with an end of line, so that a terminal shows each on lines of its own."""

from __future__ import annotations

from typing import Any

from fastapi.responses import JSONResponse


class JsonLine(JSONResponse):
    """JSON with an end of line."""

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return super().render(content) + b"\n"
