"""The words of a data set, from which control words are drawn.

Nothing here holds a sequence or a sound: eight bytes for each word that is said, and each spelling
once. So the words of a corpus are known before its first utterance is read by a model, and what is
drawn for a word depends on the data set, the seed, the utterance's name and the word's place in it,
and not on which utterances happen to be read together.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from slm_lens.sequence.function_words import word_type
from slm_lens.sequence.utterance import Utterance

N_NEAREST = 10
"""Word types of most similar frequency from which frequency-matched controls are drawn."""

_ROUNDS = 8
"""Tries, each of twice the draws that are wanted, before all words are looked at."""

TokenSet = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class CorpusWords:
    """Every word that is said in a data set, in order.

    Attributes:
        names: names of the utterances.
        spellings: each spelling once, in order of first appearance.
        utterance: index into `names` of every word.
        spelling: index into `spellings` of every word.
    """

    names: Sequence[str]
    spellings: tuple[str, ...]
    utterance: np.ndarray
    spelling: np.ndarray

    @classmethod
    def of(cls, named: Iterable[tuple[str, Iterable[str]]]) -> "CorpusWords":
        """Words of utterances, read once.

        Args:
            named: name and words of each utterance.

        Returns:
            The words.
        """
        names: list[str] = []
        numbers: dict[str, int] = {}
        spelling: list[np.ndarray] = []
        for name, words in named:
            names.append(name)
            of_one = [numbers.setdefault(w, len(numbers)) for w in words]
            spelling.append(np.array(of_one, dtype=np.int32))
        n_words = [len(s) for s in spelling]
        return cls(
            names=tuple(names),
            spellings=tuple(numbers),
            utterance=np.repeat(np.arange(len(names), dtype=np.int32), n_words),
            spelling=np.concatenate([np.zeros(0, dtype=np.int32), *spelling]),
        )

    @classmethod
    def of_utterances(cls, utterances: Sequence[Utterance]) -> "CorpusWords":
        """Words of utterances, spoken or written.

        Args:
            utterances: the data.

        Returns:
            The words.
        """
        return cls.of((x.name, [w.word for w in x.sequence.words]) for x in utterances)

    def counts(self) -> Counter[str]:
        """How often each word (lower case, no punctuation) is said.

        Returns:
            The counts.
        """
        counts: Counter[str] = Counter()
        said = np.bincount(self.spelling, minlength=len(self.spellings))
        for spelling, n in zip(self.spellings, said.tolist(), strict=True):
            counts[word_type(spelling)] += n
        return counts

    def generator(self, seed: int, utterance: int, word_index: int) -> np.random.Generator:
        """The random numbers of one word.

        Args:
            seed: seed of the draws.
            utterance: index into `names`.
            word_index: index among the utterance's words.

        Returns:
            The same generator for the same seed, name and index, whatever was drawn before.
        """
        digest = hashlib.sha256(self.names[utterance].encode("utf-8", "surrogatepass")).digest()
        return np.random.default_rng([seed, int.from_bytes(digest[:16], "big"), word_index])


class WordPool:
    """Words of one class (content or function) that may be drawn; those without tokens are not.

    Args:
        words: the data set.
        belongs: whether a spelling is of the class.
        tokens: token ids that count as a word.
        counts: corpus count of each word type.
    """

    def __init__(
        self,
        words: CorpusWords,
        belongs: Callable[[str], bool],
        tokens: Callable[[str], TokenSet],
        counts: Mapping[str, int],
    ) -> None:
        self._tokens = [tokens(s) if belongs(s) else () for s in words.spellings]
        here = np.array([bool(t) for t in self._tokens], dtype=bool)
        said = here[words.spelling] if len(words.spelling) else np.zeros(0, dtype=bool)
        self._utterance, self._spelling = words.utterance[said], words.spelling[said]
        self._holders: dict[int, list[int]] = {}
        for i, ids in enumerate(self._tokens):
            for t in ids:
                self._holders.setdefault(t, []).append(i)
        first: dict[str, int] = {}  # spellings are in order of appearance, with tokens or without
        for i, s in enumerate(words.spellings):
            if belongs(s):
                first.setdefault(word_type(s), i)
        types = [(float(np.log1p(counts.get(t, 0))), t, i) for t, i in first.items() if here[i]]
        types.sort()
        self._type_spelling = [i for _, _, i in types]
        self._type_number = {t: n for n, (_, t, _) in enumerate(types)}
        self._number_of_spelling = {i: n for n, (_, _, i) in enumerate(types)}
        self._levels, starts = np.unique([c for c, _, _ in types], return_index=True)
        self._level_ends = [*starts.tolist(), len(types)]
        self._nearest: dict[str, _Nearest] = {}

    def _meeting(self, tokens: TokenSet) -> set[int]:
        """Spellings that share a token with these."""
        return {i for t in tokens for i in self._holders.get(t, ())}

    def shuffled(
        self, rng: np.random.Generator, tokens: TokenSet, utterance: int, n_draws: int
    ) -> tuple[TokenSet, ...]:
        """Words of other utterances, as often as they are said there.

        Args:
            rng: draws.
            tokens: of the true word; words that share one are left out.
            utterance: whose words are left out.
            n_draws: how many words.

        Returns:
            Token ids of each word that was drawn; none if no word qualifies.
        """
        n_words, meeting = len(self._spelling), self._meeting(tokens)
        found: list[int] = []
        for _ in range(_ROUNDS if n_words else 0):
            drawn = rng.integers(n_words, size=2 * n_draws)
            elsewhere = drawn[self._utterance[drawn] != utterance]
            found += [i for i in self._spelling[elsewhere].tolist() if i not in meeting]
            if len(found) >= n_draws:
                return tuple(self._tokens[i] for i in found[:n_draws])
        # Few words qualify, or none: the same distribution from a list of all that do.
        fits = (self._utterance != utterance) & ~np.isin(self._spelling, sorted(meeting))
        candidates = self._spelling[fits]
        if not len(candidates):
            return ()
        found += rng.choice(candidates, size=n_draws - len(found)).tolist()
        return tuple(self._tokens[i] for i in found)

    def matched(
        self, rng: np.random.Generator, word: str, tokens: TokenSet, log_count: float, n_draws: int
    ) -> tuple[TokenSet, ...]:
        """Word types that are about as frequent.

        Args:
            rng: draws, also among types of the same distance.
            word: the true word, whose type is left out.
            tokens: its token ids; types that share one are left out.
            log_count: log of its corpus count plus 1.
            n_draws: how many words.

        Returns:
            Token ids of each word that was drawn; none if no type qualifies.
        """
        if word not in self._nearest:
            self._nearest[word] = self._find_nearest(word, tokens, log_count)
        near = self._nearest[word]
        nearest = list(near.sure)
        if near.lacking:
            # Enough that `lacking` are left when those to leave out are gone.
            size = min(len(near.ties), near.lacking + len(near.out))
            places = rng.choice(len(near.ties), size=size, replace=False).tolist()
            nearest += [n for p in places if (n := near.ties[p]) not in near.out][: near.lacking]
        if not nearest:
            return ()
        chosen = rng.integers(len(nearest), size=n_draws).tolist()
        return tuple(self._tokens[self._type_spelling[nearest[c]]] for c in chosen)

    def _find_nearest(self, word: str, tokens: TokenSet, log_count: float) -> "_Nearest":
        out = {self._number_of_spelling.get(i, -1) for i in self._meeting(tokens)}
        out = (out | {self._type_number.get(word_type(word), -1)}) - {-1}
        distance = np.abs(self._levels - log_count)
        sure: list[int] = []
        for d in np.unique(distance):  # two frequencies of one distance count as one
            levels = np.flatnonzero(distance == d).tolist()
            ranges = [range(self._level_ends[i], self._level_ends[i + 1]) for i in levels]
            group = ranges[0] if len(ranges) == 1 else [n for r in ranges for n in r]
            n_fit = len(group) - sum(n in group for n in out)
            if len(sure) + n_fit > N_NEAREST:
                return _Nearest(sure, group, N_NEAREST - len(sure), frozenset(out))
            sure += [n for n in group if n not in out]
        return _Nearest(sure, (), 0, frozenset())


@dataclass(frozen=True, eq=False)
class _Nearest:
    """Types of nearest frequency: those that are near enough for sure, and ties for the rest.

    `ties` is a range where it can be, so that many rare words cost nothing.
    """

    sure: list[int]
    ties: Sequence[int]
    lacking: int
    out: frozenset[int]
