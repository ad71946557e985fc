"""Words with their times: the common target of every alignment format."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from slm_lens.errors import AlignmentError


@dataclass(frozen=True)
class AlignedWord:
    """One word and when it is spoken.

    Attributes:
        word: the word as written, without surrounding spaces.
        start_s: start in seconds from the start of the clip.
        end_s: end in seconds, at or after the start.
    """

    word: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Alignment:
    """The words of one clip, in time order, without overlap. Silence is simply not listed.

    Attributes:
        words: the words, in time order.

    Raises:
        AlignmentError: no word; an empty word; a time that is missing, negative or not finite; a
            word that ends before it starts or starts before the previous one ends.
    """

    words: tuple[AlignedWord, ...]

    def __post_init__(self) -> None:
        if not self.words:
            raise AlignmentError("Alignment: got no words, expected at least one.")
        previous_end_s = 0.0
        for i, w in enumerate(self.words):
            where = f"Alignment: word {i} {w.word!r} at [{w.start_s}, {w.end_s}] s"
            if not w.word.strip() or w.word != w.word.strip():
                raise AlignmentError(f"{where}: expected a word without surrounding spaces.")
            if not (math.isfinite(w.start_s) and math.isfinite(w.end_s) and w.start_s >= 0):
                raise AlignmentError(f"{where}: expected finite times that are not negative.")
            if w.end_s < w.start_s:
                raise AlignmentError(f"{where}: ends before it starts. Is the last column a duration?")
            if w.start_s < previous_end_s - 1e-6:
                raise AlignmentError(
                    f"{where}: starts before the previous word ends ({previous_end_s} s). Expected "
                    "words in time order without overlap; is this a tier with two speakers?"
                )
            previous_end_s = w.end_s

    def __iter__(self) -> Iterator[AlignedWord]:
        return iter(self.words)

    def __len__(self) -> int:
        return len(self.words)
