"""What kind of error a layer's top text token is, of the word that is said there.

Six classes, of which a token has the first that fits:

1. **exact**: it is written as the word (case and spaces around it aside);
2. **next word**: it is written as the word that follows, or is one of the tokens that count as it
   and do not count as the word itself;
3. **build-up**: it is a proper beginning of the word, as its first piece is;
4. **sounds alike**: its phonemes are within a normalised edit distance of the word's. A token of
   one letter has no sound of its own: it would be read as the letter's name;
5. **semantic neighbour**: its row is among the nearest to the rows of the word's own tokens
   (`token_neighbours`);
6. **other**.

What spelling decides stands before what is a matter of degree. The fourth and the fifth class are
met by chance as well, the more often the wider they are: compare with words that were not said.

Source: the classes, as errors that Sternberg et al. 2026, arXiv:2606.22473, are reported to show
(second hand: a gradual build-up, acoustic errors); their definitions are ours.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Int

from slm_lens.sequence.function_words import word_type
from slm_lens.speech.phonemes import phoneme_distance

ErrorClass = Literal[
    "exact", "next word", "build-up", "sounds alike", "semantic neighbour", "other"
]
ERROR_CLASSES: tuple[ErrorClass, ...] = get_args(ErrorClass)
"""In the order of precedence."""

_EXACT, _NEXT, _BUILD_UP, _SOUNDS, _NEIGHBOUR, _OTHER = range(len(ERROR_CLASSES))


@dataclass(frozen=True, eq=False)
class WordErrors:
    """Knows how tokens and words are written and sound, and tells the class of one for the other.

    Attributes:
        written: how each token is written, by id.
        counts_as: ids of the tokens that count as a word, by the word.
        sounds: phonemes (or letters) of every word type and of every token as `token_type` gives
            it; none for what has no sound.
        neighbours: ids of the tokens that are nearest to a word, by the word.
        most_distant: largest phoneme distance at which two sound alike, in [0, 1).

    Raises:
        ValueError: `most_distant` is out of range.
    """

    written: Mapping[int, str]
    counts_as: Callable[[str], Sequence[int]]
    sounds: Mapping[str, Sequence[str]]
    neighbours: Mapping[str, Sequence[int]]
    most_distant: float

    def __post_init__(self) -> None:
        if not 0 <= self.most_distant < 1:
            raise ValueError(
                f"WordErrors: got most_distant={self.most_distant}, expected a distance from 0 "
                "(the same phonemes) to less than 1 (none in common)."
            )

    def classify(self, token: int, word: str, next_word: str | None) -> ErrorClass:
        """The class of a token at a word.

        Args:
            token: id of a text token.
            word: the word that is said there.
            next_word: the word that follows; None for none.

        Returns:
            The first class that fits.
        """
        if next_word is not None and self.is_next(token, word, next_word):
            return "exact" if self._is_exact(token, word) else "next word"
        return ERROR_CLASSES[self._without_next(token, word)]

    def is_next(self, token: int, word: str, next_word: str) -> bool:
        """Whether a token stands for the word that follows.

        Args:
            token: id of a text token.
            word: the word that is said.
            next_word: the word that follows.

        Returns:
            Whether it is written as it, or counts as it and not as the word itself.
        """
        if token_type(self.written[token]) == word_type(next_word):
            return True
        return token in self.counts_as(next_word) and token not in self.counts_as(word)

    def distance(self, token: int, word: str) -> float:
        """How far a token's phonemes are from a word's.

        Args:
            token: id of a text token.
            word: the word.

        Returns:
            `phoneme_distance`; infinite where one of both has no sound of its own.
        """
        a, b = self._sounds(token, word)
        return phoneme_distance(a, b) if a and b else float("inf")

    def tables(self, tokens: Sequence[int], words: Sequence[str]) -> "ErrorTables":
        """Classes of all pairs of these, for many words at once.

        Args:
            tokens: ids of text tokens.
            words: words, also those that follow.

        Returns:
            The tables; rows are tokens, columns words.
        """
        shape = len(tokens), len(words)
        counts = [set(self.counts_as(w)) for w in words]
        return ErrorTables(
            tokens=np.array(tokens, dtype=np.int64),
            without_next=np.array(
                [[self._without_next(t, w) for w in words] for t in tokens], dtype=np.int64
            ).reshape(shape),
            written_as=np.array(
                [[self._is_exact(t, w) for w in words] for t in tokens], dtype=bool
            ).reshape(shape),
            counts_as=np.array([[t in c for c in counts] for t in tokens], dtype=bool).reshape(
                shape
            ),
        )

    def _is_exact(self, token: int, word: str) -> bool:
        return token_type(self.written[token]) == word_type(word)

    def _without_next(self, token: int, word: str) -> int:
        text, whole = token_type(self.written[token]), word_type(word)
        if text == whole:
            return _EXACT
        if text and whole.startswith(text):
            return _BUILD_UP
        if self._sounds_alike(token, word):
            return _SOUNDS
        return _NEIGHBOUR if token in self.neighbours[word] else _OTHER

    def _sounds_alike(self, token: int, word: str) -> bool:
        a, b = self._sounds(token, word)
        shortest, longest = sorted((len(a), len(b)))
        if not shortest or 1 - shortest / longest > self.most_distant:  # insertions alone
            return False
        return phoneme_distance(a, b) <= self.most_distant

    def _sounds(self, token: int, word: str) -> tuple[Sequence[str], Sequence[str]]:
        text = token_type(self.written[token])
        return (self.sounds[text] if len(text) > 1 else ()), self.sounds[word_type(word)]


@dataclass(frozen=True, eq=False)
class ErrorTables:
    """Classes of tokens at words, by their numbers.

    Attributes:
        tokens: id of each row.
        without_next: index into `ERROR_CLASSES`, next words aside.
        written_as: whether a token is written as a word.
        counts_as: whether it counts as a word.
    """

    tokens: Int[np.ndarray, " n_tokens"]
    without_next: Int[np.ndarray, "n_tokens n_words"]
    written_as: Bool[np.ndarray, "n_tokens n_words"]
    counts_as: Bool[np.ndarray, "n_tokens n_words"]

    def classes(
        self,
        tokens: Int[np.ndarray, "n layer"],
        words: Int[np.ndarray, " n"],
        next_words: Int[np.ndarray, " n"],
    ) -> Int[np.ndarray, "n layer"]:
        """The class of each token.

        Args:
            tokens: row of each token.
            words: column of the word that is said.
            next_words: column of the word that follows.

        Returns:
            Indices into `ERROR_CLASSES`, as `WordErrors.classify` has them.
        """
        words, next_words = words[:, None], next_words[:, None]
        found = self.without_next[tokens, words]
        counts = self.counts_as[tokens, next_words] & ~self.counts_as[tokens, words]
        is_next = self.written_as[tokens, next_words] | counts
        return np.where(is_next & (found != _EXACT), _NEXT, found)


def token_type(written: str) -> str:
    """The form under which a token is compared with words.

    Args:
        written: the token as its tokenizer writes it.

    Returns:
        In lower case, without spaces around it; punctuation stays, since ``'s`` is no ``s``.
    """
    return written.strip().lower()
