"""The forecasts that are mixed: two naive ones, for each season m three more, and last the read-out.

    x_t                                         persistence
    x_t + h·d                                   persistence with the drift d, see ``features.py``
    x_{t+h−m}                                   seasonal naive
    x_t + x_{t+h−m} − x_{t−m}                   seasonal naive, moved by the change since the season before
    median of x_{t+h−m}, x_{t+h−2m}, x_{t+h−3m} seasonal naive that one bad season does not change

Where h > m, the newest whole season before t + h takes the place of x_{t+h−m}.
"""

from __future__ import annotations

from ..compiler import device
from .features import one_season_before
from .records import DRIFT, value_of
from .sizes import GENERAL, PER_SEASON


@device
def naive_forecast(channel, periods, number, h, q):
    """The forecast of expert ``q`` at sample ``number``, for sample ``number`` + ``h``."""
    last = value_of(channel, number)
    if q == 0:
        return last
    if q == 1:
        return last + h * channel.origins[number % channel.origins.shape[0], DRIFT]
    period, first = periods[(q - GENERAL) // PER_SEASON], channel.first[0]
    season_ago = one_season_before(number, h, period)
    if season_ago < first:
        return last
    seasonal = value_of(channel, season_ago)
    which = (q - GENERAL) % PER_SEASON
    if which == 1 and number - period >= first:
        return last + seasonal - value_of(channel, number - period)
    if which == 2 and season_ago - 2 * period >= first:
        earlier, earliest = value_of(channel, season_ago - period), value_of(channel, season_ago - 2 * period)
        low, high = min(seasonal, earlier), max(seasonal, earlier)
        return max(low, min(high, earliest))
    return seasonal
