"""The counts of a model that watches samples, int64 ``(3,)``. This module needs no Numba."""

LEFT = 0  # samples to watch after a drift alarm
COUNT = 1  # samples watched so far
PAUSED = 2  # 1 while learning is paused
WORDS = 3
