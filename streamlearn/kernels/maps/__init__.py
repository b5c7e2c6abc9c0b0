"""Learners with weight vectors in the space of the samples: SOM, competitive learning, growing neural
gas; and what they share: the search for the winner, the grid, initial weights."""
