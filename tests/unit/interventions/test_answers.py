"""Which tokens count as an answer, on a vocabulary whose rows are known."""

import pytest

from slm_lens.errors import VocabError
from slm_lens.interventions.pairs.answers import answer_and_foil, answer_tokens
from slm_lens.organism.tokenizer import n_text_tokens, speech_text_tokenizer
from slm_lens.vocab import SpeechTextVocab

TOKENIZER = speech_text_tokenizer(20)
IDS = TOKENIZER.get_vocab()


@pytest.fixture(scope="module")
def vocab():
    n = n_text_tokens()
    return SpeechTextVocab(
        d_vocab=len(TOKENIZER),
        text=range(3, n),
        streams={"units": range(n, n + 20)},
        markers={"speech": n + 20, "text": n + 21},
        specials={"<pad>": 0, "<eos>": 1, "<unk>": 2},
        encode_text=lambda text: TOKENIZER.encode(text, add_special_tokens=False),
        labels={i: w for w, i in IDS.items() if 3 <= i < n},
    )


def test_a_word_is_its_whole_tokens_and_units_are_theirs(vocab):
    found = answer_and_foil(vocab, "desert", " Village ", "whole_word")
    assert found == ((IDS[" desert"],), (IDS[" village"],))
    assert answer_tokens(vocab, "<Un7>", "whole_word") == (IDS["<Un7>"],)
    found = answer_and_foil(vocab, "<Un9> <Un7><Un9>", "<Un0>", "whole_word")
    assert found == ((IDS["<Un7>"], IDS["<Un9>"]), (IDS["<Un0>"],))
    assert answer_and_foil(vocab, "desert", None, "whole_word") == ((IDS[" desert"],), ())


def test_a_first_piece_that_two_answers_share_is_refused(vocab):
    # Without a space both are spelled, and begin with the letter s.
    with pytest.raises(
        ValueError, match=r"'sunny' and 'snowy', which both begin with \['s'\].*who"
    ):
        answer_and_foil(vocab, "sunny", "snowy", "first_piece")
    found = answer_and_foil(vocab, "sunny", "snowy", "whole_word")
    assert found == ((IDS[" sunny"],), (IDS[" snowy"],))
    with pytest.raises(ValueError, match=r"'<Un1> <Un2>' and '<Un2>', which both begin.*<Un2>"):
        answer_and_foil(vocab, "<Un1> <Un2>", "<Un2>", "whole_word")


def test_an_answer_without_a_token_is_refused(vocab):
    with pytest.raises(ValueError, match=r"got 'quark', for which policy 'whole_word' finds no t"):
        answer_tokens(vocab, "quark", "whole_word")
    with pytest.raises(VocabError, match=r"got units \[20\], expected 0 <= unit < 20"):
        answer_tokens(vocab, "<Un20>", "whole_word")
