"""Charts for print, drawn by matplotlib without pyplot, so that no window opens."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slm_lens._atomic import write_atomically
from slm_lens.views.chart import Chart, Key, Scale
from slm_lens.views.panel import Axis, HeatMap, Line, Mark, Panel, Rule, Shade
from slm_lens.views.style import Dash, Ink, Marker, Style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

_DASHES: dict[Dash, Any] = {
    "solid": "-",
    "dashed": (0, (4, 2)),
    "dotted": (0, (1, 1.5)),
    "dash-dot": "-.",
    "long-dashed": (0, (5, 1)),
    "fine-dotted": (0, (1, 1)),
}
_MARKERS: dict[Marker, str] = {
    "circle": "o",
    "square": "s",
    "triangle": "^",
    "diamond": "D",
    "triangle-down": "v",
    "cross": "x",
}


@contextmanager
def looks(style: Style) -> Iterator[None]:
    """Matplotlib's settings, while the context lasts."""
    import matplotlib as mpl

    settings: dict[Any, Any] = {
        "font.size": style.size_pt,
        "font.family": style.font,
        "axes.titlesize": style.title_pt,
        "axes.labelsize": style.size_pt,
        "xtick.labelsize": style.tick_pt,
        "ytick.labelsize": style.tick_pt,
        "legend.fontsize": style.tick_pt,
        "axes.linewidth": style.axis_pt,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "xtick.major.width": style.axis_pt,
        "ytick.major.width": style.axis_pt,
        "xtick.major.size": 2.5,
        "ytick.major.size": 2.5,
        "text.parse_math": False,  # a token "$" is a dollar
        "svg.fonttype": "none",  # text stays text
        "svg.hashsalt": "slm-lens",  # the same figure is the same file
    }
    with mpl.rc_context(settings):
        yield


def save(
    figure: "Figure", path_stem: Path, style: Style, dots_per_inch: float
) -> tuple[Path, Path]:
    """Save as PNG and SVG; an interruption leaves no part."""
    paths = []
    kinds = {"png": {"dpi": dots_per_inch}, "svg": {"metadata": {"Date": None}}}
    for suffix, options in kinds.items():
        path = path_stem.with_name(f"{path_stem.name}.{suffix}")

        def write(part: Path, kind: str = suffix, options: dict[str, Any] = options) -> None:
            figure.savefig(part, format=kind, **options)

        with looks(style):
            write_atomically(path, write)
        paths.append(path)
    return paths[0], paths[1]


def draw(chart: Chart, style: Style) -> "Figure":
    """Draw a chart, in a figure that belongs to no window."""
    with looks(style):
        from matplotlib.figure import Figure

        size = (chart.width_inches, chart.height_inches)
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.add_gridspec(
            len(chart.rows), len(chart.rows[0]), height_ratios=chart.row_heights
        )
        of_axis: dict[tuple[str, Axis], Axes] = {}
        images = []
        for r, row in enumerate(chart.rows):
            for c, panel in enumerate(row):
                if panel is None:
                    continue
                ax = figure.add_subplot(
                    grid[r, c],
                    sharex=of_axis.get(("x", panel.x)),
                    sharey=of_axis.get(("y", panel.y)),
                )
                of_axis |= {("x", panel.x): ax, ("y", panel.y): ax}
                images += _draw_panel(ax, panel, chart, style)
                _label(ax, chart, (r, c))
        if chart.scale is not None and images:
            _colour_bar(figure, images[0], chart.scale)
        for key in chart.keys:
            _draw_key(figure, key, style)
        figure.draw_without_rendering()  # numbers that the layout changes change the layout again
    return figure


def _draw_panel(ax: "Axes", panel: Panel, chart: Chart, style: Style) -> list[Any]:
    images = []
    if panel.heat is not None and chart.scale is not None:
        images.append(_draw_heat(ax, panel.heat, chart.scale, style))
    for line in panel.lines:
        _draw_line(ax, line, style)
    for mark in panel.marks:
        _draw_mark(ax, mark, style)
    if panel.title:
        ax.set_title(panel.title, pad=11 if panel.subtitle else 6)
    if panel.subtitle:
        _note(ax, 0.5, panel.subtitle, style)
    if panel.key:
        handles = [_handle(name, ink, style) for name, ink in panel.key.items()]
        ax.legend(handles=handles, frameon=False, handlelength=2.4, labelspacing=0.3)
    _scale_axis(ax, "x", panel.x, chart.limits(panel.x, "x"))
    _scale_axis(ax, "y", panel.y, chart.limits(panel.y, "y"))
    if chart.is_slanted(panel, style):
        ax.tick_params(axis="x", rotation=30)
        for text in ax.get_xticklabels():
            text.set_horizontalalignment("right")
            text.set_rotation_mode("anchor")
    for shade in panel.shades:
        _draw_shade(ax, shade, style)
    for rule in panel.rules:
        _draw_rule(ax, rule, style)
    return images


def _scale_axis(ax: "Axes", which: str, axis: Axis, limits: tuple[float, float]) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    of = getattr(ax, f"{which}axis")
    if axis.is_log:
        is_short = max(limits) < 100 * min(limits)  # two powers of ten at most: 2 and 5 as well
        getattr(ax, f"set_{which}scale")("log")
        of.set_major_locator(LogLocator(subs=(1, 2, 5) if is_short else (1,)))
        of.set_major_formatter("{x:g}")
        of.set_minor_formatter(NullFormatter())
    if axis.ticks is not None:
        of.set_ticks(axis.ticks, axis.names)
    getattr(ax, f"set_{which}lim")(*limits)


def _label(ax: "Axes", chart: Chart, place: tuple[int, int]) -> None:
    """Labels, where no neighbour to the left or below has the same axis."""
    r, c = place
    panel = chart.rows[r][c]
    assert panel is not None
    if chart.is_labelled(place, "x"):
        ax.set_xlabel(panel.x.title)
    else:
        ax.tick_params(axis="x", labelbottom=False)
    if chart.is_labelled(place, "y"):
        ax.set_ylabel(panel.y.title)
    else:
        ax.tick_params(axis="y", labelleft=False)


def _draw_line(ax: "Axes", line: Line, style: Style) -> None:
    ink, colour = line.ink, style.colour(line.ink.colour)
    if line.low is not None and line.high is not None:
        known = np.isfinite(line.low) & np.isfinite(line.high)
        edges = line.x[known], line.low[known], line.high[known]
        ax.fill_between(*edges, color=colour, alpha=line.band, lw=0)
    ax.plot(line.x, line.y, label=line.name, clip_on=False, **_pen(ink, style))


def _pen(ink: Ink, style: Style) -> dict[str, Any]:
    pen: dict[str, Any] = {
        "color": style.colour(ink.colour),
        "ls": _DASHES[ink.dash],
        "lw": style.strong_pt if ink.weight == "strong" else style.thin_pt,
    }
    if ink.marker is not None:
        edge = 0.8 if ink.marker == "cross" else 0.0
        pen |= {"marker": _MARKERS[ink.marker], "ms": style.marker_pt, "mew": edge}
    return pen


def _draw_mark(ax: "Axes", mark: Mark, style: Style) -> None:
    colour = style.colour(mark.ink.colour)
    marker = _MARKERS[mark.ink.marker or "circle"]
    ax.plot(
        mark.x, mark.y, marker, color=colour, ms=2 * style.marker_pt, mec="white", mew=0.8,
        zorder=5, clip_on=False,
    )  # fmt: skip
    if mark.text:
        ax.annotate(
            mark.text,
            (mark.x, mark.y),
            xytext=(0, -10.5 if mark.is_below else 4.5),
            textcoords="offset points",
            ha="center",
            fontsize=style.tick_pt,
            color=colour,
        )


def _draw_rule(ax: "Axes", rule: Rule, style: Style) -> None:
    pen = {"color": style.colour(rule.ink.colour), "ls": _DASHES[rule.ink.dash], "zorder": 0}
    pen["lw"] = style.thin_pt if rule.ink.weight == "strong" else style.axis_pt
    if rule.axis == "x":
        ax.axvline(rule.at, **pen)
    else:
        ax.axhline(rule.at, **pen)
    if rule.text:
        low, high = ax.get_xlim()
        is_far = rule.at > low + 0.7 * (high - low)
        text = {"ha": "right" if is_far else "center", "va": "bottom", "fontsize": style.note_pt}
        ax.text(
            rule.at, 1.03, rule.text, transform=ax.get_xaxis_transform(),
            color=style.colour("grey"), **text,
        )  # fmt: skip


def _draw_shade(ax: "Axes", shade: Shade, style: Style) -> None:
    ax.axvspan(shade.low, shade.high, color=style.colour("shade"), lw=0, zorder=0)
    if shade.text:
        text = {"ha": "center", "va": "top", "fontsize": style.note_pt}
        ax.text(
            (shade.low + shade.high) / 2, 0.98, shade.text, transform=ax.get_xaxis_transform(),
            color=style.colour("grey"), **text,
        )  # fmt: skip


def _draw_heat(ax: "Axes", heat: HeatMap, scale: Scale, style: Style) -> Any:
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.patches import Rectangle

    n_rows, n_columns = heat.cells.shape
    empty = {"fc": style.colour("empty"), "lw": 0, "zorder": 0}  # where there is no cell
    ax.add_patch(Rectangle((-0.5, -0.5), n_columns, n_rows, **empty))
    colours = LinearSegmentedColormap.from_list(scale.colours, style.stops(scale.colours))
    image = ax.imshow(
        heat.cells, origin="lower", aspect="auto", cmap=colours, vmin=scale.low, vmax=scale.high
    )
    for (row, column), x in np.ndenumerate(heat.cells):
        if heat.text is not None and np.isfinite(x):
            red, green, blue, _ = image.to_rgba(x)
            is_dark = 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2 < 0.18
            ax.text(
                column, row, heat.text[row][column], ha="center", va="center",
                fontsize=style.cell_pt, color="white" if is_dark else "black",
            )  # fmt: skip
    for row, column, colour in heat.frames:
        corner = (column - 0.46, row - 0.44)
        frame = {"fill": False, "ec": style.colour(colour), "lw": style.strong_pt, "zorder": 3}
        ax.add_patch(Rectangle(corner, 0.92, 0.88, **frame))
    ax.tick_params(length=0)
    for side in ("left", "bottom"):
        ax.spines[side].set_visible(False)
    return image


def _colour_bar(figure: "Figure", image: Any, scale: Scale) -> None:
    bar = figure.colorbar(image, ax=list(figure.axes), label=scale.title, pad=0.01, aspect=30)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    if scale.ticks is not None:
        bar.set_ticks(list(scale.ticks), labels=None if scale.names is None else list(scale.names))


def _note(ax: "Axes", x: float, text: str, style: Style) -> None:
    ax.text(
        x, 1.03, text, transform=ax.transAxes, ha="center", fontsize=style.note_pt,
        color=style.colour("grey"),
    )  # fmt: skip


def _draw_key(figure: "Figure", key: Key, style: Style) -> None:
    handles = [_handle(name, ink, style) for name, ink in key.entries.items()]
    place: dict[str, Any] = {
        "loc": "outside upper center" if key.place == "above" else "outside lower center",
        "ncols": min(key.n_columns, len(handles)),
    }
    figure.legend(
        handles=handles, frameon=False, handlelength=2.4, columnspacing=1.4, labelspacing=0.35,
        **place,
    )  # fmt: skip


def _handle(name: str, ink: Ink, style: Style) -> "Line2D":
    from matplotlib.lines import Line2D

    pen: Mapping[str, Any] = _pen(ink, style)
    if ink.marker is not None:
        pen = {**pen, "ms": 1.4 * style.marker_pt}
    return Line2D([], [], label=name, **pen)
