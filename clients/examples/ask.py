"""Query a model: ``python ask.py MODEL 4.1,12.3,60.2,0.1 [SAMPLE ...]``.

Each sample is a list of values, separated by commas. An empty value (``4.1,,60.2,0.1``) is a missing value.
"""

from __future__ import annotations

import asyncio
import os
import sys

from streamlearn_client import AsyncClient, StreamlearnError

ENDPOINT = os.environ.get("STREAMLEARN_ENDPOINT", "tcp://127.0.0.1:7700")


async def main(model: str, *arguments: str) -> None:
    samples = [[float(value) if value else None for value in text.split(",")] for text in arguments]
    async with AsyncClient(ENDPOINT, timeout=5) as client:
        description = await client.describe(model)
        print(f"{model}: kind {description['kind']}, {description['samples']} samples learned")
        out = await client.predict(model, samples)
    for row, text in enumerate(arguments):
        outputs = ", ".join(f"{name} {array[row]}" for name, array in out.arrays.items())
        print(f"{text}: {outputs}")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    try:
        asyncio.run(main(*sys.argv[1:]))
    except StreamlearnError as error:
        sys.exit(f"{error.code}: {error.message}")
