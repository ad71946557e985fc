"""A word and the positions that carry it."""

from dataclasses import dataclass
from typing import Literal, get_args

Modality = Literal["speech", "text"]
MODALITIES: tuple[Modality, ...] = get_args(Modality)


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
