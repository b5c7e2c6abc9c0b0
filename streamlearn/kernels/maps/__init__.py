"""Learners with weight vectors in the space of the samples: SOM, competitive learning, growing neural gas.
Also their common parts: the search for the winner, ranks, the grid, initial weights."""
