"""The forecasts that are mixed: persistence, for each season m two naive ones, and last the read-out.

    x_t                             persistence
    x_{t+h−m}                       seasonal naive
    x_t + x_{t+h−m} − x_{t−m}       seasonal naive, moved by the change since the season before

Where h > m, the newest whole season before t + h takes the place of x_{t+h−m}.
"""

from __future__ import annotations

from ..compiler import device
from .features import one_season_before
from .records import value_of


@device
def naive_forecast(channel, periods, number, h, q):
    """The forecast of expert ``q`` at sample ``number``, for sample ``number`` + ``h``."""
    last = value_of(channel, number)
    if q == 0:
        return last
    period = periods[(q - 1) // 2]
    season_ago = one_season_before(number, h, period)
    if season_ago < channel.first[0]:
        return last
    seasonal = value_of(channel, season_ago)
    if q % 2 == 1 or number - period < channel.first[0]:
        return seasonal
    return last + seasonal - value_of(channel, number - period)
