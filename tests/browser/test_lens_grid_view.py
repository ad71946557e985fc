"""The lens grid in a browser: every cell against the data, pins, ranks, keyboard."""

import numpy as np
import pytest
from grid_by_hand import N_LAYERS, K, make_grid, shown
from spoken_by_hand import HOSTILE


@pytest.fixture(scope="module")
def grid():
    return make_grid()


@pytest.fixture
def page(browser_page, grid):
    from slm_lens.views.lens_grid import lens_grid_view

    return browser_page.open(lens_grid_view(grid))


def choose(page, label, option):
    page.get_by_label(label, exact=True).select_option(label=option)


CELLS = """[...document.querySelectorAll('.cell-grid td[role=gridcell]')].map((c) =>
    [c.dataset.layer, c.dataset.at, c.dataset.token, c.dataset.logProb, c.textContent])"""
SITES = {
    "max": "words, highest over their positions",
    "last": "words, at their last position",
    "position": "every position",
}


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize(("subset", "option"), [("text", "text"), ("full", "everything")])
def test_cells_are_those_of_the_grid(page, grid, site, subset, option):
    choose(page, "read", SITES[site])
    choose(page, "tokens of", option)
    cells = grid.cells[site]
    found = page.evaluate(CELLS)
    assert len(found) == (N_LAYERS + 1) * cells.n_rows
    assert [int(c[0]) for c in found[:: cells.n_rows]] == list(range(N_LAYERS, -1, -1))
    for layer, at, token, log_prob, text in found:
        place = int(layer), int(at)
        best = int(cells.top_ids[subset][place][0])
        assert int(token) == best
        assert float(log_prob) == pytest.approx(
            float(cells.top_log_prob[subset][place][0]), abs=0.0051
        )
        assert text == shown(grid, best)
    assert page.locator("img").count() == 0


def test_a_cell_tells_its_highest_tokens_and_ranks(page, grid):
    layer, at = 2, 2
    page.locator(f"td[data-layer='{layer}'][data-at='{at}']").click()
    cells = grid.cells["max"]
    rows = page.locator(".tops tbody tr")
    assert rows.count() == K
    for i, row in enumerate(rows.all()):
        token = int(cells.top_ids["text"][layer, at, i])
        assert row.get_attribute("data-token") == str(token)
        assert row.locator(".written").inner_text() == shown(grid, token)
        log_prob = float(row.get_attribute("data-log-prob"))
        assert log_prob == pytest.approx(
            float(cells.top_log_prob["text"][layer, at, i]), abs=0.0051
        )
    facts = page.locator(".facts")
    text = float(facts.nth(0).get_attribute("data-text"))
    assert text == pytest.approx(float(cells.mass[layer, at, 0]), abs=1e-4)
    fox, after = (int(cells.rank["text"][layer, at, f]) for f in (1, 2))
    assert facts.nth(1).get_attribute("data-current") == str(fox)
    assert facts.nth(1).get_attribute("data-next") == str(after)
    assert page.locator("td.cell.selected").count() == 1
    assert page.locator(".cell-details h3").inner_text() == "“fox” at layer 2"


def lines(page):
    return {
        g.get_attribute("data-label"): g.get_attribute("data-ranks")
        for g in page.locator(".rank-lines .line").all()
    }


def test_ranks_of_the_word_the_next_and_pins(page, grid):
    page.locator("td[data-layer='1'][data-at='2']").click()
    ranks = grid.cells["max"].rank["text"][:, 2]
    expected = {"fox (the word)": 1, "a<b (next)": 2}
    assert lines(page) == {
        name: ",".join(map(str, ranks[:, f].tolist())) for name, f in expected.items()
    }
    hostile = HOSTILE.replace(" ", "·")
    choose(page, "pin", hostile)
    assert lines(page)[hostile] == ",".join(map(str, ranks[:, 3].tolist()))
    choose(page, "pin", "137")  # a unit has no rank in text
    assert lines(page)["137"] == ",,,"
    choose(page, "tokens of", "everything")
    full = grid.cells["max"].rank["full"][:, 2, 4]
    assert lines(page)["137"] == ",".join(map(str, full.tolist()))
    page.get_by_label(f"take off {hostile}").click()
    assert hostile not in lines(page)


def test_pins_of_tokens_that_are_followed_nowhere_are_off(page, grid):
    page.locator("td[data-layer='0'][data-at='0']").click()
    known = {t for f in grid.followed for t in f.tokens}
    for button in page.locator(".pin").all():
        assert button.is_disabled() == (int(button.get_attribute("data-pin")) not in known)


@pytest.mark.parametrize(
    ("colour", "value"),
    [
        ("probability of the top token", lambda c: c.top_log_prob["text"][..., 0].exp()),
        ("probability of text, all tokens", lambda c: c.mass[..., 0]),
    ],
)
def test_darker_cells_have_more(page, grid, colour, value):
    choose(page, "colour", colour)
    shades = page.evaluate(
        """[...document.querySelectorAll('.cell-grid td[role=gridcell]')].map((c) =>
        [Number(c.dataset.layer), Number(c.dataset.at), c.style.backgroundColor])"""
    )
    expected = value(grid.cells["max"])
    light, amount = [], []
    for layer, at, css in shades:
        light.append(sum(int(x) for x in css[4:-1].replace(",", " ").split()))
        amount.append(float(expected[layer, at]))
    order = np.argsort(amount)
    assert (np.diff(np.array(light)[order]) <= 0).all()


def test_colours_by_rank_need_a_target(page):
    choose(page, "colour", "rank of the word itself")
    blank = """[...document.querySelectorAll('.cell-grid td[role=gridcell]')].filter((c) =>
        !c.style.backgroundColor).map((c) => c.dataset.at)"""
    assert set(page.evaluate(blank)) == {"1"}  # the word without a token
    choose(page, "colour", "rank of the last pin")
    assert len(page.evaluate(blank)) == 4 * (N_LAYERS + 1)
    choose(page, "pin", "fox")
    assert page.evaluate(blank) == []


def test_arrow_keys_move_and_enter_selects(page):
    page.locator("td[data-layer='3'][data-at='0']").focus()
    for key in ("ArrowDown", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    focused = "[document.activeElement.dataset.layer, document.activeElement.dataset.at]"
    assert page.evaluate(focused) == ["2", "2"]
    page.keyboard.press("Enter")
    assert page.locator("td.selected").get_attribute("data-layer") == "2"
    page.keyboard.press("End")
    assert page.evaluate(focused) == ["2", "3"]
    page.keyboard.press("ArrowRight")  # there is no further cell
    assert page.evaluate(focused) == ["2", "3"]
    assert page.locator(".cell-grid td[tabindex='0']").count() == 1


def test_the_top_token_that_is_the_word_is_framed(page, grid):
    cells = grid.cells["max"]
    framed = page.evaluate(
        """[...document.querySelectorAll('.cell.current')].map((c) =>
        [Number(c.dataset.layer), Number(c.dataset.at)])"""
    )
    expected = [
        [layer, at]
        for layer in range(N_LAYERS, -1, -1)
        for at, followed in enumerate((0, None, 1, 2))
        if followed is not None
        and int(cells.top_ids["text"][layer, at, 0]) in grid.followed[followed].tokens
    ]
    assert framed == expected


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_a_telephone_and_a_desk(browser_page, no_overflow, grid, width, theme):
    from slm_lens.views.lens_grid import lens_grid_view

    page = browser_page.open(lens_grid_view(grid), width=width, theme=theme)
    page.locator("td[data-layer='1'][data-at='1']").click()
    no_overflow(page)


def test_many_positions_come_in_pages(browser_page, grid):
    from dataclasses import replace

    from grid_by_hand import make_cells

    from slm_lens.views.lens_grid import lens_grid_view

    n = 100
    cells = make_cells([[p, p + 1] for p in range(n)], [None] * n, grid.followed, 5)
    long = replace(grid, tokens=grid.tokens.repeat(10)[:n], cells={"position": cells})
    page = browser_page.open(lens_grid_view(long))
    assert page.locator("td[role=gridcell]").count() == 40 * (N_LAYERS + 1)
    page.get_by_role("button", name="later ›").click()
    page.get_by_role("button", name="later ›").click()
    found = page.evaluate(CELLS)
    assert {int(c[1]) for c in found} == set(range(80, 100))
    for layer, at, token, *_ in found:
        assert int(token) == int(cells.top_ids["text"][int(layer), int(at), 0])
