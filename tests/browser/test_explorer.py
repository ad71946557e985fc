"""Utterances that are unpacked when they are chosen, and the whole report, in a browser."""

import pytest
import torch
from grid_by_hand import N_LAYERS, make_grid
from spoken_by_hand import HOSTILE

RATE_HZ = 16000


def shown():
    from slm_lens.views.explorer import explorer_view

    generator = torch.Generator().manual_seed(0)
    names = ("clip one", HOSTILE, "silent")
    grids = {"m": [make_grid(n, i) for i, n in enumerate(names)],
             "control": [make_grid(n, 9 + i) for i, n in enumerate(names)]}  # fmt: skip
    sound = torch.rand(RATE_HZ // 2, generator=generator) - 0.5
    clips = {name: (sound, rate) for name, rate in ((names[0], RATE_HZ), (HOSTILE, 22050))}
    return explorer_view(grids, clips), grids


def ready(page, model, name):
    page.locator(f'.drawing[data-shown="{model} {name}"]').wait_for()


def tokens_of(page):
    return page.evaluate(
        """[...document.querySelectorAll('[data-part=lens_grid] td[role=gridcell]')].map((c) =>
        [Number(c.dataset.layer), Number(c.dataset.at), Number(c.dataset.token)])"""
    )


def expected(grid):
    cells = grid.cells["max"]
    return [
        [layer, at, int(cells.top_ids["text"][layer, at, 0])]
        for layer in range(N_LAYERS, -1, -1)
        for at in range(cells.n_rows)
    ]


def test_every_utterance_of_every_model_is_its_own(browser_page):
    view, grids = shown()
    page = browser_page.open(view)
    ready(page, "m", "clip one")
    assert tokens_of(page) == expected(grids["m"][0])
    page.get_by_role("button", name="next ›").click()
    page.wait_for_selector('.drawing[data-shown^="m </script>"]')
    assert tokens_of(page) == expected(grids["m"][1])
    page.get_by_label("model", exact=True).select_option(label="control")
    page.wait_for_selector('.drawing[data-shown^="control </script>"]')
    assert tokens_of(page) == expected(grids["control"][1])
    page.get_by_label("utterance", exact=True).select_option(index=2)
    ready(page, "control", "silent")
    assert page.locator("[data-part=waveform]").count() == 0  # no clip was kept of it
    assert page.get_by_role("button", name="next ›").is_disabled()
    assert page.locator("img").count() == 0


@pytest.mark.parametrize("number", [0, 1])  # Opus, and FLAC for a rate that Opus lacks
def test_its_sound_plays_and_stops_with_the_next_one(browser_page, number):
    page = browser_page.open(shown()[0])
    page.get_by_label("utterance", exact=True).select_option(index=number)
    page.wait_for_selector(f".drawing[data-shown^='m {('clip', '<')[number]}']")
    page.locator("[data-part=waveform] .play").click()
    page.wait_for_selector("[data-playing]")
    page.locator("[data-part=lens_grid] thead button").first.click()
    assert page.locator(".wave-word[aria-pressed=true]").inner_text() == "the"
    chosen = page.locator("[data-part=speech_tokens] .token-group.selected")
    assert chosen.get_attribute("data-word") == "0"
    page.get_by_label("utterance", exact=True).select_option(index=2)
    ready(page, "m", "silent")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_a_telephone_and_a_desk(browser_page, no_overflow, width, theme):
    page = browser_page.open(shown()[0], width=width, theme=theme)
    ready(page, "m", "clip one")
    no_overflow(page)
