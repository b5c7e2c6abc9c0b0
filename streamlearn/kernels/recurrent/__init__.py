"""Recurrent networks: their layout in memory, cells, training by TBPTT or in chunks, optimizers, evaluation
and rollout."""
