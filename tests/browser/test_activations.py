"""Activations: bars and cells against the numbers."""

import numpy as np
import pytest
from spoken_by_hand import HOSTILE, make_sequence, make_units, make_vocab

N = 13


def values(n_layers=2, n_neurons=5):
    return np.random.default_rng(2).normal(size=(n_layers, N, n_neurons)).astype(np.float32)


def view(given, **options):
    from slm_lens.views.activations import activations

    return activations(given, make_sequence(), make_vocab(), **options)


def bars(page):
    return [
        float(x)
        for x in page.eval_on_selector_all(".course rect", "all => all.map(e => e.dataset.value)")
    ]


def chosen(page):
    drawing = page.locator(".drawing")
    return drawing.get_attribute("data-layer"), drawing.get_attribute("data-neuron")


def test_neurons_come_by_their_largest_activation_and_bars_are_it(browser_page):
    given = values()
    page = browser_page.open(view(given, layers=[4, 9]))
    order = np.argsort(-np.abs(given[0]).max(0))
    listed = page.get_by_label("neuron", exact=True).locator("option").all_inner_texts()
    assert listed == [str(i) for i in order]
    assert chosen(page) == ("4", str(order[0]))
    assert bars(page) == pytest.approx(given[0, :, order[0]])
    page.get_by_label("neuron", exact=True).select_option("3")
    assert bars(page) == pytest.approx(given[0, :, 3])
    page.get_by_label("layer", exact=True).select_option("9")
    best = int(np.argmax(np.abs(given[1]).max(0)))
    assert chosen(page) == ("9", str(best))
    assert bars(page) == pytest.approx(given[1, :, best])


def test_bars_are_as_high_as_numbers_say(browser_page):
    given = np.linspace(-1, 2, N)[:, None]
    page = browser_page.open(view(given))
    boxes = page.eval_on_selector_all(
        ".course rect", "all => all.map(e => [+e.getAttribute('y'), +e.getAttribute('height')])"
    )
    zero = 110 * 2 / 3
    for (top, height), x in zip(boxes, given[:, 0], strict=True):
        assert height == pytest.approx(110 * abs(x) / 3 + 0.6, abs=0.01)
        assert top == pytest.approx(zero - 110 * max(x, 0) / 3, abs=0.01)
    assert page.locator(".course-scale").inner_text().split() == ["2.00", "−1.00"]


def test_pointing_and_selecting(browser_page):
    given = np.arange(N, dtype=float)[:, None]
    page = browser_page.open(view(given, units=make_units(), quantity="code of a feature"))
    page.locator(".token[data-position='3']").hover()
    told = page.locator(".status").inner_text()
    assert told.endswith("0.08–0.16 s · code of a feature 3.00")
    page.locator(".course rect[data-position='4']").click()
    assert page.locator(".token.selected").get_attribute("data-position") == "4"
    page.mouse.move(0, 0)
    page.locator(".token[data-position='4']").blur()
    marked = page.locator(".course rect.marked")
    assert marked.count() == 1
    assert marked.get_attribute("data-position") == "4"


def test_names_are_text_and_layers_follow(browser_page):
    from slm_lens.views.page import Page

    options = {"names": [HOSTILE, "b"], "layers": [0, 3], "utterance": "a"}
    shown = [view(values(n_neurons=2), **options) for _ in range(2)]
    page = browser_page.open(Page(shown))
    listed = (
        page.locator("#view-0")
        .get_by_label("neuron", exact=True)
        .locator("option")
        .all_inner_texts()
    )
    assert sorted(listed) == sorted([HOSTILE, "b"])
    page.locator("#view-0").get_by_label("layer", exact=True).select_option("3")
    assert page.locator("#view-1 .drawing").get_attribute("data-layer") == "3"
    assert page.locator("img").count() == 0


@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits(browser_page, no_overflow, width):
    no_overflow(browser_page.open(view(values()), width=width))


def test_through_circuitsvis_neurons_are_there(browser_page):
    page = browser_page.open(view(values(), renderer="circuitsvis"))
    page.get_by_text("137").first.wait_for()
    assert "‹/script›" in page.locator(".circuits").inner_text()
    assert page.locator(".circuits img").count() == 0


def test_values_that_do_not_fit_are_refused(monkeypatch):
    from slm_lens.views import activations as module

    with pytest.raises(ValueError, match=r"shape \(3, 5\) for 13 positions, expected \[13, n_neu"):
        view(np.zeros((3, 5)))
    with pytest.raises(ValueError, match=r"got values that are not finite, expected numbers"):
        view(np.full((N, 2), np.inf))
    with pytest.raises(ValueError, match=r"got 1 layers and 3 names for values of 1 layers and 2"):
        view(np.zeros((N, 2)), names=["a", "b", "c"])
    monkeypatch.setattr(module, "MAX_VALUES", 25)
    with pytest.raises(ValueError, match=r"got 26 values, expected at most 25 on a page"):
        view(np.zeros((N, 2)))
