"""Models with weight vectors in the space of the samples: SOM, competitive learning, growing neural gas."""
