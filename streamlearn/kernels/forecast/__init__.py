"""Kernels of the forecaster that learns by recursive least squares.

Every channel has a forecaster of its own. ``records`` defines the arrays. ``features`` writes the features
z_t of a sample; ``state_net`` adds the state of a small GRU to them. ``rls`` learns the read-out of all
horizons. ``experts`` makes the naive forecasts, ``mix`` weighs them and the read-out, and ``bands`` puts an
interval of a stated coverage around the mixed forecast.

Entry point: ``forecaster``, which learns, watches and predicts.
"""
