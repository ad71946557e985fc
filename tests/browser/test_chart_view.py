"""Charts in a browser: numbers, words under the pointer, hostile tokens, dark pages, telephones."""

import numpy as np
import pytest
from spoken_by_hand import HOSTILE


def chart():
    """Two panels: a line with its band and a mark, and cells with words."""
    from slm_lens.views.chart import Chart, Key, Scale
    from slm_lens.views.panel import Axis, HeatMap, Line, Mark, Panel, layer_axis
    from slm_lens.views.style import Ink

    x, y = np.array([0.0, 1.0, 2.0]), np.array([0.5, 0.25, 1.0])
    ink = Ink("current", "dashed", "circle")
    line = Line(HOSTILE, x, y, ink, y - 0.1, y + 0.1)
    lines = Panel(
        layer_axis(2), Axis("cost", "nats"), HOSTILE, HOSTILE, (line,),
        (Mark(2.0, 1.0, ink, HOSTILE),),
    )  # fmt: skip
    cells = HeatMap(np.array([[0.5, -1.0]]), text=((HOSTILE, "dog"),))
    places = Axis("word", ticks=(0.0, 1.0), names=("the", HOSTILE))
    return Chart(
        ((lines, Panel(places, Axis("layer"), heat=cells)),), HOSTILE, HOSTILE, 7.0, 3.0,
        keys=(Key({HOSTILE: ink}),), scale=Scale("effect", -1.0, 1.0, "nats"),
    )  # fmt: skip


PLOT = "document.querySelector('.chart')"


def test_what_is_drawn_is_the_chart(browser_page):
    page = browser_page.open(chart().view())
    traces = page.evaluate(
        f"{PLOT}._fullData.map(t => [t.type, [...(t.y || [])], (t.z || []).map(r => [...r])])"
    )
    assert page.locator(".chart").get_attribute("data-traces") == str(len(traces)) == "5"
    kinds = [kind for kind, _, _ in traces]
    assert kinds == ["scatter", "scatter", "scatter", "heatmap", "scatter"]
    assert traces[1][1] == [0.5, 0.25, 1.0]
    assert traces[0][1] == pytest.approx([0.4, 0.15, 0.9, 1.1, 0.35, 0.6])
    assert traces[3][2] == [[0.5, -1.0]]
    assert page.locator(".chart .heatmaplayer").count() == 1


def test_hostile_words_are_shown_as_they_are(browser_page):
    page = browser_page.open(chart().view())
    assert page.locator("img").count() == 0
    texts = page.locator(".chart svg text").all_text_contents()
    assert sum(text == HOSTILE for text in texts) >= 5  # titles, mark, key, tick, cell


def test_values_are_under_the_pointer(browser_page):
    page = browser_page.open(chart().view())
    page.evaluate(f"Plotly.Fx.hover({PLOT}, [{{curveNumber: 1, pointNumber: 1}}])")
    lines = page.locator(".hoverlayer text .line, .hoverlayer text tspan").all_text_contents()
    assert "layer (0 = embedding): 1" in lines
    assert "cost: 0.25 nats" in lines
    assert "95 % interval: [0.15, 0.35]" in lines


def test_a_key_hides_its_lines(browser_page):
    page = browser_page.open(chart().view())
    page.locator(".legendtoggle").first.click()
    page.locator(".legend .traces[style*='opacity: 0.5']").wait_for()
    shown = page.evaluate(f"{PLOT}._fullData.map(trace => trace.visible)")
    assert shown == ["legendonly", "legendonly", True, True, "legendonly"]


def test_on_a_dark_page_ink_is_light(browser_page):
    page = browser_page.open(chart().view(), theme="dark")
    paper, ink, line = page.evaluate(
        f"[{PLOT}.layout.paper_bgcolor, {PLOT}.layout.font.color, {PLOT}.data[1].line.color]"
    )
    assert (paper, ink, line) == ("#16191d", "#eceff2", "#6cb8ea")


@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_a_telephone_and_a_desk(browser_page, no_overflow, width):
    page = browser_page.open(chart().view(), width=width)
    no_overflow(page)
    assert page.locator(".scroll").evaluate("box => box.scrollWidth") >= 1008  # of seven inches


def test_in_a_notebook_it_is_drawn_in_its_frame(browser_page):
    page = browser_page.open(f"<!doctype html><p>cell</p>{chart()._repr_html_()}")
    frame = page.frame_locator("iframe.slm-lens")
    frame.locator(".chart .main-svg").first.wait_for()
    assert frame.locator("h2").inner_text() == HOSTILE
