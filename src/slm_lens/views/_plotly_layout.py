"""Where the panels of a chart lie on the screen, in pixels: Plotly has no layout of its own.

Widths of texts are estimated from their number of letters; what is wrong by some pixels is only
white space, as every gutter has room to spare.
"""

import math
from dataclasses import dataclass

import numpy as np

from slm_lens.views.chart import LETTER, Chart
from slm_lens.views.panel import Axis, Panel
from slm_lens.views.style import Style

_SLOPE = 0.5  # of names along the x axis
_SAMPLE_PX = 45.0  # the line in front of an entry of a key, and the space behind it


@dataclass(frozen=True)
class Room:
    """Pixels around and between panels.

    Attributes:
        width: of the whole figure.
        height: of the whole figure.
        left: beside the panels.
        right: likewise.
        top: above them.
        bottom: below them.
        columns: left and right end of each column, as shares of the panels' width.
        rows: lower and upper end of each row, as shares of the panels' height, from above.
    """

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    columns: tuple[tuple[float, float], ...]
    rows: tuple[tuple[float, float], ...]


def room_of(chart: Chart, style: Style) -> Room:
    """Divide a chart's space."""
    n_columns = len(chart.rows[0])
    pad = pixels(style, 6.0)
    before = [_beside(chart, c, style) + (pad if c else 0) for c in range(n_columns)]
    above = [_above(chart, r, style) for r in range(len(chart.rows))]
    below = [_below(chart, r, style) + pad for r in range(len(chart.rows))]
    width, height = (x * style.pixels_per_inch for x in (chart.width_inches, chart.height_inches))
    left, right = before[0], pad + (pixels(style, 42.0) if chart.scale is not None else pad)
    inside = width - left - right  # Plotly wraps keys at the width of the panels
    top = above[0] + _keys(chart, "above", style, inside)
    bottom = below[-1] + _keys(chart, "below", style, inside)
    gaps = [below[r] + above[r + 1] for r in range(len(chart.rows) - 1)]
    heights = chart.row_heights or (1.0,) * len(chart.rows)
    columns = _shares(width - left - right, before[1:], [1.0] * n_columns)
    rows = _shares(height - top - bottom, gaps, list(heights))
    upwards = tuple((1.0 - high, 1.0 - low) for low, high in rows)
    return Room(width, height, left, right, top, bottom, columns, upwards)


def pixels(style: Style, points: float) -> float:
    """Points of print as pixels."""
    return points * style.pixels_per_inch / 72.0


def _shares(
    space: float, gaps: list[float], weights: list[float]
) -> tuple[tuple[float, float], ...]:
    """Ends of parts of these weights with these gaps between them, as shares of the space."""
    free = max(space - sum(gaps), 0.2 * space)
    squeezed = (space - free) / sum(gaps) if gaps else 0.0
    ends, at = [], 0.0
    for weight, gap in zip(weights, [*gaps, 0.0], strict=True):
        size = free * weight / sum(weights)
        ends.append((at / space, min((at + size) / space, 1.0)))
        at += size + gap * squeezed
    return tuple(ends)


def _column(chart: Chart, column: int) -> list[tuple[int, Panel]]:
    return [(r, p) for r, row in enumerate(chart.rows) if (p := row[column]) is not None]


def _beside(chart: Chart, column: int, style: Style) -> float:
    """Numbers and label to the left of a column."""
    sizes = [
        pixels(style, style.tick_pt * LETTER * _letters(panel.y, panel, "y") + 5)
        + (pixels(style, 1.6 * style.size_pt) if panel.y.title else 0)
        for r, panel in _column(chart, column)
        if chart.is_labelled((r, column), "y")
    ]
    return max(sizes, default=0.0)


def _above(chart: Chart, row: int, style: Style) -> float:
    """Title and notes above a row."""
    points = 3.0
    panels = [panel for panel in chart.rows[row] if panel is not None]
    if any(panel.subtitle or any(r.text for r in panel.rules) for panel in panels):
        points += 1.6 * style.note_pt
    if any(panel.title for panel in panels):
        points += 1.6 * style.title_pt
    return pixels(style, points)


def _below(chart: Chart, row: int, style: Style) -> float:
    """Numbers and label below a row."""
    points = 0.0
    for column, panel in enumerate(chart.rows[row]):
        if panel is None or not chart.is_labelled((row, column), "x"):
            continue
        here = 1.5 * style.tick_pt + 3
        if chart.is_slanted(panel, style):
            letters = max(map(len, panel.x.names or ()))
            here = _SLOPE * LETTER * style.tick_pt * letters + 1.5 * style.tick_pt
        points = max(points, here + (1.6 * style.size_pt if panel.x.title else 0))
    return pixels(style, points)


def _keys(chart: Chart, place: str, style: Style, width: float) -> float:
    """Height of the keys, whose entries are wrapped at this width."""
    height = 0.0
    for key in (key for key in chart.keys if key.place == place):
        n_lines, used = 1, 0.0
        for name in key.entries:
            wide = pixels(style, LETTER * style.tick_pt * len(name)) + _SAMPLE_PX
            n_lines, used = (n_lines + 1, wide) if used + wide > width else (n_lines, used + wide)
        height += pixels(style, 1.55 * style.tick_pt * n_lines + 5)
    return height


def _letters(axis: Axis, panel: Panel, which: str) -> int:
    """Letters of the longest number on an axis."""
    if axis.names is not None:
        return max(map(len, axis.names), default=0)
    if axis.ticks is not None:
        return max(len(f"{tick:g}") for tick in axis.ticks)
    found = [getattr(line, which) for line in panel.lines]
    values = np.concatenate([*found, [0.0]])
    values = values[np.isfinite(values)]
    spread = float(np.ptp(values)) or 1.0
    decimals = max(0, 1 - math.floor(math.log10(spread)))
    return decimals + len(f"{values.max():.0f}") + 1 + bool((values < 0).any())
