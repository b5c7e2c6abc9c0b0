"""Write the parameters of every kind of model for the page's form: ``python -m tools.kinds``.

The gateway imports no engine, so it cannot ask the specs. A test checks that the file is current.
"""

from __future__ import annotations

import inspect
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
        model = getattr(streamlearn, row.name)
        described = _descriptions(inspect.getdoc(model) or "")
        schema = model.Spec.model_json_schema()
        required = schema.get("required", [])
        found[row.kind] = [
            {"name": name, "text": described.get(name, "")}
            | ({} if name in required else {"default": field.get("default")})
            for name, field in schema["properties"].items()
        ]
    return found


def _descriptions(docstring: str) -> dict[str, str]:
    """Return the first sentence of each parameter of a numpydoc docstring."""
    texts: dict[str, str] = {}
    entry = re.compile(r"^(\w[\w, ]*) : [^\n]*\n((?:^    [^\n]*\n|^\n)+)", re.MULTILINE)
    for names, text in entry.findall(docstring + "\n"):
        sentence = re.split(r"(?<=[.:])\s", " ".join(text.split()), maxsplit=1)[0]
        texts |= dict.fromkeys(names.split(", "), sentence.rstrip(":"))
    return texts


def text() -> str:
    """Return the content of the file."""
    return json.dumps(kinds(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
