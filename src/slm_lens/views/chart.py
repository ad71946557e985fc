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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from slm_lens.views.page import View
from slm_lens.views.panel import Axis, Panel
from slm_lens.views.style import Ink, ScaleName, Style

if TYPE_CHECKING:
    from matplotlib.figure import Figure as MatplotlibFigure
    from plotly.graph_objects import Figure as PlotlyFigure

COLUMN_INCHES, PAGE_INCHES = 3.35, 7.0  # one column of a two-column paper, and both
LETTER = 0.58  # width of a letter, as a share of its size, to estimate widths of texts


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

    def limits(self, axis: Axis, which: Literal["x", "y"]) -> tuple[float, float]:
        """Where an axis begins and ends, the same for all panels that have it.

        Args:
            axis: held by some panels.
            which: as their x or y axis.

        Returns:
            What the axis says, else the ends of what is drawn and a little more; of cells, the
            edges of the first and the last one.
        """
        held = [p for p in self.panels if axis is (p.x if which == "x" else p.y)]
        shapes = [p.heat.cells.shape for p in held if p.heat is not None]
        if shapes:
            n_cells = max(shape[1 if which == "x" else 0] for shape in shapes)
            low, high = -0.5, n_cells - 0.5
        else:
            values = np.concatenate([*_drawn(held, which), np.zeros(0)])
            values = values[np.isfinite(values)]
            ends = (values.min(), values.max()) if values.size else (0.0, 1.0)
            low, high = _widened(*map(float, ends), 0.03 if which == "x" else 0.05, axis)
        return low if axis.low is None else axis.low, high if axis.high is None else axis.high

    def is_slanted(self, panel: Panel, style: Style) -> bool:
        """Whether the names along a panel's x axis are too long to stand level.

        Args:
            panel: of this chart.
            style: its looks.

        Returns:
            True if the longest name, by its number of letters, is wider than its place.
        """
        if not panel.x.names:
            return False
        place = 0.75 * self.width_inches / len(self.rows[0]) / len(panel.x.names)
        return LETTER * style.tick_pt / 72 * max(map(len, panel.x.names)) > 0.95 * place

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


def _drawn(panels: Sequence[Panel], which: Literal["x", "y"]) -> list[np.ndarray]:
    """Numbers along an axis: of lines with their bands, marks and rules."""
    found: list[np.ndarray] = []
    for panel in panels:
        for line in panel.lines:
            parts = (line.x,) if which == "x" else (line.y, line.low, line.high)
            found += [part for part in parts if part is not None]
        found.append(np.array([mark.x if which == "x" else mark.y for mark in panel.marks]))
        found.append(np.array([rule.at for rule in panel.rules if rule.axis == which]))
    return found


def _widened(low: float, high: float, share: float, axis: Axis) -> tuple[float, float]:
    if axis.is_log:
        factor = (high / low) ** share
        return low / factor, high * factor
    more = share * (high - low) or 0.5
    return low - more, high + more


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


def one_row(panels: Sequence[Panel]) -> tuple[tuple[Panel | None, ...], ...]:
    """Panels side by side.

    Args:
        panels: from left to right.

    Returns:
        The only row of a chart.
    """
    return (tuple(panels),)
