"""What an alignment is."""

import pytest

from slm_lens.errors import AlignmentError
from slm_lens.speech.alignment import AlignedWord, Alignment


def test_words_that_touch_are_in_order():
    words = (
        AlignedWord("a", 0.0, 0.1 + 0.2),
        AlignedWord("b", 0.3, 0.3),
        AlignedWord("c", 0.5, 1.0),
    )
    alignment = Alignment(words)
    assert (tuple(alignment), len(alignment)) == (words, 3)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "got no words"),
        ([("", 0, 1)], r"word 0 '' at \[0.0, 1.0\] s: expected a word without surrounding spaces"),
        ([("a", 0, 1), (" b", 1, 2)], "word 1 ' b'.*without surrounding spaces"),
        ([("a", -0.1, 1)], "word 0 'a'.*expected finite times that are not negative"),
        ([("a", 0, float("inf"))], "word 0 'a'.*expected finite times"),
        ([("a", float("nan"), 1)], "word 0 'a'.*expected finite times"),
        ([("a", 1, 0.5)], "word 0 'a'.*ends before it starts"),
        ([("a", 0, 1), ("b", 0.9, 2)], r"word 1 'b'.*starts before the previous word ends \(1"),
    ],
)
def test_what_is_no_alignment_is_named(words, message):
    with pytest.raises(AlignmentError, match=message):
        Alignment(tuple(AlignedWord(w, float(s), float(e)) for w, s, e in words))
