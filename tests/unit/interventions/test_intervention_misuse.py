"""What interventions are easily given by mistake: refused in words, never taken for another."""

from typing import Any

import pytest
from tiny_speech import FUNCTION

pytestmark = pytest.mark.usefixtures("untyped")


def test_ablate_words_knows_its_options(model, utterances):
    from slm_lens.interventions.ablate_words import ablate_words

    options: dict[str, Any] = {"policy": "whole_word", "function_words": FUNCTION, "n_draws": 0}
    for option, wrong, valid in (("word", "prev", "current"), ("until", "ever", "word")):
        given = options | {option: wrong}
        with pytest.raises(ValueError, match=rf"got {option}='{wrong}', expected one of .'{valid}"):
            ablate_words(model, utterances[:2], **given)
