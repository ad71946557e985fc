"""Charts by hand: both renderings hold the same numbers, words and limits, and refuse nonsense."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from drawn import cells_in, keys_in, lines_in, marks_in, texts_in, under_the_pointer

from slm_lens.views.chart import Chart, Key, Scale, save_figure
from slm_lens.views.panel import Axis, HeatMap, Line, Mark, Panel, Rule, Shade, layer_axis
from slm_lens.views.style import Ink, Style

HOSTILE = "</script><img src=x onerror=alert(1)>"
X = np.array([0.0, 1.0, 2.0])
LINE = Line(
    "recall", X, np.array([0.5, np.nan, 1.5]), Ink("current", "dashed", "square"),
    X + 0.1, np.array([1.0, 2.0, np.nan]), details=("a", "b", "c\nd"),
)  # fmt: skip


def chart_of_lines(**panel) -> Chart:
    drawn = Panel(layer_axis(2), Axis("cost", "nats"), "title", lines=(LINE,), **panel)
    return Chart(((drawn,),), "Lines", "Lines by hand.", 3.35, 2.0)


def chart_of_cells(**heat) -> Chart:
    cells = np.array([[0.25, np.nan], [-1.0, 1.0]])
    x = Axis("place", ticks=(0.0, 1.0), names=("start", HOSTILE))
    panel = Panel(x, Axis("layer"), HOSTILE, heat=HeatMap(cells, **heat))
    scale = Scale("effect", -1.0, 1.0, "nats")
    return Chart(((panel,),), HOSTILE, HOSTILE, 3.35, 2.0, scale=scale)


def test_lines_bands_and_marks_are_the_same_in_both():
    mark = Mark(1.0, 1.25, Ink("next", marker="diamond"), "1.25", is_below=True)
    chart: Any = chart_of_lines(marks=(mark,))
    (lines,) = lines_in(chart)
    assert lines["recall"][0] == [0, 1, 2]
    assert lines["recall"][1][::2] == [0.5, 1.5]
    assert np.isnan(lines["recall"][1][1])
    assert marks_in(chart) == [[(1.0, 1.25, "1.25")]]
    traces: Any = chart.plotly().data
    band, line = traces[:2]
    assert list(band.x) == [0, 1, 1, 0]  # no upper end at 2
    assert list(band.y) == [0.1, 1.1, 2.0, 1.0]
    assert band.fillcolor == "rgba(0,114,178,0.15)"
    assert line.line.color == "#0072B2"
    ax: Any = chart.matplotlib().axes[0]
    printed = ax.collections[0].get_paths()[0].vertices
    assert {tuple(v) for v in printed.tolist()} == {(0, 0.1), (1, 1.1), (1, 2.0), (0, 1.0)}
    assert (ax.lines[0].get_color(), ax.lines[0].get_marker()) == ("#0072B2", "s")


def test_values_under_the_pointer_have_units_and_intervals():
    first, _, last = under_the_pointer(chart_of_lines(), 0)
    assert first == ["recall", "layer (0 = embedding): 0", "cost: 0.5 nats",
                     "95 % interval: [0.1, 1]", "a"]  # fmt: skip
    assert last[-2:] == ["c", "d"]
    named = chart_of_cells(details=None)
    assert under_the_pointer(named, 0)[2] == ["layer: 1", "place: start", "effect: -1 nats"]


def test_rules_and_shades_are_the_same_in_both():
    rules = (Rule(1.5, "x", Ink("grey"), "here"), Rule(0.75, "y", Ink("grey", "dotted")))
    chart: Any = chart_of_lines(rules=rules, shades=(Shade(0.0, 1.0, "middle"),))
    ax: Any = chart.matplotlib().axes[0]
    upright, level = (line for line in ax.lines if line.get_label() != "recall")
    assert list(upright.get_xdata()) == [1.5, 1.5]
    assert list(level.get_ydata()) == [0.75, 0.75]
    assert (ax.patches[0].get_x(), ax.patches[0].get_width()) == (0.0, 1.0)
    assert {"here", "middle"} <= {text.get_text() for text in ax.texts}
    shade, first, second = chart.plotly().layout.shapes
    assert (shade.x0, shade.x1, first.x0, first.x1) == (0.0, 1.0, 1.5, 1.5)
    assert (second.y0, second.y1) == (0.75, 0.75)
    assert {"here", "middle", "title"} == {a.text for a in chart.plotly().layout.annotations}


def test_both_have_the_same_limits():
    """The line and its band go from 0.1 to 2.1; a twentieth is added at both ends."""
    for axis, wanted in (
        (Axis("cost"), (0.0, 2.2)),
        (Axis("cost", low=-1.0), (-1.0, 2.2)),
        (Axis("cost", is_log=True, low=10.0, high=0.01), (10.0, 0.01)),
        (Axis("cost", is_log=True), (0.1 / 21**0.05, 2.1 * 21**0.05)),
    ):
        chart: Any = Chart(((Panel(layer_axis(2), axis, lines=(LINE,)),),), "t", "d", 3.0, 2.0)
        assert chart.limits(axis, "y") == pytest.approx(wanted)
        assert chart.matplotlib().axes[0].get_ylim() == pytest.approx(wanted)
        shown = chart.plotly().layout.yaxis
        ends = np.log10(wanted) if axis.is_log else wanted
        assert list(shown.range) == pytest.approx(list(ends))
        assert (shown.type == "log") == axis.is_log
    chart = chart_of_lines()
    assert chart.limits(chart.panels[0].x, "x") == pytest.approx((-0.06, 2.06))


def test_powers_of_ten_are_written_out_in_both():
    for high, wanted in ((200.0, ["1", "10", "100"]), (8.0, ["1", "2", "5"])):
        line = Line("rank", X, np.array([1.0, 2.0, high]), Ink("black"))
        axis = Axis("rank", is_log=True)
        chart: Any = Chart(((Panel(layer_axis(2), axis, lines=(line,)),),), "t", "d", 3.0, 2.0)
        low, top = chart.limits(axis, "y")
        figure: Any = chart.matplotlib()
        ticks = figure.axes[0].get_yticklabels()
        labels = [t.get_text() for t in ticks if low <= t.get_position()[1] <= top]
        assert labels == wanted
        shown = chart.plotly().layout.yaxis
        values = zip(shown.tickvals, shown.ticktext, strict=True)
        assert [text for value, text in values if low <= value <= top] == wanted


def test_cells_texts_and_frames_are_the_same_in_both():
    chart: Any = chart_of_cells(text=(("$a$", "none"), (HOSTILE, "d")), frames=((1, 0, "next"),))
    (cells,) = cells_in(chart)
    assert cells[1].tolist() == [-1.0, 1.0]
    assert np.isnan(cells[0, 1])
    assert texts_in(chart) == [[["$a$", ""], [HOSTILE, "d"]]]  # no text where there is no cell
    ax: Any = chart.matplotlib().axes[0]
    empty, frame = ax.patches
    assert empty.get_bbox().bounds == (-0.5, -0.5, 2, 2)
    assert frame.get_bbox().bounds == pytest.approx((-0.46, 0.56, 0.92, 0.88))
    grey, shown = chart.plotly().layout.shapes
    assert (grey.x0, grey.x1, grey.y0, grey.y1) == (-0.5, 1.5, -0.5, 1.5)
    assert (shown.x0, shown.x1, shown.y0, shown.y1) == pytest.approx((-0.46, 0.46, 0.56, 1.44))
    assert shown.line.color == "#D55E00"


def test_cells_have_the_same_colours_in_both():
    chart: Any = chart_of_cells()
    image = chart.matplotlib().axes[0].images[0]
    stops = chart.plotly().layout.coloraxis.colorscale
    assert len(stops) == 11
    for share, colour in stops:
        printed = image.to_rgba(-1 + 2 * share, bytes=True)[:3]
        wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        assert np.abs(np.array(printed, dtype=int) - wanted).max() <= 2  # 256 steps in matplotlib


def test_panels_that_hold_one_axis_share_its_labels():
    x, y, own = Axis("x"), Axis("y"), Axis("own")
    a, b, c = (
        Panel(x, axis, name, lines=(LINE,)) for name, axis in zip("abc", (y, y, own), strict=True)
    )
    chart: Any = Chart(((a, b), (c, None)), "t", "d", 3.0, 3.0, row_heights=(2.0, 1.0))
    figure: Any = chart.matplotlib()
    assert [ax.get_ylabel() for ax in figure.axes] == ["y", "", "own"]
    assert [ax.get_xlabel() for ax in figure.axes] == ["", "x", "x"]
    layout = chart.plotly().layout
    assert [layout[f"yaxis{n}"].title.text for n in ("", 2, 3)] == ["y", None, "own"]
    assert [layout[f"xaxis{n}"].title.text for n in ("", 2, 3)] == [None, "x", "x"]
    assert layout.yaxis2.matches == "y"
    assert [layout[f"yaxis{n}"].showticklabels for n in ("", 2, 3)] == [None, False, None]


def test_keys_stand_above_and_below():
    inks = {"one": Ink("text"), HOSTILE: Ink("speech", "dotted")}
    chart: Any = replace(chart_of_lines(), keys=(Key(inks), Key({"three": Ink("black")}, "below")))
    assert keys_in(chart) == [["one", HOSTILE], ["three"]]
    layout = chart.plotly().layout
    assert (layout.legend.yanchor, layout.legend2.yanchor) == ("top", "bottom")
    inside: Any = Chart(((replace(chart.panels[0], key=inks),),), "t", "d", 3.0, 2.0)
    (ax,) = inside.matplotlib().axes
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["one", HOSTILE]
    assert inside.plotly().layout.legend11.xanchor == "right"


def test_nothing_hostile_reaches_plotly_as_html():
    chart: Any = chart_of_cells(text=((HOSTILE,) * 2,) * 2, details=((HOSTILE,) * 2,) * 2)
    figure: Any = chart.plotly()
    texts = [figure.data[0].text, figure.data[0].hovertext, figure.layout.xaxis.ticktext]
    texts.append([a.text for a in figure.layout.annotations])
    assert "<img" not in repr(texts)
    assert "&lt;img src=x onerror=alert(1)&gt;" in repr(texts)


def test_a_style_holds_for_both():
    style = Style(size_pt=9.0, colours={**Style().colours, "current": "#123456"})
    chart: Any = chart_of_lines()
    ax: Any = chart.matplotlib(style=style).axes[0]
    assert ax.xaxis.label.get_fontsize() == 9.0
    assert ax.lines[0].get_color() == "#123456"
    figure: Any = chart.plotly(style=style)
    assert figure.layout.xaxis.title.font.size == 18.0  # two pixels for a point
    assert figure.data[1].line.color == "#123456"
    assert (figure.layout.width, figure.layout.height) == (3.35 * 144, 2.0 * 144)


def test_a_view_is_what_plotly_draws():
    chart: Any = chart_of_cells()
    view = chart.view()
    assert (view.kind, view.scripts, view.title) == ("chart", ("plotly",), HOSTILE)
    assert view.data == json.loads(chart.plotly().to_json() or "")
    assert chart._repr_html_().startswith('<iframe class="slm-lens"')
    assert 2 * len(chart._repr_html_()) < 5_000_000  # Plotly, compressed, and little more


def test_saved_as_it_is_or_drawn_and_changed(tmp_path):
    png, svg = save_figure(chart_of_lines(), tmp_path / "new" / "a.b")
    assert (png.name, svg.name) == ("a.b.png", "a.b.svg")
    figure: Any = chart_of_lines().matplotlib()
    figure.axes[0].set_title("mine")
    _, svg = save_figure(figure, tmp_path / "changed")
    assert ">mine</text>" in svg.read_text()
    small, _ = chart_of_lines().save(tmp_path / "small", dots_per_inch=20.0)
    assert small.stat().st_size < png.stat().st_size


def test_what_makes_no_chart_is_refused():
    with pytest.raises(ValueError, match=r"Axis: got 1 names and 2 ticks, expected one name"):
        Axis("x", ticks=(0.0, 1.0), names=("a",))
    with pytest.raises(ValueError, match=r"Line 'a': got parts of \[3, 3, 2\] points"):
        Line("a", X, X, Ink("black"), details=("b", "c"))
    with pytest.raises(ValueError, match=r"low and high given: True, False; expected equal"):
        Line("a", X, X, Ink("black"), low=X)
    with pytest.raises(ValueError, match=r"HeatMap: got text in rows of \[2\] for cells of shape"):
        HeatMap(np.zeros((2, 2)), text=(("a", "b"),))
    panel = chart_of_lines().panels[0]
    with pytest.raises(ValueError, match=r"Chart: got rows of \[1, 2\] panels and 2 heights"):
        Chart(((panel,), (panel, panel)), "t", "d", 3.0, 2.0)
    with pytest.raises(ValueError, match=r"Chart: got cells without a scale"):
        replace(chart_of_cells(), scale=None)
    with pytest.raises(LookupError, match=r"Style.colour: got 'pink', expected '#rrggbb' or one"):
        Style().colour("pink")
