"""Charts for the screen, drawn by Plotly: values under the pointer, keys that hide, zoom.

Every text is escaped, as Plotly reads some HTML in texts: a token ``<b>`` stays a token.
"""

import html
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from slm_lens.views._plotly_layout import Room, is_slanted, pixels, room_of
from slm_lens.views.chart import Axis, Chart, HeatMap, Key, Line, Mark, Panel, Rule, Scale, Shade
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


def draw(chart: Chart, style: Style) -> "Figure":
    """Draw a chart."""
    from plotly.graph_objects import Figure

    room = room_of(chart, style)
    figure = Figure(layout=_layout(chart, style, room))
    numbers: dict[tuple[str, Axis], int] = {}
    number = 0
    for r, row in enumerate(chart.rows):
        for c, panel in enumerate(row):
            if panel is None:
                continue
            number += 1
            _add_axes(figure, chart, (r, c), number, numbers, style, room)
            _add_panel(figure, panel, number, chart.scale, style)
    for i, key in enumerate(chart.keys, 1):
        _add_key(figure, key, f"legend{i if i > 1 else ''}", style)
    return figure


def _layout(chart: Chart, style: Style, room: Room) -> dict[str, Any]:
    layout: dict[str, Any] = {
        "template": "none",
        "width": room.width,
        "height": room.height,
        "margin": {"l": room.left, "r": room.right, "t": room.top, "b": room.bottom},
        "font": {
            "family": f"{style.font}, sans-serif",
            "size": pixels(style, style.size_pt),
            "color": "black",
        },
        "hovermode": "closest",
        "hoverlabel": {"align": "left"},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "meta": {"description": chart.description},
    }
    if chart.scale is not None:
        layout["coloraxis"] = _colour_axis(chart.scale, style)
    return layout


def _colour_axis(scale: Scale, style: Style) -> dict[str, Any]:
    stops = style.stops(scale.colours)
    bar: dict[str, Any] = {
        "title": {
            "text": _safe(scale.title),
            "side": "right",
            "font": {"size": pixels(style, style.size_pt)},
        },
        "thickness": pixels(style, 7.0),
        "outlinewidth": 0,
        "ticks": "outside",
        "tickfont": {"size": pixels(style, style.tick_pt)},
    }
    if scale.ticks is not None:
        bar |= {"tickvals": list(scale.ticks)}
    if scale.names is not None:
        bar |= {"ticktext": [_safe(name) for name in scale.names]}
    return {
        "cmin": scale.low,
        "cmax": scale.high,
        "colorscale": [[i / (len(stops) - 1), colour] for i, colour in enumerate(stops)],
        "colorbar": bar,
    }


def _add_axes(
    figure: "Figure",
    chart: Chart,
    place: tuple[int, int],
    number: int,
    numbers: dict[tuple[str, Axis], int],
    style: Style,
    room: Room,
) -> None:
    panel = chart.rows[place[0]][place[1]]
    assert panel is not None
    domains = {"x": room.columns[place[1]], "y": room.rows[place[0]]}
    for which, axis in (("x", panel.x), ("y", panel.y)):
        extent = chart.extent(axis, "x" if which == "x" else "y")
        drawn = _axis(axis, style, extent, is_bare=panel.heat is not None)
        if which == "x" and panel.heat is None and axis.low is None and axis.high is None:
            beside = 0.03 * (extent[1] - extent[0])
            drawn["range"] = [extent[0] - beside, extent[1] + beside]
        first = numbers.setdefault((which, axis), number)
        if first != number:
            drawn["matches"] = _name(which, first)
        if chart.is_labelled(place, "x" if which == "x" else "y"):
            font = {"size": pixels(style, style.size_pt)}
            drawn["title"] = {"text": _safe(axis.title), "standoff": pixels(style, 3), "font": font}
        else:
            drawn["showticklabels"] = False
        other = _name("y" if which == "x" else "x", number)
        drawn |= {"domain": list(domains[which]), "anchor": other}
        figure.layout[f"{which}axis{number if number > 1 else ''}"] = drawn
    _add_titles(figure, panel, domains, style)


def _axis(
    axis: Axis, style: Style, extent: tuple[float, float], *, is_bare: bool
) -> dict[str, Any]:
    drawn: dict[str, Any] = {
        "tickfont": {"size": pixels(style, style.tick_pt)},
        "zeroline": False,
        "showgrid": False,
        "showline": not is_bare,
        "linewidth": pixels(style, style.axis_pt),
        "ticks": "" if is_bare else "outside",
        "ticklen": pixels(style, 2.5),
    }
    if axis.is_log:
        drawn |= {"type": "log", "tickmode": "array", **_log_ticks(extent)}
    if axis.ticks is not None:
        drawn |= {"tickmode": "array", "tickvals": list(axis.ticks)}
    if axis.names is not None:
        drawn |= {"ticktext": [_safe(name) for name in axis.names]}
        drawn |= {"tickangle": -30 if is_slanted(axis) else 0}
    if axis.low is not None or axis.high is not None:
        ends = [None if end is None else float(end) for end in (axis.low, axis.high)]
        if axis.is_log:
            ends = [None if end is None else float(np.log10(end)) for end in ends]
        drawn["range"] = ends
    return drawn


def _log_ticks(extent: tuple[float, float]) -> dict[str, Any]:
    """Powers of ten, and 2 and 5 times them where there are two of them at most."""
    low, high = (int(np.floor(np.log10(end))) for end in extent)
    parts = (1, 2, 5) if extent[1] < 100 * extent[0] else (1,)
    values = [part * 10.0**power for power in range(low, high + 2) for part in parts]
    return {"tickvals": values, "ticktext": [f"{value:g}" for value in values]}


def _add_titles(
    figure: "Figure",
    panel: Panel,
    domains: Mapping[str, tuple[float, float]],
    style: Style,
) -> None:
    middle, top = sum(domains["x"]) / 2, domains["y"][1]
    at = {"x": middle, "y": top, "xref": "paper", "yref": "paper", "showarrow": False}
    at |= {"xanchor": "center", "yanchor": "bottom"}
    note = {"size": pixels(style, style.note_pt), "color": style.colour("grey")}
    if panel.subtitle:
        figure.add_annotation(text=_safe(panel.subtitle), font=note, yshift=2, **at)
    if panel.title:
        shift = pixels(style, 1.5 * style.note_pt) if panel.subtitle else 2
        size = {"size": pixels(style, style.title_pt)}
        figure.add_annotation(text=_safe(panel.title), font=size, yshift=shift, **at)


def _add_panel(
    figure: "Figure", panel: Panel, number: int, scale: Scale | None, style: Style
) -> None:
    axes = {"xaxis": _name("x", number), "yaxis": _name("y", number)}
    for shade in panel.shades:
        _add_shade(figure, shade, number, style)
    for rule in panel.rules:
        _add_rule(figure, rule, panel, number, style)
    if panel.heat is not None and scale is not None:
        _add_heat(figure, panel, panel.heat, scale, number, style)
    for line in panel.lines:
        _add_line(figure, line, panel, axes, style)
    for mark in panel.marks:
        _add_mark(figure, mark, panel, axes, style)
    if panel.key:
        legend = f"legend{number + 10}"
        domain = figure.layout[f"xaxis{number if number > 1 else ''}"].domain
        height = figure.layout[f"yaxis{number if number > 1 else ''}"].domain
        _add_entries(figure, panel.key, legend, axes, style)
        place = {"x": domain[1], "y": height[1], "xanchor": "right", "yanchor": "top"}
        size = {"size": pixels(style, style.tick_pt)}
        figure.layout[legend] = place | {"bgcolor": "rgba(255,255,255,0.7)", "font": size}


def _add_line(
    figure: "Figure", line: Line, panel: Panel, axes: dict[str, str], style: Style
) -> None:
    group = {"legendgroup": line.entry or line.name, "showlegend": False, **axes}
    if line.low is not None and line.high is not None:
        known = np.isfinite(line.low) & np.isfinite(line.high)
        x, low, high = line.x[known], line.low[known], line.high[known]
        figure.add_scatter(
            x=np.concatenate([x, x[::-1]]), y=np.concatenate([low, high[::-1]]), mode="lines",
            line={"width": 0}, fill="toself", hoverinfo="skip", name=_safe(f"{line.name}, band"),
            fillcolor=_rgba(style.colour(line.ink.colour), line.band), **group,
        )  # fmt: skip
    figure.add_scatter(
        x=line.x, y=line.y, name=_safe(line.name), hovertext=_under_the_pointer(line, panel),
        hoverinfo="text", **_pen(line.ink, style), cliponaxis=False, **group,
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


def _add_mark(
    figure: "Figure", mark: Mark, panel: Panel, axes: dict[str, str], style: Style
) -> None:
    colour = style.colour(mark.ink.colour)
    rows = [f"{a.label}: {_number(v)} {a.unit}".rstrip() for a, v in _of(mark, panel)]
    figure.add_scatter(
        x=[mark.x], y=[mark.y], mode="markers+text", text=[_safe(mark.text)],
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


def _add_rule(figure: "Figure", rule: Rule, panel: Panel, number: int, style: Style) -> None:
    width = pixels(style, style.thin_pt if rule.ink.weight == "strong" else style.axis_pt)
    x, y = _name("x", number), _name("y", number)
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
        low, high = _ends(panel)
        figure.add_annotation(
            text=_safe(rule.text), x=rule.at, xref=x, y=1, yref=f"{y} domain", showarrow=False,
            xanchor="right" if rule.at > low + 0.7 * (high - low) else "center",
            yanchor="bottom", yshift=2,
            font={"size": pixels(style, style.note_pt), "color": style.colour("grey")},
        )  # fmt: skip


def _ends(panel: Panel) -> tuple[float, float]:
    """First and last place of a panel's lines."""
    x = np.concatenate([line.x for line in panel.lines] or [np.zeros(1)])
    return float(x.min()), float(x.max())


def _add_shade(figure: "Figure", shade: Shade, number: int, style: Style) -> None:
    x, y = _name("x", number), f"{_name('y', number)} domain"
    figure.add_shape(
        type="rect", xref=x, x0=shade.low, x1=shade.high, yref=y, y0=0, y1=1, layer="below",
        fillcolor=style.colour("shade"), line={"width": 0},
    )  # fmt: skip
    if shade.text:
        figure.add_annotation(
            text=_safe(shade.text), x=(shade.low + shade.high) / 2, xref=x, y=1, yref=y,
            showarrow=False, yanchor="top",
            font={"size": pixels(style, style.note_pt), "color": style.colour("grey")},
        )  # fmt: skip


def _add_heat(
    figure: "Figure", panel: Panel, heat: HeatMap, scale: Scale, number: int, style: Style
) -> None:
    x, y = _name("x", number), _name("y", number)
    ends = {"xref": f"{x} domain", "x0": 0, "x1": 1, "yref": f"{y} domain", "y0": 0, "y1": 1}
    empty = {"fillcolor": style.colour("empty"), "line": {"width": 0}}
    figure.add_shape(type="rect", layer="below", **ends, **empty)
    written = {} if heat.text is None else {"texttemplate": "%{text}"}
    figure.add_heatmap(
        z=heat.cells, coloraxis="coloraxis", xaxis=x, yaxis=y, hoverongaps=False,
        text=None if heat.text is None else [[_safe(t) for t in row] for row in heat.text],
        textfont={"size": pixels(style, style.cell_pt)}, **written,
        hovertext=_cells_under_the_pointer(panel, heat, scale), hoverinfo="text",
    )  # fmt: skip
    for row, column, colour in heat.frames:
        figure.add_shape(
            type="rect", xref=x, yref=y, x0=column - 0.44, x1=column + 0.44, y0=row - 0.42,
            y1=row + 0.42,
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


def _add_key(figure: "Figure", key: Key, legend: str, style: Style) -> None:
    _add_entries(figure, key.entries, legend, {"xaxis": "x", "yaxis": "y"}, style)
    is_above = key.place == "above"
    figure.layout[legend] = {
        "orientation": "h",
        "tracegroupgap": 0,
        "x": 0.5,
        "xref": "container",
        "xanchor": "center",
        "y": 1.0 if is_above else 0.0,
        "yref": "container",
        "yanchor": "top" if is_above else "bottom",
        "font": {"size": pixels(style, style.tick_pt)},
    }


def _add_entries(
    figure: "Figure", entries: Mapping[str, Ink], legend: str, axes: dict[str, str], style: Style
) -> None:
    for name, ink in entries.items():
        figure.add_scatter(
            x=[None], y=[None], name=_safe(name), legend=legend, legendgroup=name,
            hoverinfo="skip", **_pen(ink, style, larger=1.4), **axes,
        )  # fmt: skip


def _pen(ink: Ink, style: Style, *, larger: float = 1.0) -> dict[str, Any]:
    colour = style.colour(ink.colour)
    width = pixels(style, style.strong_pt if ink.weight == "strong" else style.thin_pt)
    pen: dict[str, Any] = {
        "mode": "lines" if ink.marker is None else "lines+markers",
        "line": {"color": colour, "width": width, "dash": _dash(ink.dash, width)},
    }
    if ink.marker is not None:
        edge = {"color": colour, "width": 1.6 if ink.marker == "cross" else 0}
        size = pixels(style, larger * style.marker_pt)
        pen["marker"] = {"symbol": _MARKERS[ink.marker], "size": size, "color": colour}
        pen["marker"]["line"] = edge
    return pen


def _dash(dash: Dash, width: float) -> str:
    return ",".join(f"{part * width:.3g}px" for part in _DASHES[dash]) or "solid"


def _rgba(colour: str, opacity: float) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def _name(which: str, number: int) -> str:
    return which if number == 1 else f"{which}{number}"


def _number(x: float) -> str:
    return f"{x:.4g}"


def _safe(text: str) -> str:
    return html.escape(text, quote=False)


def _lines(rows: list[str]) -> str:
    return "<br>".join(_safe(row) for row in rows)
