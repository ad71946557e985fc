"""Colours of pages: contrast of WCAG 2.2, computed from the stylesheet and in the browser."""

import re
from pathlib import Path

import pytest
from spoken_by_hand import make_sequence, make_vocab

ROOT = Path(__file__).resolve().parents[2] / "src" / "slm_lens" / "views"
WRITTEN = ("ink", "muted", "text-ink", "speech-ink", "current-ink", "next-ink")
DRAWN = ("text", "speech", "current", "next", "marker", "focus")
OKABE_ITO = {"text": "#009e73", "speech": "#cc79a7", "current": "#0072b2", "next": "#d55e00"}


def themes():
    """Variables of each block of the stylesheet: light, dark when forced, dark by the system."""
    css = (ROOT / "css" / "page.css").read_text(encoding="utf-8")
    blocks = [dict(re.findall(r"--([\w-]+): (#\w{6})", b)) for b in re.findall(r"\{[^{}]*\}", css)]
    return [b for b in blocks if "paper" in b]


def luminance(colour):
    """Relative luminance of ``#rrggbb``, WCAG 2.2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(a, b):
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def test_light_is_okabe_and_ito_and_both_dark_blocks_agree():
    light, *dark = themes()
    assert {name: light[name] for name in OKABE_ITO} == OKABE_ITO
    assert len(dark) == 2
    assert dark[0] == dark[1]
    assert set(light) == set(dark[0])


@pytest.mark.parametrize("theme", [0, 1])
def test_text_is_legible_and_marks_are_seen(theme):
    colours = themes()[theme]
    for ground in ("paper", "panel", "selected"):
        for name in WRITTEN:
            assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)
    for name in DRAWN:
        assert contrast(colours[name], colours["paper"]) >= 3, name


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_ink_on_any_colour_of_a_scale_is_legible(browser_page, theme):
    from slm_lens.views.speech_tokens import speech_tokens

    page = browser_page.open(speech_tokens(make_sequence(), make_vocab()), theme=theme)
    pairs = page.evaluate(
        """() => [...Array(101).keys()].flatMap(i => [
             slmLens.sequential(i / 100), slmLens.diverging(i / 50 - 1)
           ].map(rgb => [rgb, slmLens.inkOn(rgb)]))"""
    )
    for rgb, ink in pairs:
        ground = "#" + "".join(f"{x:02x}" for x in rgb)
        assert contrast(ground, ink) >= 4.5


def test_a_canvas_is_drawn_again_when_the_theme_changes(browser_page):
    import numpy as np

    from slm_lens.views.attention import attention_heads

    view = attention_heads(np.eye(13)[None], make_sequence(), make_vocab())
    page = browser_page.open(view)
    corner = """() => { const c = document.querySelector(".map");
      const copy = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
      copy.drawImage(c, c.width - 20, 90, 1, 1, 0, 0, 1, 1);
      return [...copy.getImageData(0, 0, 1, 1).data.slice(0, 3)] }"""
    assert page.evaluate(corner) == [255, 255, 255]
    page.emulate_media(color_scheme="dark")
    page.wait_for_timeout(1000)  # drawn again in the next frame, which a busy machine delays
    assert page.evaluate(corner) == [0x16, 0x19, 0x1D]
