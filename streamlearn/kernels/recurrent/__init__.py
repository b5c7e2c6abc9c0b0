"""Kernels of recurrent networks.

``memory_layout`` defines where every value is stored. ``elman``, ``lstm`` and ``gru`` are the cells.
``network`` stacks cells, adds the read-out and computes the gradient. ``optimizers`` applies the gradient.
``evaluation`` scales, scores and counts errors. Entry points: ``tbptt`` (training forward in time),
``bidirectional`` (training in chunks, both directions) and ``rollout`` (prediction from the live state).
"""
