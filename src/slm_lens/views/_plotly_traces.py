"""What is between the axes of a panel, as traces and shapes of Plotly.

Every text is escaped, as Plotly reads some HTML in texts: a token ``<b>`` stays a token.
"""

import html
from typing import TYPE_CHECKING, Any

import numpy as np

from slm_lens.views._plotly_layout import pixels
from slm_lens.views.chart import Chart, Scale
from slm_lens.views.panel import Axis, HeatMap, Line, Mark, Panel, Rule, Shade
from slm_lens.views.style import Dash, Ink, Marker, Style

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_DASHES: dict[Dash, tuple[float, ...]] = {
    "solid": (),
    "dashed": (4, 2),
    "dotted": (1, 1.5),
    "dash-dot": (6.4, 1.6, 1, 1.6),
    "long-dashed": (5, 1),
    "fine-dotted": (1, 1),
}
_MARKERS: dict[Marker, str] = {
    "circle": "circle",
    "square": "square",
    "triangle": "triangle-up",
    "diamond": "diamond",
    "triangle-down": "triangle-down",
    "cross": "x-thin",
}


def add_line(
    figure: "Figure", line: Line, panel: Panel, axes: dict[str, str], style: Style
) -> None:
    """A curve, behind it its band."""
    group = {"legendgroup": line.entry or line.name, "showlegend": False, **axes}
    if line.low is not None and line.high is not None:
        known = np.isfinite(line.low) & np.isfinite(line.high)
        x, low, high = line.x[known], line.low[known], line.high[known]
        figure.add_scatter(
            x=np.concatenate([x, x[::-1]]), y=np.concatenate([low, high[::-1]]), mode="lines",
            line={"width": 0}, fill="toself", hoverinfo="skip", name=safe(f"{line.name}, band"),
            fillcolor=_rgba(style.colour(line.ink.colour), line.band), **group,
        )  # fmt: skip
    figure.add_scatter(
        x=line.x, y=line.y, name=safe(line.name), hovertext=_under_the_pointer(line, panel),
        hoverinfo="text", **pen(line.ink, style), cliponaxis=False, **group,
    )  # fmt: skip


def _under_the_pointer(line: Line, panel: Panel) -> list[str]:
    names = dict(zip(panel.x.ticks or (), panel.x.names or (), strict=False))
    texts = []
    for i, (x, y) in enumerate(zip(line.x.tolist(), line.y.tolist(), strict=True)):
        rows = [line.name, f"{panel.x.label}: {names.get(x, _number(x))}"]
        rows.append(f"{panel.y.label}: {_number(y)} {panel.y.unit}".rstrip())
        if line.low is not None and line.high is not None and np.isfinite(line.low[i]):
            rows.append(f"95 % interval: [{_number(line.low[i])}, {_number(line.high[i])}]")
        if line.details is not None:
            rows += line.details[i].split("\n")
        texts.append(_lines(rows))
    return texts


def add_mark(
    figure: "Figure", mark: Mark, panel: Panel, axes: dict[str, str], style: Style
) -> None:
    """A point with a few words at it."""
    colour = style.colour(mark.ink.colour)
    rows = [f"{a.label}: {_number(v)} {a.unit}".rstrip() for a, v in _of(mark, panel)]
    figure.add_scatter(
        x=[mark.x], y=[mark.y], mode="markers+text", text=[safe(mark.text)],
        textposition="bottom center" if mark.is_below else "top center",
        textfont={"size": pixels(style, style.tick_pt), "color": colour},
        marker={
            "symbol": _MARKERS[mark.ink.marker or "circle"], "color": colour,
            "size": pixels(style, 2 * style.marker_pt), "line": {"color": "white", "width": 1.6},
        },
        hovertext=_lines(rows), hoverinfo="text", showlegend=False, cliponaxis=False,
        legendgroup=mark.entry, **axes,
    )  # fmt: skip


def _of(mark: Mark, panel: Panel) -> tuple[tuple[Axis, float], ...]:
    return (panel.x, mark.x), (panel.y, mark.y)


def add_rule(
    figure: "Figure", rule: Rule, panel: Panel, number: int, chart: Chart, style: Style
) -> None:
    """A line right across a panel."""
    width = pixels(style, style.thin_pt if rule.ink.weight == "strong" else style.axis_pt)
    x, y = axis_name("x", number), axis_name("y", number)
    if rule.axis == "x":
        where = {"xref": x, "x0": rule.at, "x1": rule.at, "yref": f"{y} domain", "y0": 0, "y1": 1}
    else:
        where = {"yref": y, "y0": rule.at, "y1": rule.at, "xref": f"{x} domain", "x0": 0, "x1": 1}
    line = {
        "color": style.colour(rule.ink.colour),
        "width": width,
        "dash": _dash(rule.ink.dash, width),
    }
    figure.add_shape(type="line", layer="below", line=line, **where)
    if rule.text:
        low, high = sorted(chart.limits(panel.x, "x"))
        figure.add_annotation(
            text=safe(rule.text), x=rule.at, xref=x, y=1, yref=f"{y} domain", showarrow=False,
            xanchor="right" if rule.at > low + 0.7 * (high - low) else "center",
            yanchor="bottom", yshift=2,
            font={"size": pixels(style, style.note_pt), "color": style.colour("grey")},
        )  # fmt: skip


def add_shade(figure: "Figure", shade: Shade, number: int, style: Style) -> None:
    """A grey part of a panel."""
    x, y = axis_name("x", number), f"{axis_name('y', number)} domain"
    figure.add_shape(
        type="rect", xref=x, x0=shade.low, x1=shade.high, yref=y, y0=0, y1=1, layer="below",
        fillcolor=style.colour("shade"), line={"width": 0},
    )  # fmt: skip
    if shade.text:
        figure.add_annotation(
            text=safe(shade.text), x=(shade.low + shade.high) / 2, xref=x, y=1, yref=y,
            showarrow=False, yanchor="top",
            font={"size": pixels(style, style.note_pt), "color": style.colour("grey")},
        )  # fmt: skip


def add_heat(
    figure: "Figure", panel: Panel, heat: HeatMap, scale: Scale, number: int, style: Style
) -> None:
    """Cells, their frames, and grey where there is none."""
    x, y = axis_name("x", number), axis_name("y", number)
    n_rows, n_columns = heat.cells.shape
    ends = {"xref": x, "x0": -0.5, "x1": n_columns - 0.5}
    ends |= {"yref": y, "y0": -0.5, "y1": n_rows - 0.5}
    empty = {"fillcolor": style.colour("empty"), "line": {"width": 0}}
    figure.add_shape(type="rect", layer="below", **ends, **empty)
    written = {} if heat.text is None else {"texttemplate": "%{text}"}
    figure.add_heatmap(
        z=heat.cells, coloraxis="coloraxis", xaxis=x, yaxis=y, hoverongaps=False,
        text=None if heat.text is None else [[safe(t) for t in row] for row in heat.text],
        textfont={"size": pixels(style, style.cell_pt)}, **written,
        hovertext=_cells_under_the_pointer(panel, heat, scale), hoverinfo="text",
    )  # fmt: skip
    for row, column, colour in heat.frames:
        figure.add_shape(
            type="rect", xref=x, yref=y, x0=column - 0.46, x1=column + 0.46, y0=row - 0.44,
            y1=row + 0.44,
            line={"color": style.colour(colour), "width": pixels(style, style.strong_pt)},
        )  # fmt: skip


def _cells_under_the_pointer(panel: Panel, heat: HeatMap, scale: Scale) -> list[list[str]]:
    names = [
        dict(zip(axis.ticks or (), axis.names or (), strict=False)) for axis in (panel.x, panel.y)
    ]
    texts = []
    for row, of_row in enumerate(heat.cells.tolist()):
        texts.append([])
        for column, value in enumerate(of_row):
            rows = [f"{panel.y.label}: {names[1].get(row, row)}"]
            rows.append(f"{panel.x.label}: {names[0].get(column, column)}")
            if heat.details is None:
                rows.append(f"{scale.label}: {_number(value)} {scale.unit}".rstrip())
            else:
                rows += heat.details[row][column].split("\n")
            texts[-1].append(_lines(rows))
    return texts


def pen(ink: Ink, style: Style, *, larger: float = 1.0) -> dict[str, Any]:
    """How a line and its markers look."""
    colour = style.colour(ink.colour)
    width = pixels(style, style.strong_pt if ink.weight == "strong" else style.thin_pt)
    drawn: dict[str, Any] = {
        "mode": "lines" if ink.marker is None else "lines+markers",
        "line": {"color": colour, "width": width, "dash": _dash(ink.dash, width)},
    }
    if ink.marker is not None:
        edge = {"color": colour, "width": 1.6 if ink.marker == "cross" else 0}
        size = pixels(style, larger * style.marker_pt)
        drawn["marker"] = {"symbol": _MARKERS[ink.marker], "size": size, "color": colour}
        drawn["marker"]["line"] = edge
    return drawn


def _dash(dash: Dash, width: float) -> str:
    return ",".join(f"{part * width:.3g}px" for part in _DASHES[dash]) or "solid"


def _rgba(colour: str, opacity: float) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def axis_name(which: str, number: int) -> str:
    """What traces call the axis of a panel: x, x2, x3."""
    return which if number == 1 else f"{which}{number}"


def _number(x: float) -> str:
    return f"{x:.4g}"


def safe(text: str) -> str:
    """A text in which nothing is HTML."""
    return html.escape(text, quote=False)


def _lines(rows: list[str]) -> str:
    return "<br>".join(safe(row) for row in rows)
