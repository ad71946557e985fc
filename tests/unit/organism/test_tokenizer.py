"""Every word is one token, every other word is spelled, and text survives the round trip."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slm_lens.organism.language import vocabulary
from slm_lens.organism.tokenizer import (
    SPECIALS,
    n_text_tokens,
    speech_text_tokenizer,
    text_tokenizer,
)

TOKENIZER = text_tokenizer()


def pieces(text):
    return TOKENIZER.convert_ids_to_tokens(TOKENIZER.encode(text))


@pytest.mark.parametrize("word", vocabulary())
def test_a_word_with_its_space_is_one_token(word):
    assert pieces(f" {word}") == [f" {word}"]
    assert pieces(f" the {word}") == [" the", f" {word}"]


def test_rows_are_specials_words_and_letters():
    # 3 specials, 120 words, 26 first and 26 inner letters; "a" is a word and a first letter.
    assert n_text_tokens() == len(TOKENIZER) == 3 + 120 + 26 + 26 - 1
    assert TOKENIZER.convert_ids_to_tokens([0, 1, 2]) == list(SPECIALS)
    assert (TOKENIZER.pad_token_id, TOKENIZER.eos_token_id, TOKENIZER.unk_token_id) == (0, 1, 2)
    written = {f" {w}" for w in vocabulary()} | {f" {c}" for c in string.ascii_lowercase}
    assert set(TOKENIZER.get_vocab()) == written | set(string.ascii_lowercase) | set(SPECIALS)


def test_an_unknown_word_is_spelled_in_letters():
    assert pieces(" quiz") == [" q", "u", "i", "z"]
    assert pieces("quiz") == ["q", "u", "i", "z"]
    assert pieces(" the quiz") == [" the", " q", "u", "i", "z"]


def test_what_cannot_be_spelled_is_unknown():
    assert pieces(" é") == ["<unk>"]


@pytest.mark.slow
@given(st.lists(st.text(string.ascii_lowercase, min_size=1, max_size=8), min_size=1, max_size=6))
def test_decoding_undoes_encoding(words):
    text = "".join(f" {w}" for w in words)
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


def test_units_and_markers_follow_the_text():
    tokenizer = speech_text_tokenizer(100)
    n = n_text_tokens()
    assert len(tokenizer) == n + 102
    assert tokenizer.convert_ids_to_tokens([n, n + 99, n + 100, n + 101]) == [
        "<Un0>", "<Un99>", "<speech>", "<text>",
    ]  # fmt: skip
    mixed = "<text> the<speech><Un3><Un49><text> zebra"
    assert tokenizer.convert_ids_to_tokens(tokenizer.encode(mixed)) == [
        "<text>", " the", "<speech>", "<Un3>", "<Un49>", "<text>", " zebra",
    ]  # fmt: skip
    assert tokenizer.decode(tokenizer.encode(mixed)) == mixed
