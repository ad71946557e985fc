"""Attention: what the browser shows against patterns by hand."""

import numpy as np
import pytest
from spoken_by_hand import HOSTILE, make_sequence, make_vocab

N = 13  # positions of make_sequence
SPOKEN, WRITTEN = range(1, 7), range(8, 12)


def patterns(n_layers=2, n_heads=3, *, causal=True, n=N):
    """Random attention whose rows sum to one."""
    rng = np.random.default_rng(5)
    weights = np.exp(2 * rng.gumbel(size=(n_layers, n_heads, n, n)))
    weights *= np.tril(np.ones((n, n))) if causal else 1
    return weights / weights.sum(-1, keepdims=True)


def view(values, **options):
    from slm_lens.views.attention import attention_heads

    return attention_heads(values, make_sequence(), make_vocab(), **options)


def cell(page):
    data = page.locator(".map").evaluate("canvas => ({...canvas.dataset})")
    return int(data["query"]), int(data["key"]), float(data["value"])


def go_to(page, row, column):
    """With the arrow keys, from the upper left corner."""
    page.locator(".map").first.focus()
    for key, times in (
        ("ArrowUp", N),
        ("ArrowLeft", N),
        ("ArrowDown", row),
        ("ArrowRight", column),
    ):
        for _ in range(times):
            page.keyboard.press(key)


@pytest.mark.parametrize("causal", [True, False])
def test_every_value_of_a_head_is_that_of_the_pattern(browser_page, causal):
    values = patterns(causal=causal)
    page = browser_page.open(view(values, layers=[3, 5]))
    page.locator(".choice select").first.select_option("1")
    page.locator(".thumb[data-head='2']").click()
    drawing = page.locator(".drawing")
    assert (drawing.get_attribute("data-layer"), drawing.get_attribute("data-head")) == ("5", "2")
    for row, column in ((0, 0), (7, 3), (12, 12), (4, 9)):
        go_to(page, row, column)
        query, key, shown = cell(page)
        assert (query, key) == (row, column)
        exact = values[1, 2, row, column]
        assert shown == pytest.approx(exact, abs=0.002 * max(exact, 1e-9) ** 0.5 + 4e-6)


def test_bytes_hold_attention_as_closely_as_is_said():
    from slm_lens.views.attention import _coded

    exact = np.concatenate([np.linspace(0, 1, 4001), np.geomspace(1e-9, 1, 500)])
    decoded = (_coded(exact[None, None])[0, 0] / 255.0) ** 2
    error = np.abs(decoded - exact)
    assert (error <= np.sqrt(exact) / 255 + 2e-5).all()
    assert error[np.abs(exact - 0.01) < 1e-4].max() < 0.0004
    assert error[np.abs(exact - 0.5) < 1e-3].max() < 0.003
    assert (decoded[exact > 0] > 0).all()


def test_words_are_means_of_sums_and_rows_still_sum_to_one(browser_page):
    values = patterns()
    page = browser_page.open(view(values))
    page.get_by_label("map of", exact=True).select_option("words")
    # marker | the | HOSTILE | (no word) | marker | fox | a<b | special; "uh" has no position
    spans = [(0, 1), (1, 3), (3, 6), (6, 7), (7, 8), (8, 9), (9, 12), (12, 13)]
    exact = np.array([[values[0, 0, a:b, c:d].sum() / (b - a) for c, d in spans] for a, b in spans])
    assert exact.sum(1) == pytest.approx(np.ones(8))
    assert page.locator(".map").get_attribute("data-rows") == "8"
    for row, column in ((0, 0), (2, 1), (6, 2), (6, 6), (7, 4)):
        go_to(page, row, column)
        assert cell(page)[:2] == (row, column)
        assert cell(page)[2] == pytest.approx(exact[row, column], abs=0.005)
    go_to(page, 6, 2)
    told = page.locator(".status").inner_text()
    assert told == f"layer 0, head 0 · {cell(page)[2]:.3f} · “a<b” reads “{HOSTILE}”"


@pytest.mark.parametrize(
    ("choice", "rows", "columns"),
    [
        ("text reading speech", WRITTEN, SPOKEN),
        ("speech reading text", SPOKEN, WRITTEN),
        ("speech reading speech", SPOKEN, SPOKEN),
        ("text reading text", WRITTEN, WRITTEN),
    ],
)
def test_one_modality_reading_another_is_those_rows_and_columns(
    browser_page, choice, rows, columns
):
    values = patterns(causal=False)
    page = browser_page.open(view(values))
    page.get_by_label("show", exact=True).select_option(choice)
    canvas = page.locator(".map")
    assert canvas.get_attribute("data-rows") == str(len(rows))
    assert canvas.get_attribute("data-columns") == str(len(columns))
    go_to(page, 1, 2)
    query, key, shown = cell(page)
    assert (query, key) == (rows[1], columns[2])
    assert shown == pytest.approx(values[0, 0, query, key], abs=0.003)


@pytest.mark.parametrize("reads", [True, False])
def test_tokens_take_the_colour_of_what_a_selected_one_reads(browser_page, reads):
    values = patterns(causal=False)
    page = browser_page.open(view(values))
    if not reads:
        page.get_by_label("tokens by", exact=True).select_option("what reads the position")
    page.locator(".token[data-position='10']").click()
    page.mouse.move(0, 0)
    page.wait_for_timeout(100)
    luminance = page.eval_on_selector_all(
        ".token",
        "cells => cells.map(c => getComputedStyle(c).backgroundColor.match(/\\d+/g).slice(0, 3)"
        ".reduce((a, b) => a + Number(b), 0))",
    )
    exact = values[0, 0, 10] if reads else values[0, 0, :, 10]
    assert np.argsort(luminance)[0] == np.argmax(exact)
    assert np.corrcoef(-np.array(luminance), np.sqrt(exact))[0, 1] > 0.95


def test_the_map_is_darker_where_attention_is(browser_page):
    """Pixels of the canvas against the pattern, in the middle of each cell."""
    values = patterns(causal=False)
    page = browser_page.open(view(values))
    light = page.locator(".map").evaluate(
        """(canvas, n) => {
          const side = canvas.width - 96, found = [];
          const { width, height } = canvas;
          const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
          for (let r = 0; r < n; r++) for (let c = 0; c < n; c++) {
            const at = (i, from) => Math.round(from + (i + 0.5) * side / n);
            found.push(data[4 * (at(r, 74) * width + at(c, 92))]);
          }
          return found;
        }""",
        N,
    )
    order = np.corrcoef(-np.array(light), np.sqrt(values[0, 0].ravel()))[0, 1]
    assert order > 0.9


def test_views_of_one_utterance_share_layer_and_position(browser_page):
    from slm_lens.views.page import Page

    shown = [view(patterns(), utterance="a", layers=[2, 4]) for _ in range(2)]
    page = browser_page.open(Page(shown))
    page.locator("#view-0 select").first.select_option("1")
    page.locator("#view-0 .token[data-position='5']").click()
    second = page.locator("#view-1 .drawing")
    assert second.get_attribute("data-layer") == "4"
    assert page.locator("#view-1 .token.selected").get_attribute("data-position") == "5"
    go_to(page, 8, 0)
    page.keyboard.press("Enter")
    assert page.locator("#view-1 .token.selected").get_attribute("data-position") == "8"


@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_and_shows_hostile_tokens_as_text(browser_page, no_overflow, width):
    page = browser_page.open(view(patterns()), width=width)
    no_overflow(page)
    assert page.locator("img").count() == 0
    assert HOSTILE in page.locator(".token-strip").inner_text()
    assert page.locator(".thumb").count() == 3


def test_bfloat16_tensors_are_taken():
    import torch

    given = torch.tensor(patterns(), dtype=torch.bfloat16)
    assert view(given).data["n_heads"] == 3


def test_a_long_pattern_has_small_thumbnails_that_keep_thin_lines():
    from slm_lens.views.attention import _coded, _thumbnails

    thin = np.eye(500)[None]
    small = _thumbnails(_coded(thin))
    assert small.shape == (1, 48, 48)
    assert (np.diagonal(small[0]) == 255).all()
    assert small.sum() == 48 * 255


def test_what_is_no_attention_is_refused():
    good = patterns()
    with pytest.raises(ValueError, match=r"shape \(2, 3, 12, 13\) for 13 positions, expected"):
        view(good[:, :, :12])
    with pytest.raises(ValueError, match=r"got values from .* expected attention in \[0, 1\]"):
        view(good - 1)
    with pytest.raises(ValueError, match=r"got values from nan"):
        view(np.where(np.eye(N) > 0, np.nan, good))
    with pytest.raises(ValueError, match=r"patterns of 2 layers and layers=\[1\], expected one"):
        view(good, layers=[1])


@pytest.mark.usefixtures("untyped")
def test_an_unknown_renderer_is_refused():
    with pytest.raises(ValueError, match=r"got renderer='svg', expected one of \('canvas', 'ci"):
        view(patterns(), renderer="svg")


@pytest.mark.parametrize("framed", [False, True])
def test_the_map_can_be_saved_as_a_picture(browser_page, tmp_path, framed):
    """From a file, and from the frame of a notebook, which may save files and do little else."""
    from PIL import Image

    shown = view(patterns(), layers=[3, 5])
    page = browser_page.open(shown._repr_html_() if framed else shown)
    inside = page.frame_locator("iframe") if framed else page
    inside.locator(".thumb[data-head='1']").click()
    with page.expect_download() as found:
        inside.get_by_text("save picture").click()
    assert found.value.suggested_filename == "attention-L3H1.png"
    found.value.save_as(tmp_path / "map.png")
    picture = Image.open(tmp_path / "map.png")
    assert picture.width > 1200
    assert picture.convert("RGBA").getpixel((0, 0)) == (255, 255, 255, 255)


def test_a_long_strip_scrolls_to_what_is_selected_and_the_page_stays(browser_page):
    import torch

    from slm_lens.sequence.sequence import SpeechTextSequence
    from slm_lens.sequence.word_span import WordSpan
    from slm_lens.views.attention import attention_heads

    n = 700
    words = tuple(WordSpan(f"w{i}", "speech", i, i + 7, i / 25, i / 25) for i in range(0, n, 7))
    sequence = SpeechTextSequence(torch.full((n,), 20), ("speech",) * n, words)
    view = attention_heads(np.eye(n)[None], sequence, make_vocab())
    page = browser_page.open(view)
    box = page.locator(".map").bounding_box()
    before = page.evaluate("window.scrollY")
    page.mouse.click(box["x"] + 0.9 * box["width"], box["y"] + 0.9 * box["height"])
    selected = page.locator(".token.selected")
    assert int(selected.get_attribute("data-position")) > 500
    inner, outer = selected.bounding_box(), page.locator(".token-strip").bounding_box()
    assert outer["y"] <= inner["y"] <= outer["y"] + outer["height"] - inner["height"]
    assert page.evaluate("window.scrollY") == before


def test_arrow_keys_go_from_head_to_head_also_after_another_layer(browser_page):
    page = browser_page.open(view(patterns()))
    for layer in ("1", "0", "1"):
        page.locator(".choice select").first.select_option(layer)
    page.locator(".thumb").first.focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.dataset.head") == "1"
    page.keyboard.press("Enter")
    assert page.locator(".thumb[aria-pressed=true]").get_attribute("data-head") == "1"
    assert page.locator(".drawing").get_attribute("data-head") == "1"
