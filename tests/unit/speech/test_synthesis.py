"""espeak-ng: the same words, the same sound; merged words apart; every word with its time."""

from itertools import pairwise

import pytest
import torch

from slm_lens.errors import AlignmentError
from slm_lens.speech.synthesis import EspeakSynthesizer, Voice, _align, _split

WORD, PHONEME = 1, 7
TEXT = "The zebra sleeps in the garden. It is silver!"


@pytest.fixture(scope="module")
def synthesizer():
    return EspeakSynthesizer()


def test_words_are_in_order_without_punctuation_and_tile_the_clip(synthesizer):
    clip = synthesizer.speak(TEXT, Voice("en-us"))
    words = list(clip.alignment)
    assert [w.word for w in words] == TEXT.replace(".", "").replace("!", "").split()
    assert words[0].start_s == 0
    assert all(w.end_s > w.start_s for w in words)
    gaps_s = [b.start_s - a.end_s for a, b in pairwise(words)]
    assert [i for i, gap in enumerate(gaps_s) if gap != 0] == [5]  # the pause after the full stop
    assert 0.1 < gaps_s[5] < 1
    assert 0 <= clip.waveform.numel() / clip.sample_rate_hz - words[-1].end_s < 0.2


def test_sound_is_heard_where_words_are_and_not_in_the_pause(synthesizer):
    clip = synthesizer.speak(TEXT, Voice("en-us"))

    def power(start_s, end_s):
        start, end = (round(t * clip.sample_rate_hz) for t in (start_s, end_s))
        return clip.waveform[start:end].square().mean().item()

    words = list(clip.alignment)
    pause = power(words[5].end_s + 0.05, words[6].start_s)
    assert all(power(w.start_s, w.end_s) > 100 * pause for w in words)


@pytest.mark.parametrize("name", ["en-us", "en-us+f2", "en+m3"])
def test_the_same_text_gives_the_same_samples_whatever_was_spoken_before(synthesizer, name):
    first = synthesizer.speak(TEXT, Voice(name))
    synthesizer.speak("hello big fox", Voice("en-us+f4", rate_wpm=140, pitch=60))
    again, other = (
        synthesizer.speak(TEXT, Voice(name)),
        EspeakSynthesizer().speak(TEXT, Voice(name)),
    )
    for clip in (again, other):
        assert torch.equal(clip.waveform, first.waveform)
        assert clip.alignment == first.alignment
    faster = synthesizer.speak(TEXT, Voice(name, rate_wpm=200))
    assert faster.waveform.numel() < 0.9 * first.waveform.numel()


def test_pitch_and_range_are_heard(synthesizer):
    plain = synthesizer.speak(TEXT, Voice("en-us")).waveform
    for voice in (Voice("en-us", pitch=80), Voice("en-us", pitch_range=5)):
        n = min(plain.numel(), (changed := synthesizer.speak(TEXT, voice).waveform).numel())
        assert not torch.allclose(plain[:n], changed[:n])


@pytest.mark.parametrize("pair", ["in the", "of the", "as the", "on the"])
def test_words_that_espeak_merges_get_a_time_each(synthesizer, pair):
    first, second = pair.split()
    words = list(synthesizer.speak(f"a cup {pair} garden", Voice("en-us")).alignment)
    assert [w.word for w in words] == ["a", "cup", first, second, "garden"]
    for w in words[2:4]:
        assert 0.03 < w.end_s - w.start_s < 0.4
    assert words[2].end_s == words[3].start_s


def test_events_become_times_by_hand():
    """1000 Hz. "in the" is one word event with four phonemes; a pause begins at sample 700."""
    words = [("cup", 1), ("in", 5), ("the", 8), ("tea", 12)]
    events = [
        (WORD, 1, 3, 0, b""),
        *((PHONEME, 1, 0, s, b"x") for s in (0, 100, 200)),
        (WORD, 5, 2, 300, b""),
        *((PHONEME, 5, 0, s, b"x") for s in (300, 400, 450, 600)),
        (PHONEME, 5, 0, 700, b"_:"),
        (WORD, 12, 3, 900, b""),
        *((PHONEME, 12, 0, s, b"x") for s in (900, 950)),
    ]
    times = [(w.word, w.start_s, w.end_s) for w in _align(words, events, 1000, 1000)]
    # "in" has 2 of 5 letters, so round(4 * 0.4) = 2 of the 4 phonemes: "the" begins at the third.
    assert times == [("cup", 0, 0.3), ("in", 0.3, 0.45), ("the", 0.45, 0.7), ("tea", 0.9, 1.0)]


def test_merged_words_without_phonemes_are_shared_out_by_letters():
    assert _split(100, 200, [2, 3], [100]) == [100, 140, 200]
    assert _split(100, 200, [4], [100, 150]) == [100, 200]


def test_a_first_word_without_an_event_is_refused():
    with pytest.raises(
        AlignmentError, match=r"no time for the first word 'cup'.*got events at.*in letters"
    ):
        _align([("cup", 1)], [(WORD, 5, 2, 0, b"")], 100, 1000)


@pytest.mark.parametrize("name", ["nope", "", "en-us+nope", "en-us+"])
def test_an_unknown_voice_is_refused(synthesizer, name):
    with pytest.raises(ValueError, match=r"does not know the voice '.*expected a language"):
        synthesizer.speak("hello", Voice(name))
    assert synthesizer.speak("hello", Voice("en-us")).waveform.numel() > 0


@pytest.mark.parametrize("text", ["", " ", "...", " ! "])
def test_a_text_without_words_is_refused(synthesizer, text):
    with pytest.raises(ValueError, match=r"expected at least one word"):
        synthesizer.speak(text, Voice("en-us"))


def test_two_lines_are_refused(synthesizer):
    with pytest.raises(ValueError, match=r"expected one line with spaces between words"):
        synthesizer.speak("the zebra\nsleeps", Voice("en-us"))
