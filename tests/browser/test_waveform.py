"""Sound in a page: the outline, words in time, and that it really plays."""

import io
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from spoken_by_hand import HOSTILE, make_sequence, make_units, make_vocab

RATE_HZ = 16000


def tone(seconds=0.5):
    n = int(RATE_HZ * seconds)
    return 0.4 * torch.sin(torch.arange(n) / RATE_HZ * 2 * np.pi * 300).float()


def shown(**options):
    from slm_lens.views.waveform import waveform_view

    return waveform_view(tone(), RATE_HZ, make_sequence().words, **options)


def test_words_stand_where_they_sound(browser_page):
    page = browser_page.open(shown())
    words = page.locator(".wave-word")
    assert words.all_inner_texts() == ["the", HOSTILE, "uh"]  # written words have no time
    inner = page.locator(".wave-inner").bounding_box()
    for word, made in zip(make_sequence().words, words.all(), strict=False):
        assert word.start_s is not None
        assert word.end_s is not None
        box = made.bounding_box()
        assert box["x"] - inner["x"] == pytest.approx(inner["width"] * word.start_s / 0.5, abs=1.5)
        width = inner["width"] * (word.end_s - word.start_s) / 0.5
        assert box["width"] == pytest.approx(width, abs=1.5)
    assert page.locator("img").count() == 0


@pytest.mark.parametrize("codec", ["flac", "opus"])
def test_it_plays(browser_page, codec):
    page = browser_page.open(shown(codec=codec))
    page.get_by_role("button", name="play the clip").click()
    page.wait_for_selector("[data-playing=true]")
    page.wait_for_selector("[data-playing=false]")
    told = float(page.locator(".clock").inner_text().split(" ")[0])
    assert 0.3 < told <= 0.5  # time went on nearly to the end


def test_a_word_is_selected_and_plays_to_its_end(browser_page):
    page = browser_page.open(shown())
    page.get_by_role("button", name="the, 0.00 s to 0.10 s").click()
    assert page.locator(".wave-word[aria-pressed=true]").inner_text() == "the"
    page.wait_for_selector("[data-playing=false]")
    told = float(page.locator(".clock").inner_text().split(" ")[0])
    assert told <= 0.1  # to the end of the word, not of the clip


def test_space_plays_and_stops(browser_page):
    page = browser_page.open(shown())
    page.locator(".wave-word").first.focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.dataset.word") == "1"
    page.keyboard.press(" ")
    page.wait_for_selector("[data-playing=true]")
    page.keyboard.press(" ")
    page.wait_for_selector("[data-playing=false]")


def test_in_the_frame_of_a_notebook_it_plays_too(browser_page):
    page = browser_page.open(f"<!doctype html><body>{shown()._repr_html_()}</body>")
    frame = page.frame_locator("iframe")
    frame.get_by_role("button", name="play the clip").click()
    frame.locator("[data-playing=true]").wait_for()


def test_the_outline_is_that_of_the_samples():
    from slm_lens.views.sound import outline

    samples = torch.tensor([0.0, 0.5, -0.25, 0.25, 1.0, -1.0, 0.0])
    found = outline(samples, 3)  # stretches [0, 2), [2, 4), [4, 7)
    assert found.tolist() == [[0, 64], [-32, 32], [-127, 127]]
    assert len(outline(samples, 100)) == 7
    assert outline(torch.zeros(4), 2).tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize(("codec", "likeness"), [("flac", 0.9999), ("opus", 0.98)])
def test_the_sound_is_the_clip(codec, likeness):
    from slm_lens.views.sound import encoded_sound

    clip = tone(1.0) * torch.linspace(0, 1, RATE_HZ)
    samples, rate_hz = soundfile.read(io.BytesIO(encoded_sound(clip, RATE_HZ, codec)))
    assert rate_hz == RATE_HZ
    assert len(samples) == len(clip)
    assert np.corrcoef(samples, clip.numpy())[0, 1] > likeness


def test_what_cannot_be_encoded():
    from slm_lens.views.sound import encoded_sound

    with pytest.raises(ValueError, match=r"got codec='opus' at 22050 Hz, expected one of"):
        encoded_sound(tone(), 22050, "opus")
    for rate_hz in (0, -5, 10_000_000):
        with pytest.raises(ValueError, match=rf"got {rate_hz} Hz, expected a rate that flac has"):
            encoded_sound(tone(), rate_hz, "flac")


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        (torch.full((1600,), torch.nan), "got 1600 of 1600 samples that are NaN or infinite"),
        (torch.zeros(0), "got 0 samples, expected at least 1"),
    ],
)
def test_samples_that_are_no_sound_are_refused(samples, said):
    from slm_lens.errors import AudioError
    from slm_lens.views.waveform import waveform_view

    with pytest.raises(AudioError, match=f"waveform_view: {said}"):
        waveform_view(samples, RATE_HZ)


def test_views_of_an_exploration_are_linked(browser_page):
    """A word that is chosen in one view is chosen in all, and sounds."""
    from grid_by_hand import make_grid

    from slm_lens.studies.exploration import ClipAudio, Exploration

    sequence = make_sequence()
    from slm_lens.sequence.utterance import Utterance
    from slm_lens.views.exploration import exploration_page

    n = len(sequence)
    pattern = torch.tril(torch.ones(n, n))
    exploration = Exploration(
        utterance=Utterance("clip", sequence),
        audio=ClipAudio(tone(0.6), RATE_HZ),
        vocab=make_vocab(),
        units=make_units(),
        times_s=torch.full((n, 2), torch.nan, dtype=torch.float64),
        grid=make_grid(),
        attention=(pattern / pattern.sum(1, keepdim=True)).expand(2, 3, n, n),
        attention_layers=(0, 1),
        attribution=None,
    )
    views = exploration_page(exploration).views
    assert [v.kind for v in views] == ["waveform", "speech_tokens", "lens_grid", "attention"]
    page = browser_page.open(exploration_page(exploration))
    page.locator("[data-kind=lens_grid] td[data-layer='1'][data-at='0']").click()
    assert page.locator(".wave-word[aria-pressed=true]").get_attribute("data-word") == "0"
    for kind in ("speech_tokens", "attention"):
        chosen = page.locator(f"[data-kind={kind}] .token-group.selected")
        assert chosen.first.get_attribute("data-word") == "0"
    page.locator("[data-kind=speech_tokens] .token[data-position='4']").click()
    assert page.locator(".wave-word[aria-pressed=true]").get_attribute("data-word") == "1"
    assert page.locator("[data-kind=lens_grid] th.selected").get_attribute("data-word") == "1"
    page.wait_for_selector("[data-kind=waveform] [data-playing]")  # it has been playing
    assert exploration._repr_html_().startswith('<iframe class="slm-lens"')
    silent = replace(exploration, audio=None, attention=None)
    assert [v.kind for v in exploration_page(silent).views] == ["speech_tokens", "lens_grid"]
