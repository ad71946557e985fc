"""Figures of effects: their cells and lines are the rows of the tables."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from slm_lens.views.effects_figure import effects_curves, effects_heat_map

ROLES = ("before", "changed", "end")


def table(values, **more):
    rows = [(layer, role, values[layer][i]) for layer in range(2) for i, role in enumerate(ROLES)]
    frame = pl.DataFrame(rows, schema=["layer", "role", "estimate"], orient="row")
    return frame.with_columns(**more)


ONE = table([[0.0, 1.0, -0.5], [0.25, 0.0, 2.0]])
OTHER = table([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])


def cells(ax):
    return np.ma.filled(ax.images[0].get_array(), np.nan)


def test_cells_are_rows_and_all_panels_share_a_scale_around_zero():
    figure = effects_heat_map({"a": ONE, "b": OTHER}, label="recovery").matplotlib()
    a, b, bar = figure.axes
    assert cells(a).tolist() == [[0.0, 1.0, -0.5], [0.25, 0.0, 2.0]]
    assert cells(b).tolist() == [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]
    assert a.images[0].get_clim() == b.images[0].get_clim() == (-2.0, 2.0)
    assert [t.get_text() for t in a.get_xticklabels()] == list(ROLES)
    assert [t.get_text() for t in a.texts] == ["0.00", "1.00", "-0.50", "0.25", "0.00", "2.00"]
    assert bar.get_ylabel() == "recovery"


def test_places_can_be_chosen_and_what_is_missing_stays_empty():
    some = ONE.filter(~((pl.col("layer") == 1) & (pl.col("role") == "end")))
    (ax, _) = effects_heat_map({"a": some}, places=["end", "changed"]).matplotlib().axes
    assert np.isnan(cells(ax)[1, 0])
    assert cells(ax)[:, 1].tolist() == [1.0, 0.0]


def test_panels_go_into_rows():
    chart = effects_heat_map(dict.fromkeys("abc", ONE), n_columns=2)
    assert [[panel and panel.title for panel in row] for row in chart.rows] == [
        ["a", "b"],
        ["c", None],
    ]
    assert [ax.get_title() for ax in chart.matplotlib().axes] == ["a", "b", "c", ""]


def test_curves_are_rows_with_their_bands():
    rows = ONE.filter(role="changed").with_columns(
        low=pl.col("estimate") - 0.1, high=pl.col("estimate") + 0.2
    )
    figure = effects_curves({"speech": {"word": rows, "random": rows}}, label="nats").matplotlib()
    ax: Any = figure.axes[0]
    word, _, level = ax.lines
    assert list(level.get_ydata()) == [0.0, 0.0]
    assert list(word.get_ydata()) == [1.0, 0.0]
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["word", "random"]
    heights = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert heights.min() == pytest.approx(-0.1)
    assert heights.max() == pytest.approx(1.2)


def test_panels_of_different_curves_have_their_own_keys():
    rows = ONE.filter(role="end").with_columns(low=None, high=None)
    figure = effects_curves({"x": {"a": rows}, "y": {"b": rows}}).matplotlib()
    keys = [ax.get_legend() for ax in figure.axes]
    assert [[t.get_text() for t in key.get_texts()] for key in keys if key] == [["a"], ["b"]]
    assert not figure.legends


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match="effects_heat_map: got the tables"):
        effects_heat_map({})
    with pytest.raises(ValueError, match="without rows or the columns"):
        effects_heat_map({"a": ONE.drop("role")})
    with pytest.raises(ValueError, match="several rows for one layer and role in 'a'"):
        effects_heat_map({"a": pl.concat([ONE, ONE])})
    with pytest.raises(ValueError, match="n_columns=0"):
        effects_heat_map({"a": ONE}, n_columns=0)
    with pytest.raises(ValueError, match="effects_curves: got the tables"):
        effects_curves({"x": {"a": ONE}})
    with pytest.raises(ValueError, match="effects_curves: got the tables"):
        effects_curves({})
    whole = ONE.filter(role="end").with_columns(low=0.0, high=0.0)
    with pytest.raises(ValueError, match="got 7 curves in 'x'"):
        effects_curves({"x": {str(i): whole for i in range(7)}})
