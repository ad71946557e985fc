"""circuitsvis behind a guard: what it draws, and that it gets only what it can show."""

import numpy as np
import pytest
from spoken_by_hand import make_sequence, make_vocab


def patterns(n=13):
    return np.tril(np.ones((1, 2, n, n))) / np.arange(1, n + 1)[:, None]


def view(**options):
    from slm_lens.views.attention import attention_heads

    return attention_heads(
        patterns(), make_sequence(), make_vocab(), renderer="circuitsvis", **options
    )


def test_its_script_is_on_a_page_once_and_it_draws_every_head(browser_page):
    from slm_lens.views.page import Page

    shown = Page([view(layers=[6]), view(layers=[7])])
    assert shown.html().count('data-library="circuitsvis"') == 1
    page = browser_page.open(shown)
    page.locator("#view-1 canvas").nth(2).wait_for()
    for number, layer in ((0, 6), (1, 7)):
        holder = page.locator(f"#view-{number} .circuits")
        assert holder.locator("canvas").count() == 3  # two heads and the large one
        assert holder.get_by_text(f"L{layer}H1").count() == 1
    assert page.locator(".circuits img").count() == 0


def test_labels_mean_the_same_as_text_and_as_html():
    from slm_lens.views.circuits import safe_labels

    labels = safe_labels(make_sequence(), make_vocab())
    assert labels[:4] == ["‹speech›", "137", "4", "499"]
    assert labels[9] == "‹/script›‹img src=x onerror=alert(1)›"
    assert labels[11] == "&\u200bamp;"
    assert not set("<>") & set("".join(labels))


def test_long_sequences_are_refused_with_what_to_do():
    import torch

    from slm_lens.sequence.sequence import SpeechTextSequence
    from slm_lens.views.attention import attention_heads

    long = SpeechTextSequence(torch.full((65,), 20), ("speech",) * 65, ())
    with pytest.raises(ValueError, match=r"attention_heads: got 65 positions for circuitsvis, exp"):
        attention_heads(patterns(65), long, make_vocab(), renderer="circuitsvis")


@pytest.mark.parametrize("what", ["coloured_tokens", "activations"])
def test_units_stand_apart_and_fields_can_be_read_in_the_dark(browser_page, what):
    from slm_lens.views.activations import activations
    from slm_lens.views.coloured_tokens import coloured_tokens

    given = make_sequence(), make_vocab()
    if what == "activations":
        made = activations(np.zeros((2, 13, 3)), *given, renderer="circuitsvis")
    else:
        made = coloured_tokens({"a": np.zeros(13)}, *given, renderer="circuitsvis")
    page = browser_page.open(made, theme="dark")
    one, two = (page.get_by_text(u, exact=True).last.bounding_box() for u in ("137", "4"))
    assert two["x"] - (one["x"] + one["width"]) >= 2
    field = page.locator(".circuits :is(select, input)").first
    looks = field.evaluate("e => [getComputedStyle(e).color, getComputedStyle(e).backgroundColor]")
    assert looks == ["rgb(22, 25, 29)", "rgb(255, 255, 255)"]
