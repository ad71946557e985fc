"""A spoken sentence with every kind of position, and tokens that want to be run as script."""

import torch

HOSTILE = "</script><img src=x onerror=alert(1)>"
"""A token that runs as script where it is not written as text."""

FIRST_UNIT, N_UNITS = 10, 500
SPEECH, TEXT, END = 510, 511, 512
LABELS = ["the", " the", " fox", HOSTILE, "a<b", "&amp;", " ", "\n", "<Un3>", "\u2028"]


def make_vocab():
    """Ten written pieces, 500 units, two markers, one special, three rows unused."""
    from slm_lens.vocab import SpeechTextVocab

    return SpeechTextVocab(
        d_vocab=516,
        text=range(10),
        streams={"units": range(FIRST_UNIT, FIRST_UNIT + N_UNITS)},
        markers={"speech": SPEECH, "text": TEXT},
        specials={"<|end|>": END},
        padding=range(513, 516),
        labels=dict(enumerate(LABELS)),
    )


def unit(number):
    """Token id of a unit."""
    return FIRST_UNIT + number


def make_sequence():
    """``<speech> 137 4 | 499 0 7 (pause 5) | (no unit) <text> " fox" HOSTILE ... <|end|>``."""
    from slm_lens.sequence.sequence import SpeechTextSequence
    from slm_lens.sequence.word_span import WordSpan
    from slm_lens.vocab import TokenKind

    units = [unit(u) for u in (137, 4, 499, 0, 7, 5)]
    tokens = [SPEECH, *units, TEXT, 2, 3, 4, 5, END]
    speech: tuple[TokenKind, ...] = ("speech",) * 6
    text: tuple[TokenKind, ...] = ("text",) * 4
    kinds: tuple[TokenKind, ...] = ("marker", *speech, "marker", *text, "special")
    words = (
        WordSpan("the", "speech", 1, 3, 0.0, 0.1),
        WordSpan(HOSTILE, "speech", 3, 6, 0.1, 0.36),
        WordSpan("uh", "speech", 7, 7, 0.44, 0.45),
        WordSpan("fox", "text", 8, 9),
        WordSpan("a<b", "text", 9, 12),
    )
    return SpeechTextSequence(torch.tensor(tokens), kinds, words)


def make_units():
    """The units of `make_sequence` with times: 25 Hz, the last two of two frames."""
    from slm_lens.speech.units import Units

    return Units(torch.tensor([137, 4, 499, 0, 7, 5]), torch.tensor([1, 1, 2, 3, 2, 2]), 25.0)


def make_phones():
    """Phonemes by hand; 0.20 to 0.28 s is without one."""
    from slm_lens.speech.alignment import AlignedWord, Alignment

    times = [("DH", 0.0, 0.04), ("AH", 0.04, 0.1), ("F", 0.1, 0.16), (HOSTILE, 0.28, 0.4)]
    return Alignment(tuple(AlignedWord(*t) for t in times))
