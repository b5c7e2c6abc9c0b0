"""Pictures of a map by matplotlib (extra ``plots``): one square or hexagon per unit, row 0 on top."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import BadValue
from ..grids import centres

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SQUARE = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)])
_TIP, _SHOULDER = 1 / math.sqrt(3), 1 / math.sqrt(12)
_HEXAGON = np.array(
    [(0, -_TIP), (0.5, -_SHOULDER), (0.5, _SHOULDER), (0, _TIP), (-0.5, _SHOULDER), (-0.5, -_SHOULDER)]
)


class _Map(Protocol):
    spec: Any

    @property
    def inputs(self) -> int: ...
    @property
    def hits(self) -> NDArray[np.float64]: ...
    @property
    def prototypes(self) -> NDArray[np.float32]: ...
    @property
    def labels(self) -> NDArray[np.int32]: ...
    @property
    def label_names(self) -> list[str]: ...
    def u_matrix(self) -> NDArray[np.float32]: ...


class MapPlots:
    """Plots of a map.

    Each method draws on ``ax``, or on a new figure, and returns the axes. The units' values are the array of
    its one collection. Raises ImportError if matplotlib is not installed.
    """

    def plot_u_matrix(self: _Map, ax: Axes | None = None) -> Axes:
        """Draw the U-matrix: each unit's mean distance to its neighbours. Ridges separate clusters.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw. The default is a new figure.

        Returns
        -------
        matplotlib.axes.Axes
            The axes.
        """
        return _draw(self, self.u_matrix(), "mean distance to neighbours", ax)

    def plot_component(self: _Map, channel: int, ax: Axes | None = None) -> Axes:
        """Draw a component plane: each unit's value in one channel, in the stream's own units.

        Parameters
        ----------
        channel : int
            The channel, or a feature after them. Range: 0 to inputs − 1.
        ax : matplotlib.axes.Axes, optional
            Where to draw. The default is a new figure.

        Returns
        -------
        matplotlib.axes.Axes
            The axes.

        Raises
        ------
        BadValue
            If ``channel`` is out of its range.
        """
        if not 0 <= channel < self.inputs:
            raise BadValue(
                f"there is no channel {channel}; 0 … {self.inputs - 1} was expected", channel=channel
            )
        return _draw(self, self.prototypes[..., channel], f"channel {channel}", ax)

    def plot_hits(self: _Map, ax: Axes | None = None) -> Axes:
        """Draw the recent wins of each unit.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw. The default is a new figure.

        Returns
        -------
        matplotlib.axes.Axes
            The axes.
        """
        return _draw(self, self.hits, "recent wins", ax)

    def plot_labels(self: _Map, ax: Axes | None = None) -> Axes:
        """Draw the label of each unit, one colour per class. Units without a label stay empty.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw. The default is a new figure.

        Returns
        -------
        matplotlib.axes.Axes
            The axes.

        Raises
        ------
        BadValue
            If no unit can have a label yet.
        """
        classes = len(self.label_names)
        if classes == 0:
            raise BadValue("there are no labels to draw; give some with label(name, unit=…)")
        return _draw(self, np.ma.masked_less(self.labels, 0), "label", ax, classes)


def _draw(som: _Map, values: ArrayLike, label: str, ax: Axes | None, classes: int | None = None) -> Axes:
    """``classes``: the values are whole numbers below it, each with a colour of its own."""
    try:
        from matplotlib import pyplot as plt
        from matplotlib.collections import PolyCollection
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install 'streamlearn[plots]'") from error
    if ax is None:
        ax = plt.figure().add_subplot()
    rows, columns = som.spec.sides
    hexagonal = som.spec.topology == "hexagonal"
    places, shape = centres(rows, columns, hexagonal), _HEXAGON if hexagonal else _SQUARE
    units = PolyCollection(places[:, None] + shape, array=np.ravel(values), edgecolors="face")
    if classes is not None:
        units.set(cmap=plt.get_cmap("viridis", classes), clim=(-0.5, classes - 0.5))
    ax.add_collection(units)
    ax.set_aspect("equal")
    ax.autoscale_view()
    ax.yaxis.set_inverted(True)
    ax.set_axis_off()
    ax.figure.colorbar(units, ax=ax, label=label)
    return ax
