"""Pages: what is in the file, and what a browser makes of it."""

import json
import re

import numpy as np
import pytest
from spoken_by_hand import HOSTILE, make_sequence, make_vocab


def strip(**options):
    from slm_lens.views.speech_tokens import speech_tokens

    return speech_tokens(make_sequence(), make_vocab(), **options)


def test_scripts_styles_and_policy_are_in_a_page_once():
    from slm_lens.views.page import Page, PageText

    text = Page([strip(), PageText("Words", "One.\n\nTwo & three."), strip()], title="Two").html()
    for marked in (
        "const slmLens = (",
        'slmLens.register("speech_tokens"',
        ".token-strip { display",
    ):
        assert text.count(marked) == 1
    assert text.count('<section class="view"') == 2
    assert "<p>One.</p>\n<p>Two &amp; three.</p>" in text
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    assert policy[1].startswith("default-src 'none';")
    assert "http" not in policy[1]


def test_titles_and_text_are_shown_as_written(browser_page):
    from slm_lens.views.page import Page, PageText

    shown = Page([PageText(HOSTILE, HOSTILE), strip(title=HOSTILE)], title=HOSTILE)
    page = browser_page.open(shown)
    assert page.title() == HOSTILE
    for tag in ("h1", ".words h2", ".words p", ".view h2"):
        assert page.locator(tag).inner_text() == HOSTILE
    assert page.locator("img").count() == 0


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int32", "float32", "float64"])
def test_arrays_arrive_as_typed_arrays(browser_page, dtype):
    """Read back in the browser, by the script that views use."""
    from slm_lens.views._json_script import json_for_script

    array = np.array([[0, 1, 2], [3, 100, 127]]).astype(dtype)
    page = browser_page.open(strip())
    got = page.evaluate(
        "sent => { const {values, shape} = slmLens.array(sent);"
        "return [values.constructor.name, [...values], shape] }",
        json.loads(json_for_script(array)),
    )
    assert got[0].lower() == f"{dtype}array"
    assert got[1:] == [[0, 1, 2, 3, 100, 127], [2, 3]]


def test_json_leaves_no_way_out_of_its_element_and_says_the_same():
    from slm_lens.views._json_script import json_for_script

    value = {"a": [HOSTILE, "<!--", "\u2028&\u2029"], "b": [float("nan"), np.float32(0.5), True]}
    text = json_for_script(value)
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == {"a": value["a"], "b": [None, 0.5, True]}


def test_what_is_no_data_is_refused():
    from slm_lens.views._json_script import json_for_script

    with pytest.raises(TypeError, match=r"got data of set, expected .* tensor.numpy\(\)"):
        json_for_script({"a": {1}})
    with pytest.raises(TypeError, match=r"got data with the keys \[1\], expected strings"):
        json_for_script({1: 2})
    with pytest.raises(TypeError, match=r"got an array of int64, expected one of .*uint8"):
        json_for_script(np.arange(3))


@pytest.mark.usefixtures("untyped")
def test_misuse_of_views_and_pages_is_refused():
    from slm_lens.views.page import Page, PageText, View

    with pytest.raises(ValueError, match=r"got kind='strip', expected one of .*speech_tokens"):
        View("strip", {}, "title", "description")
    with pytest.raises(ValueError, match=r"got title='title' and description=' ', expected both"):
        View("speech_tokens", {}, "title", " ")
    with pytest.raises(LookupError, match=r"got the script 'd3', expected one of .*plotly"):
        Page([View("speech_tokens", {}, "title", "description", scripts=("d3",))]).html()
    with pytest.raises(ValueError, match="got no parts, expected at least one"):
        Page([])
    with pytest.raises(TypeError, match=r"got parts of \['str'\], expected View and PageText"):
        Page(["text"])  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"got theme='sepia', expected one of"):
        Page([PageText("a")], theme="sepia")  # pyright: ignore[reportArgumentType]


def test_a_view_that_cannot_be_drawn_says_so(browser_page):
    from slm_lens.views.page import Page, View

    bad = View("speech_tokens", {}, "title", "description", scripts=("tokens",))
    page = browser_page.open(Page([bad, strip()]))
    assert page.locator("#view-0 .drawing").inner_text().startswith("This view could not be drawn")
    assert page.locator("#view-1 .token").count() == len(make_sequence())
    assert len(browser_page.complaints) == 1  # and no other view suffers
    browser_page.complaints.clear()


def test_a_page_is_written_in_full_or_not_at_all(tmp_path):
    from slm_lens.views.page import Page

    path = Page([strip()]).save(tmp_path / "new" / "page.html")
    assert path.read_text(encoding="utf-8") == Page([strip()]).html()
    assert strip().save(tmp_path / "view.html").read_bytes() == path.read_bytes()
    assert sorted(p.name for p in path.parent.iterdir()) == ["page.html"]


def test_in_a_notebook_the_frame_takes_the_height_of_its_content(browser_page):
    frame = strip()._repr_html_()
    assert 'sandbox="allow-scripts allow-downloads"' in frame
    page = browser_page.open(f"<!doctype html><title>notebook</title><body>{frame}{frame}")
    page.wait_for_function(
        "[...document.querySelectorAll('iframe')].every(f => f.style.height !== '480px')"
    )
    heights = page.evaluate("[...document.querySelectorAll('iframe')].map(f => f.clientHeight)")
    inside = page.frames[1]
    assert inside.locator(".token").count() == len(make_sequence())
    content = inside.evaluate("document.querySelector('main').getBoundingClientRect().bottom")
    assert heights[0] == heights[1]
    assert 0 <= heights[0] - content <= 17


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_page_follows_the_system_unless_told(browser_page, theme):
    from slm_lens.views.page import Page

    colours = {"light": "rgb(255, 255, 255)", "dark": "rgb(22, 25, 29)"}
    read = "getComputedStyle(document.documentElement).backgroundColor"
    other = "dark" if theme == "light" else "light"
    assert browser_page.open(strip(), theme=theme).evaluate(read) == colours[theme]
    forced = Page([strip()], theme=theme)
    assert browser_page.open(forced, theme=other).evaluate(read) == colours[theme]


def test_selection_pins_and_sound_reach_the_views_of_one_utterance_only(browser_page):
    from slm_lens.views.page import Page

    shown = Page([strip(utterance="a"), strip(utterance="a"), strip(utterance="b"), strip()])
    page = browser_page.open(shown)
    page.locator("#view-0 .heading[data-word='1']").click()
    chosen = [page.locator(f"#view-{i} .token-group.selected").count() for i in range(4)]
    assert chosen == [1, 1, 0, 0]
