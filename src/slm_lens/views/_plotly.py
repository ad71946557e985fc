"""Charts for the screen, drawn by Plotly: values under the pointer, keys that hide, zoom."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from slm_lens.views._plotly_layout import Room, pixels, room_of
from slm_lens.views._plotly_traces import (
    add_heat,
    add_line,
    add_mark,
    add_rule,
    add_shade,
    axis_name,
    pen,
    safe,
)
from slm_lens.views.chart import Chart, Key, Scale
from slm_lens.views.panel import Axis, Panel
from slm_lens.views.style import Ink, Style

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


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
            _add_panel(figure, panel, number, chart, style)
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
            "text": safe(scale.title),
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
        bar |= {"ticktext": [safe(name) for name in scale.names]}
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
        limits = chart.limits(axis, "x" if which == "x" else "y")
        drawn = _axis(axis, style, limits, is_bare=panel.heat is not None)
        if which == "x" and axis.names is not None:
            drawn["tickangle"] = -30 if chart.is_slanted(panel, style) else 0
        first = numbers.setdefault((which, axis), number)
        if first != number:
            drawn["matches"] = axis_name(which, first)
        if chart.is_labelled(place, "x" if which == "x" else "y"):
            font = {"size": pixels(style, style.size_pt)}
            drawn["title"] = {
                "text": safe(axis.title),
                "standoff": pixels(style, 3.0),
                "font": font,
            }
        else:
            drawn["showticklabels"] = False
        other = axis_name("y" if which == "x" else "x", number)
        drawn |= {"domain": list(domains[which]), "anchor": other}
        figure.layout[f"{which}axis{number if number > 1 else ''}"] = drawn
    _add_titles(figure, panel, domains, style)


def _axis(
    axis: Axis, style: Style, limits: tuple[float, float], *, is_bare: bool
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
        drawn |= {"type": "log", "tickmode": "array", **_log_ticks(limits)}
    if axis.ticks is not None:
        drawn |= {"tickmode": "array", "tickvals": list(axis.ticks)}
    if axis.names is not None:
        drawn |= {"ticktext": [safe(name) for name in axis.names]}
    ends = np.log10(limits) if axis.is_log else np.array(limits)
    drawn["range"] = ends.tolist()
    return drawn


def _log_ticks(limits: tuple[float, float]) -> dict[str, Any]:
    """Powers of ten, and 2 and 5 times them where there are two of them at most."""
    low, high = (int(np.floor(np.log10(end))) for end in sorted(limits))
    parts = (1, 2, 5) if max(limits) < 100 * min(limits) else (1,)
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
        figure.add_annotation(text=safe(panel.subtitle), font=note, yshift=2, **at)
    if panel.title:
        shift = pixels(style, 1.5 * style.note_pt) if panel.subtitle else 2
        size = {"size": pixels(style, style.title_pt)}
        figure.add_annotation(text=safe(panel.title), font=size, yshift=shift, **at)


def _add_panel(figure: "Figure", panel: Panel, number: int, chart: Chart, style: Style) -> None:
    axes = {"xaxis": axis_name("x", number), "yaxis": axis_name("y", number)}
    for shade in panel.shades:
        add_shade(figure, shade, number, style)
    for rule in panel.rules:
        add_rule(figure, rule, panel, number, chart, style)
    if panel.heat is not None and chart.scale is not None:
        add_heat(figure, panel, panel.heat, chart.scale, number, style)
    for line in panel.lines:
        add_line(figure, line, panel, axes, style)
    for mark in panel.marks:
        add_mark(figure, mark, panel, axes, style)
    if panel.key:
        legend = f"legend{number + 10}"
        layout: Any = figure.layout
        suffix = str(number) if number > 1 else ""
        domain, height = layout[f"xaxis{suffix}"].domain, layout[f"yaxis{suffix}"].domain
        _add_entries(figure, panel.key, legend, axes, style)
        place = {"x": domain[1], "y": height[1], "xanchor": "right", "yanchor": "top"}
        size = {"size": pixels(style, style.tick_pt)}
        figure.layout[legend] = place | {"bgcolor": "rgba(255,255,255,0.7)", "font": size}


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
            x=[None], y=[None], name=safe(name), legend=legend, legendgroup=name,
            hoverinfo="skip", **pen(ink, style, larger=1.4), **axes,
        )  # fmt: skip
