"""Write the parameters of every kind of model for the page's form: ``python -m tools.kinds``.

The gateway imports no engine, so it cannot ask the specs. A test checks that the file is current.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import streamlearn
from streamlearn.registry import MODELS

FILE = Path(__file__).parents[1] / "streamlearn/gateway/page/kinds.json"


def kinds() -> dict[str, list[dict[str, Any]]]:
    """Return for each kind its parameters: name, default (none: required) and description."""
    found = {}
    for row in MODELS:
        schema = getattr(streamlearn, row.name).Spec.model_json_schema()
        required = schema.get("required", [])
        found[row.kind] = [
            {"name": name, "text": _first_sentence(field.get("description", ""))}
            | ({} if name in required else {"default": field.get("default")})
            for name, field in schema["properties"].items()
        ]
    return found


def _first_sentence(description: str) -> str:
    sentence = re.split(r"(?<=[.:])\s", description, maxsplit=1)[0]
    return sentence.rstrip(":")


def text() -> str:
    """Return the content of the file."""
    return json.dumps(kinds(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
