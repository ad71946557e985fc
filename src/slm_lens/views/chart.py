"""`Chart`: a figure as data, drawn for print by matplotlib and for the screen by Plotly.

A chart is a grid of panels; a panel has two axes and lines with bands, or a heat map, and marks,
rules and shades on it. It knows what is drawn, not how: sizes, fonts and colours are a `Style`.
Panels that hold the same `Axis` object share it: one range, and labels on the outer ones only.

```python
chart = slm_lens.phases_figure(phases)  # in a notebook: interactive, and without a network
chart.save(Path("phases"))  # phases.png and phases.svg, for a paper
chart.plotly().update_layout(width=600)  # a plotly.graph_objects.Figure
replace(chart, width_inches=3.35)  # another size
```
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float

from slm_lens.views.page import View
from slm_lens.views.style import Ink, ScaleName, Style

if TYPE_CHECKING:
    from matplotlib.figure import Figure as MatplotlibFigure
    from plotly.graph_objects import Figure as PlotlyFigure

COLUMN_INCHES, PAGE_INCHES = 3.35, 7.0  # one column of a two-column paper, and both


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
class Scale:
    """What the colours of cells mean, in all panels of a chart.

    Attributes:
        label: what is coloured.
        low: value of the first colour.
        high: value of the last one.
        unit: behind the label.
        colours: ``"effect"`` for what has a sign, ``"amount"`` for what has none.
        ticks: where numbers stand; None for wherever they fit.
        names: what stands there instead.
    """

    label: str
    low: float
    high: float
    unit: str = ""
    colours: ScaleName = "effect"
    ticks: tuple[float, ...] | None = None
    names: tuple[str, ...] | None = None

    @property
    def title(self) -> str:
        """Label and unit."""
        return f"{self.label}, {self.unit}" if self.unit else self.label


@dataclass(frozen=True, eq=False)
class Key:
    """What inks mean, above or below all panels.

    Attributes:
        entries: inks by what they mean.
        place: where it stands.
        n_columns: entries side by side.
    """

    entries: Mapping[str, Ink]
    place: Literal["above", "below"] = "above"
    n_columns: int = 4


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


@dataclass(frozen=True, eq=False)
class Chart:
    """A whole figure.

    Attributes:
        rows: panels, row by row from above; None for an empty place.
        title: what it shows, as a heading.
        description: the same in a sentence, for those who do not see it.
        width_inches: in print.
        height_inches: in print.
        keys: above and below the panels.
        scale: of the heat maps.
        row_heights: of the rows, relative to each other; None for equal ones.
    """

    rows: tuple[tuple[Panel | None, ...], ...]
    title: str
    description: str
    width_inches: float
    height_inches: float
    keys: tuple[Key, ...] = ()
    scale: Scale | None = None
    row_heights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse what is no grid, and cells without a scale.

        Raises:
            ValueError: rows of unequal length, no panel, or cells without a scale.
        """
        lengths = [len(row) for row in self.rows]
        heights = len(self.row_heights or self.rows)
        if len(set(lengths)) != 1 or heights != len(self.rows) or not self.panels:
            raise ValueError(
                f"Chart: got rows of {lengths} panels and {heights} heights, expected rows of one "
                "length, with at least one panel, and one height for each."
            )
        if self.scale is None and any(panel.heat for panel in self.panels):
            raise ValueError("Chart: got cells without a scale, expected what their colours mean.")

    @property
    def panels(self) -> tuple[Panel, ...]:
        """All panels, row by row."""
        return tuple(panel for row in self.rows for panel in row if panel is not None)

    def is_labelled(self, place: tuple[int, int], which: Literal["x", "y"]) -> bool:
        """Whether a panel carries numbers and label of an axis, or its neighbour does.

        Args:
            place: row and column of the panel.
            which: the axis.

        Returns:
            False if the next panel below, or to the left, has the same axis.
        """
        row, column = place
        here = self.rows[row][column]
        if which == "x":
            there = self.rows[row + 1][column] if row + 1 < len(self.rows) else None
            return here is None or there is None or here.x is not there.x
        there = self.rows[row][column - 1] if column else None
        return here is None or there is None or here.y is not there.y

    def matplotlib(self, *, style: Style | None = None) -> "MatplotlibFigure":
        """Draw for print.

        Args:
            style: looks; None for those of this package.

        Returns:
            A figure that belongs to no window.
        """
        from slm_lens.views._matplotlib import draw

        return draw(self, style or Style())

    def plotly(self, *, style: Style | None = None) -> "PlotlyFigure":
        """Draw for the screen: values under the pointer, keys that hide, zoom.

        Args:
            style: looks; None for those of this package.

        Returns:
            A figure of Plotly, whose ``write_html`` makes a file that needs no network.
        """
        from slm_lens.views._plotly import draw

        return draw(self, style or Style())

    def view(self, *, style: Style | None = None) -> View:
        """As a part of a page.

        Args:
            style: looks; None for those of this package.

        Returns:
            What `plotly` draws, as a view, in the colours of the page.
        """
        drawn = self.plotly(style=style)
        return View(
            kind="chart",
            data=json.loads(drawn.to_json() or ""),
            title=self.title,
            description=self.description,
            scripts=("plotly",),
        )

    def _repr_html_(self) -> str:
        """`view`, in a notebook."""
        return self.view()._repr_html_()

    def extent(self, axis: Axis, which: Literal["x", "y"]) -> tuple[float, float]:
        """Where the lines of all panels with an axis begin and end on it.

        Args:
            axis: held by some panels.
            which: as their x or y axis.

        Returns:
            The lowest and the highest number, bands left aside; (0, 1) without lines.
        """
        found = [
            line.x if which == "x" else line.y
            for panel in self.panels
            if axis is (panel.x if which == "x" else panel.y)
            for line in panel.lines
        ]
        values = np.concatenate([*found, np.zeros(0)])
        values = values[np.isfinite(values)]
        return (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)

    def save(
        self, path_stem: Path, *, style: Style | None = None, dots_per_inch: float = 300.0
    ) -> tuple[Path, Path]:
        """Save as PNG and SVG; an interruption leaves no part.

        Args:
            path_stem: path without suffix; its folder is made if needed.
            style: looks; None for those of this package.
            dots_per_inch: of the PNG.

        Returns:
            The PNG's and the SVG's path.
        """
        from slm_lens.views._matplotlib import save

        style = style or Style()
        return save(self.matplotlib(style=style), path_stem, style, dots_per_inch)


def save_figure(figure: "Chart | MatplotlibFigure", path_stem: Path) -> tuple[Path, Path]:
    """Save a figure as PNG (300 dots per inch) and SVG; an interruption leaves no part.

    Args:
        figure: what a function like `slm_lens.phases_figure` returned, as it is or drawn by
            `Chart.matplotlib` and changed since.
        path_stem: path without suffix; its folder is made if needed.

    Returns:
        The PNG's and the SVG's path.
    """
    if isinstance(figure, Chart):
        return figure.save(path_stem)
    from slm_lens.views._matplotlib import save

    return save(figure, path_stem, Style(), 300.0)


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


def one_row(panels: Sequence[Panel]) -> tuple[tuple[Panel | None, ...], ...]:
    """Panels side by side.

    Args:
        panels: from left to right.

    Returns:
        The only row of a chart.
    """
    return (tuple(panels),)
