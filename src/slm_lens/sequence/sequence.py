"""The sequence that a speech-text model reads, and where its words are."""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Int
from torch import Tensor

from slm_lens.vocab import TokenKind

Modality = Literal["speech", "text"]


@dataclass(frozen=True)
class WordSpan:
    """A word and the positions that carry it.

    Attributes:
        word: the word as written, without surrounding spaces.
        modality: whether it is spoken or written here.
        start: first position.
        end: one past the last position; equal to ``start`` when no token carries the word.
        start_s: start in seconds from the start of the clip; None for written words.
        end_s: end in seconds; None for written words.
    """

    word: str
    modality: Modality
    start: int
    end: int
    start_s: float | None = None
    end_s: float | None = None


@dataclass(frozen=True, eq=False)
class SpeechTextSequence:
    """Token ids with their kind and the words that they carry.

    Attributes:
        tokens: token ids.
        kinds: kind of every position, in step with `tokens`.
        words: the words in order; their spans do not overlap.
    """

    tokens: Int[Tensor, " n_tokens"]
    kinds: tuple[TokenKind, ...]
    words: tuple[WordSpan, ...]
