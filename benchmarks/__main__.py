"""``python -m benchmarks``: see `cli`."""

from __future__ import annotations

import os
import sys

# Before NumPy loads: one thread for every library.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

from .cli import main  # noqa: E402

sys.exit(main())
