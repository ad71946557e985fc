"""Phonemes of words, and how far two of them are apart."""

import ctypes.util
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slm_lens import phoneme_distance, phonemes


def test_words_are_spoken_one_by_one_and_without_stress():
    found = phonemes(["night", " knight", "zebra", ",", "football"])
    assert found["night"] == ("n", "aɪ", "t") == found[" knight"]
    assert found["zebra"] == ("z", "iː", "b", "ɹ", "ə")  # as dictionaries have it, "ˈziːbɹə"
    assert found[","] == ()
    assert found["football"] == ("f", "ʊ", "t", "b", "ɔː", "l")


def test_the_voice_chooses_the_language():
    assert phonemes(["Bach"], voice="de")["Bach"] == ("b", "a", "x")
    with pytest.raises(ValueError, match=r"phonemes: espeak-ng does not know the voice 'klingo'"):
        phonemes(["night"], voice="klingo")


def test_without_espeak_the_command_to_install_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    monkeypatch.setattr(ctypes.util, "find_library", lambda _: None)
    with pytest.raises(ImportError, match=r"phonemes needs espeak-ng: pip install 'slm-lens\[syn"):
        phonemes(["night"])


@pytest.mark.parametrize(
    ("a", "b", "distance"),
    [
        ("kitten", "sitting", 3 / 7),  # the textbook example: two substitutions, one insertion
        ("", "abc", 1.0),
        ("abc", "abc", 0.0),
        ("ab", "ba", 1.0),  # a swap is two edits
        ("flaw", "lawn", 2 / 4),
    ],
)
def test_distances_by_hand(a, b, distance):
    assert phoneme_distance(tuple(a), tuple(b)) == pytest.approx(distance)


@given(a=st.text("abc", max_size=6), b=st.text("abc", max_size=6), c=st.text("abc", max_size=6))
def test_the_edits_are_a_metric(a, b, c):
    def edits(x, y):
        return phoneme_distance(tuple(x), tuple(y)) * max(len(x), len(y)) if x or y else 0.0

    assert edits(a, b) == pytest.approx(edits(b, a))
    assert edits(a, c) <= edits(a, b) + edits(b, c) + 1e-9
    assert (edits(a, b) == 0) == (a == b)


def test_two_rows_of_nothing_have_no_distance():
    with pytest.raises(ValueError, match=r"got two rows of no phonemes, expected at least one"):
        phoneme_distance((), ())
