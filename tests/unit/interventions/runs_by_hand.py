"""Runs with words of chosen lengths: tokens 0 to 9 are text, 10 to 29 units, 30 is <text>."""

import torch

from slm_lens.sequence.sequence import SpeechTextSequence
from slm_lens.sequence.word_span import WordSpan
from slm_lens.vocab import TokenKind

TEXT_MARKER = 30


def kind_of(token: int) -> TokenKind:
    return "text" if token < 10 else "speech" if token < TEXT_MARKER else "marker"


def run(words, *, before=(), after=()):
    """A run of words, each with its tokens; ``None`` for tokens of a pause."""
    tokens, spans = list(before), []
    for word, own in words:
        if word is not None:
            modality = "text" if own and own[0] < 10 else "speech"
            spans.append(WordSpan(word, modality, len(tokens), len(tokens) + len(own)))
        tokens += own
    tokens += after
    return SpeechTextSequence(
        torch.tensor(tokens), tuple([kind_of(t) for t in tokens]), tuple(spans)
    )
