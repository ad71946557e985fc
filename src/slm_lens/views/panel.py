"""`Panel`: two axes, and the lines or cells, marks, rules and shades between them, as data.

Sizes, fonts and colours are not here but in a `Style`; inks name colours that it explains.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Float

from slm_lens.views.style import Ink


@dataclass(frozen=True, eq=False)
class Axis:
    """One axis, of one panel or of several.

    Attributes:
        label: what runs along it.
        unit: behind the label and behind numbers under the pointer; empty for none.
        is_log: logarithmic.
        low: where it begins; None for a little below the data.
        high: where it ends; None for a little above the data.
        ticks: where numbers stand; None for wherever they fit.
        names: what stands there instead of numbers.
    """

    label: str
    unit: str = ""
    is_log: bool = False
    low: float | None = None
    high: float | None = None
    ticks: tuple[float, ...] | None = None
    names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse names without places.

        Raises:
            ValueError: there is not one name for each tick.
        """
        if self.names is not None and len(self.names) != len(self.ticks or ()):
            raise ValueError(
                f"Axis: got {len(self.names)} names and {len(self.ticks or ())} ticks, expected "
                "one name for each tick."
            )

    @property
    def title(self) -> str:
        """Label and unit."""
        return f"{self.label}, {self.unit}" if self.unit else self.label


@dataclass(frozen=True, eq=False)
class Line:
    """A curve, with its band where it has one.

    Attributes:
        name: what it is, for the pointer.
        x: along the panel's x axis.
        y: along its y axis; NaN leaves a gap.
        ink: how it looks.
        low: lower end of the 95 % interval, the edge of the band; NaN or None for none.
        high: upper end.
        band: opacity of the band.
        entry: of a key; who hides that entry on the screen hides the line. None: its own name.
        details: more lines under the pointer, for each point.
    """

    name: str
    x: Float[np.ndarray, " point"]
    y: Float[np.ndarray, " point"]
    ink: Ink
    low: Float[np.ndarray, " point"] | None = None
    high: Float[np.ndarray, " point"] | None = None
    band: float = 0.15
    entry: str | None = None
    details: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse points without partners.

        Raises:
            ValueError: lengths differ, or a band has one edge.
        """
        parts = (self.y, self.low, self.high, self.details)
        lengths = [len(self.x), *(len(part) for part in parts if part is not None)]
        if len(set(lengths)) > 1 or (self.low is None) != (self.high is None):
            raise ValueError(
                f"Line {self.name!r}: got parts of {lengths} points and a band with low and high "
                f"given: {self.low is not None}, {self.high is not None}; expected equal lengths, "
                "and both edges or none."
            )


@dataclass(frozen=True, eq=False)
class Mark:
    """One point with a few words at it.

    Attributes:
        x: along the x axis.
        y: along the y axis.
        ink: colour and marker.
        text: what stands at it.
        is_below: the text stands below the point.
        entry: as in `Line`.
    """

    x: float
    y: float
    ink: Ink
    text: str = ""
    is_below: bool = False
    entry: str | None = None


@dataclass(frozen=True, eq=False)
class Rule:
    """A line right across a panel.

    Attributes:
        at: where on the axis that it crosses.
        axis: the axis that it crosses: ``"x"`` makes it upright.
        ink: how it looks.
        text: stands above an upright rule.
    """

    at: float
    axis: Literal["x", "y"]
    ink: Ink
    text: str = ""


@dataclass(frozen=True, eq=False)
class Shade:
    """A grey part of a panel, from one place of the x axis to another.

    Attributes:
        low: where it begins.
        high: where it ends.
        text: stands at its upper end.
    """

    low: float
    high: float
    text: str = ""


@dataclass(frozen=True, eq=False)
class HeatMap:
    """Cells in rows (upwards from 0) and columns (from 0), coloured by the chart's `Scale`.

    Attributes:
        cells: values; NaN where there is none.
        text: what stands in each cell; None for nothing.
        details: what stands under the pointer instead of the value, in lines, for each cell.
        frames: row, column and colour of cells with a frame.
    """

    cells: Float[np.ndarray, "row column"]
    text: tuple[tuple[str, ...], ...] | None = None
    details: tuple[tuple[str, ...], ...] | None = None
    frames: tuple[tuple[int, int, str], ...] = ()

    def __post_init__(self) -> None:
        """Refuse words without cells.

        Raises:
            ValueError: texts or details are not as many as cells.
        """
        for name, words in (("text", self.text), ("details", self.details)):
            if words is None:
                continue
            lengths = [len(row) for row in words]
            if lengths != [self.cells.shape[1]] * len(self.cells):
                raise ValueError(
                    f"HeatMap: got {name} in rows of {lengths} for cells of shape "
                    f"{self.cells.shape}, expected one for each cell."
                )


@dataclass(frozen=True, eq=False)
class Panel:
    """One pair of axes and what is drawn between them.

    Attributes:
        x: the axis to the right.
        y: the axis upwards.
        title: above it.
        subtitle: in grey, between title and panel.
        lines: curves; later ones lie above earlier ones.
        marks: points.
        rules: behind the lines.
        shades: behind everything.
        heat: cells.
        key: inks by what they mean, inside the panel.
    """

    x: Axis
    y: Axis
    title: str = ""
    subtitle: str = ""
    lines: tuple[Line, ...] = ()
    marks: tuple[Mark, ...] = ()
    rules: tuple[Rule, ...] = ()
    shades: tuple[Shade, ...] = ()
    heat: HeatMap | None = None
    key: Mapping[str, Ink] = field(default_factory=dict)


def layer_axis(n_layers: int, label: str = "layer (0 = embedding)") -> Axis:
    """An axis of layers with ten numbers at most.

    Args:
        n_layers: the last layer.
        label: what a layer is.

    Returns:
        The axis.
    """
    step = next(s for s in (1, 2, 4, 5, 10, 20, 50, 100) if n_layers / s <= 10)
    return Axis(label, ticks=tuple(float(i) for i in range(0, n_layers + 1, step)))
