"""Kernels of recurrent networks.

``memory_layout`` defines where every value is stored, ``records`` which arguments belong together. ``elman``,
``lstm`` and ``gru`` are the cells, ``rtu`` the units that learn without a window; they use the ``products``
of weights and values. ``network`` stacks cells, adds the read-out and computes the gradient of the ``loss``.
``bidirectional_network`` does the same for two directions. ``lags`` measures how far back a gradient reaches.
``optimizers`` applies the gradient.
``evaluation`` scales, scores and counts errors.

Entry points: ``tbptt`` (training forward in time, on ``windows``), ``bidirectional`` (training on ``chunks``,
in both directions) and ``rollout`` (prediction from the live state).
"""
