"""Top tokens against float64 softmax in numpy."""

import numpy as np
import pytest
import torch
from spoken_by_hand import HOSTILE, make_sequence, make_vocab

N, D_VOCAB = 13, 516


def logits():
    """Random, with written pieces and units among the top."""
    rng = np.random.default_rng(1)
    found = rng.normal(scale=2, size=(N, D_VOCAB))
    found[:, :10] += 3
    return found


def log_probs():
    exact = logits().astype(np.float32).astype(np.float64)
    highest = exact.max(-1, keepdims=True)
    return exact - highest - np.log(np.exp(exact - highest).sum(-1, keepdims=True))


def view(**options):
    from slm_lens.views.top_tokens import top_tokens

    given = torch.tensor(logits(), dtype=torch.float32)
    return top_tokens(given, make_sequence(), make_vocab(), **options)


def listed(page):
    items = page.locator(".top-list li")
    tokens = [int(x) for x in items.evaluate_all("all => all.map(e => e.dataset.token)")]
    numbers = page.locator(".log-prob").evaluate_all("all => all.map(e => e.dataset.value)")
    return tokens, [float(x) for x in numbers]


@pytest.mark.parametrize(
    ("subset", "ids"),
    [("all tokens", range(516)), ("text", range(10)), ("speech", range(10, 510))],
)
def test_the_list_is_the_top_of_the_softmax(browser_page, subset, ids):
    page = browser_page.open(view(k=7))
    page.get_by_label("among", exact=True).select_option(subset)
    exact = log_probs()
    for position in (0, 4, 12):
        page.locator(f".token[data-position='{position}']").click()
        tokens, numbers = listed(page)
        best = sorted(ids, key=lambda t: -exact[position, t])[:7]
        assert tokens == best
        assert numbers == pytest.approx(exact[position, best], abs=1e-4)


def test_cells_know_how_likely_what_follows_was(browser_page):
    page = browser_page.open(view())
    exact, following = log_probs(), make_sequence().tokens.tolist()[1:]
    cells = page.eval_on_selector_all(".token", "all => all.map(e => e.dataset.nextLogProb)")
    own = [exact[p, t] for p, t in enumerate(following)]
    assert [float(x) for x in cells[:-1]] == pytest.approx(own, abs=1e-4)
    assert cells[-1] is None
    page.locator(".token[data-position='7']").hover()
    rank = 1 + int((exact[7] > exact[7, 2]).sum())
    told = page.locator(".status").inner_text()
    assert told.endswith(
        f"next ·fox: log-prob {exact[7, 2]:.2f}, rank {rank}".replace("-", "−").replace(
            "log−prob", "log-prob"
        )
    )
    page.locator(".token[data-position='12']").hover()
    assert page.locator(".status").inner_text().endswith("last position")


def test_names_are_those_of_units_and_written_pieces(browser_page):
    page = browser_page.open(view(k=10))
    page.get_by_label("among", exact=True).select_option("text")
    names = page.locator(".top-token").all_inner_texts()
    assert HOSTILE.replace(" ", "·") in names
    assert "¶" in names
    page.get_by_label("among", exact=True).select_option("speech")
    tokens, _ = listed(page)
    assert page.locator(".top-token").all_inner_texts() == [str(t - 10) for t in tokens]
    assert page.locator("img").count() == 0


def test_a_pin_reaches_other_views_of_the_utterance(browser_page):
    from slm_lens.views.page import Page

    page = browser_page.open(Page([view(utterance="a"), view(utterance="a")]))
    button = page.locator("#view-0 .top-token").nth(2)
    token = page.locator("#view-0 .top-list li").nth(2).get_attribute("data-token")
    button.click()
    pinned = page.locator("#view-1 li:has(.top-token[aria-pressed=true])")
    assert pinned.get_attribute("data-token") == token
    page.locator("#view-1 .top-token[aria-pressed=true]").click()
    assert page.locator(".top-token[aria-pressed=true]").count() == 0


@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits(browser_page, no_overflow, width):
    no_overflow(browser_page.open(view(), width=width))


def test_logits_of_something_else_are_refused():
    from slm_lens.views.top_tokens import top_tokens

    with pytest.raises(ValueError, match=r"shape \(12, 516\) and k=10, expected \[13, 516\]"):
        top_tokens(torch.zeros(12, 516), make_sequence(), make_vocab())
    with pytest.raises(ValueError, match=r"k=0, expected .* k >= 1"):
        top_tokens(torch.zeros(13, 516), make_sequence(), make_vocab(), k=0)
    one_nan, one_inf, one_row = torch.zeros(13, 516), torch.zeros(13, 516), torch.zeros(13, 516)
    one_nan[3, 7], one_inf[3, 7], one_row[3] = torch.nan, torch.inf, -torch.inf
    for odd in (one_nan, one_inf, one_row):
        with pytest.raises(ValueError, match=r"logits that are NaN, inf, or all -inf .* expected"):
            top_tokens(odd, make_sequence(), make_vocab())


def test_what_cannot_come_next_is_said_to_be_impossible(browser_page):
    from slm_lens.views.top_tokens import top_tokens

    given = torch.tensor(logits(), dtype=torch.float32)
    given[3, 10] = -torch.inf  # unit 0, which follows position 3
    page = browser_page.open(top_tokens(given, make_sequence(), make_vocab()))
    page.locator(".token[data-position='3']").hover()
    assert "log-prob −∞, rank 516" in page.locator(".status").inner_text()
    colour = "e => getComputedStyle(e).backgroundColor"
    assert page.locator(".token[data-position='3']").evaluate(colour) == "rgb(255, 255, 255)"
