"""What both renderings of a chart show, read back from matplotlib's artists and Plotly's traces."""

import html
from typing import Any

import numpy as np
import pytest

SAME = 1e-12  # colours and numbers go through no arithmetic but float64 of both libraries


def lines_in(chart) -> list[dict[str, tuple[list[float], list[float]]]]:
    """For each panel the x and y of its lines by name; both renderings must agree."""
    printed = [
        {str(line.get_label()): (list(line.get_xdata()), list(line.get_ydata()))
         for line in ax.lines if not str(line.get_label()).startswith("_")}
        for ax in _axes(chart)
    ]  # fmt: skip
    shown: list[dict[str, Any]] = [{} for _ in chart.panels]
    for trace in chart.plotly().data:
        if trace.type == "scatter" and trace.hovertext is not None and "lines" in trace.mode:
            shown[_panel(trace)][html.unescape(trace.name)] = (list(trace.x), list(trace.y))
    assert [list(panel) for panel in shown] == [list(panel) for panel in printed]
    for one, other in zip(shown, printed, strict=True):
        for name, values in one.items():
            assert np.array(values) == pytest.approx(np.array(other[name]), abs=SAME, nan_ok=True)
    return printed


def marks_in(chart) -> list[list[tuple[float, float, str]]]:
    """For each panel the x, y and text of its marks; both renderings must agree."""
    printed = []
    for ax in _axes(chart):
        points = [line for line in ax.lines if len(line.get_xdata()) == 1]
        at = {tuple(text.xy): text.get_text() for text in ax.texts if hasattr(text, "xy")}
        places = [(p.get_xdata()[0], p.get_ydata()[0]) for p in points]
        printed.append([(x, y, at.get((x, y), "")) for x, y in places])
    shown: list[Any] = [[] for _ in chart.panels]
    for trace in chart.plotly().data:
        if trace.type == "scatter" and trace.mode == "markers+text":
            shown[_panel(trace)].append((trace.x[0], trace.y[0], html.unescape(trace.text[0])))
    assert shown == printed
    return printed


def cells_in(chart) -> list[np.ndarray]:
    """For each panel its cells; both renderings must agree, in numbers and in texts."""
    printed = [ax.images[0] for ax in _axes(chart)]
    shown: dict[int, Any] = {_panel(t): t for t in chart.plotly().data if t.type == "heatmap"}
    found = []
    for number, image in enumerate(printed):
        cells = np.ma.filled(image.get_array().astype(float), np.nan)
        other = np.array(shown[number].z, dtype=float)
        assert cells == pytest.approx(other, abs=SAME, nan_ok=True)
        assert image.get_clim() == (chart.scale.low, chart.scale.high)
        found.append(cells)
    layout = chart.plotly().layout
    assert (layout.coloraxis.cmin, layout.coloraxis.cmax) == (chart.scale.low, chart.scale.high)
    return found


def texts_in(chart) -> list[list[list[str]]]:
    """For each panel the texts in its cells, as matplotlib wrote them; Plotly's must be equal."""
    found = []
    shown: dict[int, Any] = {_panel(t): t for t in chart.plotly().data if t.type == "heatmap"}
    for number, ax in enumerate(_axes(chart)):
        rows, columns = ax.images[0].get_array().shape
        texts = [[""] * columns for _ in range(rows)]
        for text in ax.texts:
            column, row = text.get_position()
            texts[int(row)][int(column)] = text.get_text()
        written = [[html.unescape(t) for t in row] for row in shown[number].text]
        for (row, column), text in np.ndenumerate(np.array(texts, dtype=object)):
            assert text in ("", written[row][column])
        found.append(texts)
    return found


def under_the_pointer(chart, panel: int) -> list[list[str]]:
    """Lines under the pointer on the screen, by point or by cell in reading order."""
    texts = []
    for trace in chart.plotly().data:
        if trace.hovertext is not None and _panel(trace) == panel:
            rows = np.ravel(np.array(trace.hovertext, dtype=object))
            texts += [html.unescape(text).split("<br>") for text in rows]
    return texts


def keys_in(chart) -> list[list[str]]:
    """Entries of each key; both renderings must agree."""
    figure = chart.matplotlib()
    printed = [[t.get_text() for t in key.get_texts()] for key in figure.legends]
    shown: dict[str, list[str]] = {}
    for trace in chart.plotly().data:
        if trace.showlegend is None and trace.type == "scatter":
            shown.setdefault(trace.legend, []).append(html.unescape(trace.name))
    assert list(shown.values()) == printed
    return printed


def _axes(chart) -> list[Any]:
    return chart.matplotlib().axes[: len(chart.panels)]


def _panel(trace) -> int:
    return int(trace.xaxis[1:] or 1) - 1
