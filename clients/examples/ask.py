"""Ask a live model about samples: ``python ask.py MODEL 4.1,12.3,60.2,0.1 [MORE…]``.

Each sample is its values with commas between them; leave one out (``4.1,,60.2,0.1``) if it is missing.
"""

from __future__ import annotations

import asyncio
import os
import sys

from streamlearn_client import AsyncClient, StreamlearnError

ENDPOINT = os.environ.get("STREAMLEARN_ENDPOINT", "tcp://127.0.0.1:7700")


async def main(model: str, *texts: str) -> None:
    samples = [[float(value) if value else None for value in text.split(",")] for text in texts]
    async with AsyncClient(ENDPOINT, timeout=5) as client:
        description = await client.describe(model)
        print(f"{model}: a {description['kind']} that has learned {description['samples']} samples")
        out = await client.predict(model, samples)
    for row, text in enumerate(texts):
        said = ", ".join(f"{name} {array[row]}" for name, array in out.arrays.items())
        print(f"{text}: {said}")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    try:
        asyncio.run(main(*sys.argv[1:]))
    except StreamlearnError as error:
        sys.exit(f"{error.code}: {error.message}")
