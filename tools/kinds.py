"""Write the parameters of every kind of model for the page's form: ``python -m tools.kinds``.

The gateway imports no engine, so it cannot ask the specs. A test checks that the file is current.
"""

from __future__ import annotations

import inspect
import json
import re
from math import inf
from pathlib import Path
from typing import Any

import streamlearn
from streamlearn.models.stream.alarm_spec import Alarm
from streamlearn.models.stream.features import Features
from streamlearn.models.stream.schedules import Decay
from streamlearn.registry import MODELS

PARTS = {each.__name__: each for each in (Alarm, Features, Decay)}
"""Classes of parameters that have parameters of their own; the schema has no text for these."""
LIMITS = {"minimum": "min", "maximum": "max"}
HUGE = 2**53
"""A limit from which on JavaScript's numbers are not exact is left to the daemon."""
_PARAMETER = re.compile(r"^(\w+?)_? : .*\n((?: {4,}.*\n?)+)", re.M)
FILE = Path(__file__).parents[1] / "streamlearn/gateway/page/kinds.json"


def kinds() -> dict[str, list[dict[str, Any]]]:
    """Return for each kind its parameters: name, default (none: required), description and input."""
    return {row.kind: _fields(getattr(streamlearn, row.name).Spec.model_json_schema()) for row in MODELS}


def _fields(
    schema: dict[str, Any], definitions: dict[str, Any] | None = None, documentation: str = ""
) -> list[dict[str, Any]]:
    definitions = definitions or schema.get("$defs", {})
    required = schema.get("required", [])
    documented = dict(_PARAMETER.findall(documentation))
    return [
        {"name": name, "text": _first_sentence(field.get("description") or documented.get(name, ""))}
        | ({} if name in required else {"default": field.get("default")})
        | {"input": _input(field, definitions)}
        for name, field in schema["properties"].items()
    ]


def _input(field: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Return how a value is entered: ``choices``, ``number``, ``list``, ``fields`` of an object, or ``json``.

    ``none``: the value may be none.
    """
    alternatives = field.get("anyOf", [field])
    some = [each for each in alternatives if each.get("type") != "null"]
    none = {"none": True} if len(some) < len(alternatives) else {}
    return (_one_input(some[0], definitions) if len(some) == 1 else {"type": "json"}) | none


def _one_input(field: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    kind = field.get("type")
    if "enum" in field:
        return {"type": "choices", "choices": field["enum"]}
    if kind == "boolean":
        return {"type": "choices", "choices": [True, False]}
    if kind in ("integer", "number"):
        limits = {short: field[name] for name, short in LIMITS.items() if abs(field.get(name, inf)) < HUGE}
        return {"type": "number", "step": 1 if kind == "integer" else "any"} | limits
    if kind == "array":
        items = field.get("items") or field.get("prefixItems", [{}])[0]
        if items.get("type") in ("string", "integer", "number"):
            return {"type": "list", "of": items["type"]}
    if "$ref" in field:
        name = field["$ref"].split("/")[-1]
        documentation = inspect.cleandoc(PARTS[name].__doc__ or "")
        return {"type": "fields", "fields": _fields(definitions[name], definitions, documentation)}
    return {"type": "json"}


def _first_sentence(description: str) -> str:
    sentence = re.split(r"(?<=[.:])\s", " ".join(description.split()), maxsplit=1)[0]
    return sentence.rstrip(":")


def text() -> str:
    """Return the content of the file."""
    lists = []
    for kind, fields in kinds().items():
        lines = ",\n".join(json.dumps(each, ensure_ascii=False) for each in fields)
        lists.append(f"{json.dumps(kind)}: [\n{lines}\n]")
    return "{\n" + ",\n".join(lists) + "\n}\n"


if __name__ == "__main__":
    FILE.write_text(text())
