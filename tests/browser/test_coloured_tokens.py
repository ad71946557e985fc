"""Coloured tokens: numbers of results against what cells carry, say and look like."""

import numpy as np
import polars as pl
import pytest
import torch
from spoken_by_hand import HOSTILE, make_sequence, make_vocab

N = 13


def view(values, **options):
    from slm_lens.views.coloured_tokens import coloured_tokens

    return coloured_tokens(values, make_sequence(), make_vocab(), **options)


def numbers_of(page):
    shown = page.eval_on_selector_all(".token", "cells => cells.map(c => c.dataset.value)")
    return [float(x) for x in shown]


def colours_of(page):
    """Red less blue: positive is green-blue, negative is brown."""
    return page.eval_on_selector_all(
        ".token",
        "cells => cells.map(c => {const [r, , b] = getComputedStyle(c).backgroundColor"
        ".match(/\\d+/g).map(Number); return r - b})",
    )


def test_cells_carry_the_numbers_and_their_colour_is_the_sign(browser_page):
    values = np.linspace(-1, 1, N)
    page = browser_page.open(view({"score": values}))
    assert numbers_of(page) == pytest.approx(values, abs=1e-6)
    warm = np.array(colours_of(page))
    assert (warm[values < -0.1] > 0).all()
    assert (warm[values > 0.1] < 0).all()
    assert warm[6] == 0
    assert page.locator(".colour-bar .labels").inner_text().split() == ["−1.00", "0", "1.00"]


def test_pointing_tells_the_number_and_the_sum_over_the_word(browser_page):
    values = np.arange(N) / 10
    page = browser_page.open(view({HOSTILE: values}, quantity="nats"))
    page.locator(".token[data-position='4']").hover()
    told = page.locator(".status").inner_text()
    assert told.endswith(f"{HOSTILE}: 0.40 nats · sum over the word 1.20")  # 0.3 + 0.4 + 0.5
    assert page.locator("img").count() == 0


def test_one_scale_for_all_sets_or_one_for_each(browser_page):
    values = {"small": np.full(N, 0.02), "large": np.full(N, 2.0)}
    page = browser_page.open(view(values))
    bar = page.locator(".colour-bar .labels")
    assert bar.inner_text().split()[-1] == "2.00"
    page.get_by_label("scale", exact=True).select_option("of this one")
    assert bar.inner_text().split()[-1] == "0.0200"
    page.get_by_label("show", exact=True).select_option("large")
    assert bar.inner_text().split()[-1] == "2.00"
    assert numbers_of(page) == [2.0] * N


def test_where_there_is_no_number_there_is_no_colour(browser_page):
    values = np.ones(N)
    values[3] = np.nan
    page = browser_page.open(view({"score": values}))
    painted = page.eval_on_selector_all(
        ".token", "cells => cells.map(c => c.classList.contains('painted'))"
    )
    assert painted == [i != 3 for i in range(N)]


def test_direct_attribution_is_by_position_of_heads(browser_page):
    from slm_lens.interventions.attribution.direct_result import DirectAttribution, Part
    from slm_lens.sequence.utterance import Utterance
    from slm_lens.views.coloured_tokens import attributed_tokens

    rng = np.random.default_rng(0)
    sources = torch.tensor(rng.normal(size=(2, 2, N)), dtype=torch.float32)
    parts = tuple(Part("head", i, h) for i in range(2) for h in range(2))
    found = DirectAttribution(
        utterances=(Utterance("one", make_sequence()),),
        directions=("<Un137> - mean units",),
        positions=(N - 1,),
        parts=parts,
        scores=sources.sum(-1).reshape(1, 4),
        sources=(sources,),
        provenance=None,
    )
    page = browser_page.open(attributed_tokens(found, make_vocab()))
    assert page.locator("h2").inner_text() == "Direct attribution of unit 137 - mean units"
    exact = sources.numpy()
    assert numbers_of(page) == pytest.approx(exact.sum((0, 1)), abs=1e-5)
    page.get_by_label("show", exact=True).select_option("heads of layer 1")
    assert numbers_of(page) == pytest.approx(exact[1].sum(0), abs=1e-5)
    page.get_by_label("show", exact=True).select_option("L1H0")
    assert numbers_of(page) == pytest.approx(exact[1, 0], abs=1e-5)
    with pytest.raises(LookupError, match=r"got number=1, expected 0 <= number < 1"):
        attributed_tokens(found, make_vocab(), number=1)


def test_attribution_patching_is_by_position_of_the_corrupted_run(browser_page):
    from slm_lens.interventions.attribution._pair_task import Question
    from slm_lens.interventions.attribution.node_result import NodeAttribution
    from slm_lens.interventions.metrics import logit_difference
    from slm_lens.interventions.pairs.matching import SpanMatch
    from slm_lens.interventions.pairs.run_pair import RunPair
    from slm_lens.interventions.site import Site
    from slm_lens.views.coloured_tokens import attributed_tokens

    both = make_sequence()
    match = SpanMatch("all", "changed", (0, N), (0, N))
    pair = RunPair("pair", both, both, (2,), (4,), (match,))
    scores = torch.arange(2 * N, dtype=torch.float32).reshape(1, 2, N) - N
    found = NodeAttribution(
        question=Question((pair,), logit_difference(), "equal"),
        method="gradient",
        sites=(Site("resid_post", 0), Site("mlp_out", 4)),
        scores=(scores,),
        signed=True,
        clean=torch.zeros(1),
        corrupted=torch.zeros(1),
        provenance=None,
        unembedding="",
    )
    page = browser_page.open(attributed_tokens(found, make_vocab()))
    assert numbers_of(page) == pytest.approx(scores[0].sum(0).numpy())
    page.get_by_label("show", exact=True).select_option("L4 mlp_out")
    assert numbers_of(page) == pytest.approx(scores[0, 1].numpy())


def ablation(effects):
    """Rows of one utterance: metric, directions, layer, word, draw, effect."""
    from slm_lens.interventions.ablation.word_ablation import WordAblation

    names = ["metric", "directions", "layer", "word_index", "draw", "effect"]
    table = pl.DataFrame(effects, schema=names, orient="row").with_columns(utterance=pl.lit("one"))
    counts: dict[str, int] = {}
    facts = {"policy": "whole_word", "n_text_directions": 0, "n_draws": 2, "n_bootstrap": 10}
    return WordAblation(
        table=table,
        word="current",
        seed=0,
        words_without_tokens=counts,
        words_without_matches=counts,
        provenance=None,  # pyright: ignore[reportArgumentType]
        **facts,
    )


@pytest.mark.usefixtures("untyped")  # no model, so no provenance
def test_ablation_effects_stand_on_the_positions_of_their_words(browser_page):
    from slm_lens.sequence.utterance import Utterance
    from slm_lens.views.coloured_tokens import ablated_tokens

    found = ablation(
        [
            ("kl", "word", 3, 0, None, 0.5),
            ("kl", "word", 3, 1, None, -1.0),
            ("kl", "random", 3, 0, 0, 0.25),
            ("kl", "random", 3, 0, 1, 0.75),
            ("mass", "word", 3, 0, None, 9.0),
        ]
    )
    of = Utterance("one", make_sequence())
    page = browser_page.open(ablated_tokens(found, of, make_vocab()))
    nothing = float("nan")
    expected = [nothing, 0.5, 0.5, -1.0, -1.0, -1.0, *[nothing] * 7]
    assert numbers_of(page) == pytest.approx(expected, nan_ok=True)
    page.get_by_label("show", exact=True).select_option("random, layer 3")
    assert numbers_of(page)[:3] == pytest.approx([nothing, 0.5, 0.5], nan_ok=True)
    with pytest.raises(LookupError, match=r"got utterance 'two' and metric='kl', expected one of"):
        ablated_tokens(found, Utterance("two", make_sequence()), make_vocab())


def test_layers_follow_what_other_views_select(browser_page):
    from slm_lens.views.page import Page

    values = {"all": np.zeros(N), "word, layer 2": np.ones(N), "word, layer 4": np.full(N, 2.0)}
    options = {"layers": [None, 2, 4], "utterance": "a"}
    page = browser_page.open(Page([view(values, **options), view(values, **options)]))
    page.locator("#view-1 select").first.select_option("word, layer 2")
    page.locator("#view-0 select").first.select_option("word, layer 4")
    assert page.locator("#view-1 .drawing").get_attribute("data-set") == "word, layer 4"


@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits(browser_page, no_overflow, width):
    no_overflow(browser_page.open(view({"a": np.zeros(N), "b": np.ones(N)}), width=width))


def test_through_circuitsvis_tokens_are_there_as_text(browser_page):
    page = browser_page.open(view({"a": np.ones(N)}, renderer="circuitsvis"))
    page.get_by_text("137").first.wait_for()
    text = page.locator(".circuits").inner_text()
    for piece in ("499", "‹/script›", "a‹b", "‹|end|›"):
        assert piece in text
    assert page.locator(".circuits img").count() == 0


def test_numbers_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"got values of 0 names.* expected at least one name"):
        view({})
    with pytest.raises(ValueError, match=r"shapes \{'a': \(3,\)\}; expected .* the 13 positions"):
        view({"a": np.zeros(3)})
    with pytest.raises(ValueError, match=r"got infinite values, expected numbers"):
        view({"a": np.full(N, np.inf)})
    with pytest.raises(ValueError, match=r"got NaN for circuitsvis, expected a number at each"):
        view({"a": np.full(N, np.nan)}, renderer="circuitsvis")
    with pytest.raises(ValueError, match=r"got 2 layers for 1 sets of numbers, expected one"):
        view({"a": np.zeros(N)}, layers=[1, 2])
