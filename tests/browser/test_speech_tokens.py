"""The strip of speech tokens: text, counts and selection against the data."""

import pytest
from spoken_by_hand import HOSTILE, make_phones, make_sequence, make_units, make_vocab

WRITTEN = HOSTILE.replace(" ", "·")


def strip(**options):
    from slm_lens.views.speech_tokens import speech_tokens

    return speech_tokens(make_sequence(), make_vocab(), **options)


def test_units_stand_small_under_their_words(browser_page):
    page = browser_page.open(strip())
    cells = page.locator(".token")
    assert cells.all_inner_texts()[:8] == ["speech", "137", "4", "499", "0", "7", "5", "text"]
    assert cells.all_inner_texts()[8:] == ["·fox", WRITTEN, "a<b", "&amp;", "<|end|>"]
    groups = page.locator(".token-group")
    by_word = {
        g.locator(".written").inner_text(): g.locator(".token").all_inner_texts()
        for g in groups.all()
        if g.get_attribute("data-word") is not None
    }
    assert by_word == {
        "the": ["137", "4"],
        HOSTILE: ["499", "0", "7"],
        "uh": [],
        "fox": ["·fox"],
        "a<b": [WRITTEN, "a<b", "&amp;"],
    }
    assert page.locator(".seconds").all_inner_texts() == ["0.00 s", "0.10 s", "0.44 s"]
    assert "<Un137>" not in page.locator("main").inner_text()
    assert page.locator("img").count() == 0


def test_pointing_tells_unit_time_and_phoneme(browser_page):
    page = browser_page.open(strip(units=make_units(), phones=make_phones()))
    names = page.locator(".token.speech .name").all_inner_texts()
    assert names == ["137", "4", "499", "0", "7", "5"]
    phones = page.eval_on_selector_all(".token.speech", "all => all.map(e => e.dataset.phone)")
    assert phones == ["DH", "AH", "F", None, HOSTILE, None]
    assert page.locator(".phone").all_inner_texts() == ["DH", "AH", "F", HOSTILE]
    status = page.locator(".status")
    page.locator(".token[data-position='2']").hover()
    assert status.inner_text() == ("position 2 · unit 4 · in “the” · phoneme AH · 0.04–0.08 s")
    page.locator(".token[data-position='4']").hover()  # 0.16 to 0.28 s: its middle has no phoneme
    assert status.inner_text() == f"position 4 · unit 0 · in “{HOSTILE}” · 0.16–0.28 s"
    page.locator(".token[data-position='5']").hover()
    assert f"phoneme {HOSTILE} · 0.28–0.36 s" in status.inner_text()
    page.locator(".token[data-position='10']").hover()
    assert status.inner_text() == "position 10 · text “a<b” · in “a<b”"


def test_without_units_the_word_is_the_time(browser_page):
    page = browser_page.open(strip())
    page.locator(".token[data-position='2']").hover()
    told = page.locator(".status").inner_text()
    assert told == "position 2 · unit 4 · in “the” · word at 0.00–0.10 s"


def test_a_click_selects_the_word_and_plays_it(browser_page):
    page = browser_page.open(strip())
    page.locator(".token[data-position='4']").click()
    selected = page.locator(".token-group.selected")
    assert selected.count() == 1
    assert selected.get_attribute("data-word") == "1"
    assert page.locator(".token.selected").get_attribute("data-position") == "4"
    assert page.locator(".token[aria-pressed=true]").count() == 1


def test_arrow_keys_move_and_enter_selects(browser_page):
    page = browser_page.open(strip())
    page.keyboard.press("Tab")
    focused = "[document.activeElement.dataset.position, document.activeElement.dataset.word]"
    seen = [page.evaluate(focused)]
    for _ in range(3):
        page.keyboard.press("ArrowRight")
        seen.append(page.evaluate(focused))
    assert seen == [["0", None], [None, "0"], ["1", "0"], ["2", "0"]]
    page.keyboard.press("Enter")
    assert page.locator(".token-group.selected").get_attribute("data-word") == "0"
    page.keyboard.press("Home")
    assert page.evaluate(focused) == ["0", None]
    page.keyboard.press("End")
    assert page.evaluate(focused)[0] == "12"


@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_a_telephone_and_a_desk(browser_page, no_overflow, width):
    no_overflow(browser_page.open(strip(), width=width))


def test_units_of_another_clip_are_refused():
    from slm_lens.speech.units import Units

    units = make_units()
    other = Units(units.ids + 1, units.durations_frames, 25.0)
    with pytest.raises(ValueError, match=r"got 6 units for a sequence with 6, or others; expected"):
        strip(units=other)
    with pytest.raises(ValueError, match=r"got phones without units, expected both"):
        strip(phones=make_phones())


def with_player(shown):
    """The page's last view replaced by one that keeps what it is asked to play."""
    text = shown.html()
    at = text.rindex('data-kind="speech_tokens"')
    text = text[:at] + 'data-kind="player"' + text[at + len('data-kind="speech_tokens"') :]
    player = """slmLens.register("player", (root, data, context) => {
      window.played = [];
      window.context = context;
      context.onPlay((start, end) => window.played.push([start, end]));
    });"""
    return text.replace("slmLens.start();", f"{player} slmLens.start();")


def test_where_there_is_sound_a_click_plays_the_word_and_the_word_that_sounds_is_marked(
    browser_page,
):
    from slm_lens.views.page import Page

    page = browser_page.open(with_player(Page([strip(utterance="a"), strip(utterance="a")])))
    assert page.locator(".token-strip.playable").count() == 1
    page.locator(".heading[data-word='1']").click()
    page.locator(".token[data-position='1']").click()  # a unit plays its word
    page.locator(".heading[data-word='3']").click()  # written: nothing to play
    assert page.evaluate("window.played") == [[0.1, 0.36], [0, 0.1]]
    sounding = page.locator(".token-group.sounding")
    page.evaluate("window.context.setTime(0.2)")
    assert sounding.get_attribute("data-word") == "1"
    page.evaluate("window.context.setTime(null)")
    assert sounding.count() == 0


def test_without_sound_nothing_offers_it(browser_page):
    page = browser_page.open(strip())
    assert page.locator(".token-strip.playable").count() == 0


def test_another_word_takes_the_selected_position_away(browser_page):
    page = browser_page.open(strip())
    page.locator(".token[data-position='4']").click()
    page.locator(".heading[data-word='0']").click()
    assert page.locator(".token-group.selected").get_attribute("data-word") == "0"
    assert page.locator(".token.selected").count() == 0
