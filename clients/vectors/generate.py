"""Write the golden vectors into this folder: ``python -m clients.vectors.generate``.

The headers are written out in this package, so the vectors do not depend on a codec.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .answers import events, replies
from .refused import refused
from .requests import requests, requests_read

HERE = Path(__file__).parent


def to_json(value: Any) -> Any:
    """Return ``value`` as an exact JSON value (see README.md)."""
    if isinstance(value, dict):
        return {key: to_json(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [to_json(entry) for entry in value]
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, float) and value != value:
        return None
    if type(value) is int and abs(value) > 2**53:
        return str(value)
    return value


def files() -> dict[str, str]:
    """Return the content of all files by name."""
    makers = (requests, requests_read, replies, events, refused)
    content = {}
    for make in makers:
        entries = []
        for vector in make():
            frames = [frame.hex() for frame in vector.pop("frames")]
            entries.append({"name": vector.pop("name"), "frames": frames, **to_json(vector)})
        content[f"{make.__name__}.json"] = json.dumps(entries, indent=1, ensure_ascii=False) + "\n"
    return content


if __name__ == "__main__":
    for name, text in files().items():
        (HERE / name).write_text(text, encoding="utf-8")
