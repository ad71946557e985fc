"""Which tokens count as a word, and which other words stand beside it as controls.

The rules, all seeded:

* **true**: `SpeechTextVocab.word_tokens` of the current word, and of the word that follows it
  (spoken or written). A next word whose tokens meet the current word's is left out: a hit could be
  either.
* **shuffled**: words drawn, with replacement, from the words of *other* utterances that are of
  the same class (content or function) and whose tokens do not meet the true ones. Frequent words
  are drawn often, so this control has the base rates of the data.
* **frequency matched**: word types of the same class, other than the true one, whose tokens do
  not meet the true ones; the `N_NEAREST` whose ``log(count + 1)`` is nearest to the true word's
  (ties in random order), of which draws are made with replacement. A model that only likes
  frequent words does no better on the true word than on these.

Source: ours; a shuffled control is printed by public logit-lens code on speech models.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from slm_lens.sequence.function_words import word_type
from slm_lens.sequence.utterance import Utterance
from slm_lens.sequence.word_span import Modality, WordSpan
from slm_lens.vocab import SpeechTextVocab, WordPolicy

N_NEAREST = 10
"""Word types of most similar frequency from which frequency-matched controls are drawn."""

TokenSet = tuple[int, ...]


@dataclass(frozen=True)
class WordTargets:
    """One spoken word, with everything that is ranked for it.

    Attributes:
        utterance: index of its utterance.
        word_index: index among the utterance's words, spoken or not.
        span: the word and its positions.
        next_word: the word that follows, None at the end.
        next_modality: whether that word is spoken or written, None at the end.
        is_content: whether the word is a content word.
        next_is_content: the same for the next word, None at the end.
        current: its token ids.
        following: token ids of the next word; empty if there is none, or if they meet `current`.
        next_targets_meet: whether the next word was left out because its tokens meet `current`.
        shuffled_current, matched_current, shuffled_next, matched_next: token ids of control words;
            ``n_draws`` sets, or none when no word qualifies or the true set is empty.
    """

    utterance: int
    word_index: int
    span: WordSpan
    next_word: str | None
    next_modality: Modality | None
    is_content: bool
    next_is_content: bool | None
    current: TokenSet
    following: TokenSet
    next_targets_meet: bool
    shuffled_current: tuple[TokenSet, ...]
    matched_current: tuple[TokenSet, ...]
    shuffled_next: tuple[TokenSet, ...]
    matched_next: tuple[TokenSet, ...]


class TargetPlan:
    """Target sets and control draws for the words of a data set.

    Args:
        vocab: the model's vocabulary.
        utterances: the data.
        policy: which tokens count as a word.
        function_words: lower-case words that are not content words.
        word_counts: how often each word (lower case, no punctuation) occurs in a corpus; None
            counts over ``utterances``. A word that is not listed has count 0.
        n_draws: control words for each word and kind of control.
        seed: seed of the draws.

    Raises:
        VocabError: the vocabulary has no text.
    """

    def __init__(
        self,
        vocab: SpeechTextVocab,
        utterances: Sequence[Utterance],
        *,
        policy: WordPolicy,
        function_words: frozenset[str],
        word_counts: Mapping[str, int] | None,
        n_draws: int,
        seed: int,
    ) -> None:
        vocab.require_text("TargetPlan")
        self._vocab, self._function_words, self._n_draws = vocab, function_words, n_draws
        self._policy: WordPolicy = policy
        self._rng = np.random.default_rng(seed)
        self._cache: dict[str, TokenSet] = {}
        words = [(u, w.word) for u, x in enumerate(utterances) for w in x.sequence.words]
        self._counts = (
            Counter(word_type(w) for _, w in words) if word_counts is None else word_counts
        )
        # Occurrences, for shuffled controls; the first spelling of each type, for matched ones.
        self._occurrences = {
            c: _Words(self, [x for x in words if self._is_content(x[1]) == c])
            for c in (True, False)
        }
        first = {word_type(w): (u, w) for u, w in reversed(words)}
        self._types = {
            c: _Words(self, [x for _, x in sorted(first.items()) if self._is_content(x[1]) == c])
            for c in (True, False)
        }

    def tokens(self, word: str) -> TokenSet:
        """Token ids that count as a word.

        Args:
            word: the word as written.

        Returns:
            Sorted ids; empty when the policy finds none.
        """
        if word not in self._cache:
            self._cache[word] = self._vocab.word_tokens(word, self._policy)
        return self._cache[word]

    def word(self, utterance: int, words: Sequence[WordSpan], index: int) -> WordTargets:
        """Everything that is ranked for one word; draws its controls.

        Args:
            utterance: index of the utterance.
            words: all words of the utterance.
            index: which of them.

        Returns:
            The word's targets.
        """
        span = words[index]
        after = words[index + 1] if index + 1 < len(words) else None
        follower = None if after is None else after.word
        current = self.tokens(span.word)
        following = () if follower is None else self.tokens(follower)
        meet = not set(current).isdisjoint(following)
        if meet:
            following = ()
        kept = follower if following else None
        return WordTargets(
            utterance=utterance,
            word_index=index,
            span=span,
            next_word=follower,
            next_modality=None if after is None else after.modality,
            is_content=self._is_content(span.word),
            next_is_content=None if follower is None else self._is_content(follower),
            current=current,
            following=following,
            next_targets_meet=meet,
            shuffled_current=self._shuffled(span.word, utterance),
            matched_current=self._matched(span.word),
            shuffled_next=() if kept is None else self._shuffled(kept, utterance),
            matched_next=() if kept is None else self._matched(kept),
        )

    def _is_content(self, word: str) -> bool:
        return word_type(word) not in self._function_words

    def _shuffled(self, word: str, utterance: int) -> tuple[TokenSet, ...]:
        others = self._occurrences[self._is_content(word)]
        candidates = np.flatnonzero(
            others.disjoint(self.tokens(word)) & (others.utterance != utterance)
        )
        return self._draw(word, others, candidates)

    def _matched(self, word: str) -> tuple[TokenSet, ...]:
        others = self._types[self._is_content(word)]
        candidates = np.flatnonzero(
            others.disjoint(self.tokens(word)) & (others.type != word_type(word))
        )
        candidates = self._rng.permutation(candidates)  # so that ties in frequency have no order
        distance = np.abs(others.log_count[candidates] - self.log_count(word))
        return self._draw(word, others, candidates[distance.argsort(kind="stable")][:N_NEAREST])

    def _draw(self, word: str, others: "_Words", candidates: np.ndarray) -> tuple[TokenSet, ...]:
        if not self.tokens(word) or not len(candidates) or not self._n_draws:
            return ()
        chosen = self._rng.choice(candidates, size=self._n_draws, replace=True)
        return tuple(others.tokens[i] for i in chosen)

    def log_count(self, word: str) -> float:
        """Log of a word's corpus count plus 1.

        Args:
            word: the word as written.

        Returns:
            ``log(count + 1)``; 0 for a word that the corpus lacks.
        """
        return float(np.log1p(self._counts.get(word_type(word), 0)))


class _Words:
    """Words of one class that may be drawn as controls; those without tokens are left out."""

    def __init__(self, plan: TargetPlan, words: list[tuple[int, str]]) -> None:
        words = [(u, w) for u, w in words if plan.tokens(w)]
        self.tokens = [plan.tokens(w) for _, w in words]
        self.utterance = np.array([u for u, _ in words], dtype=np.int64)
        self.type = np.array([word_type(w) for _, w in words], dtype=np.str_)
        self.log_count = np.array([plan.log_count(w) for _, w in words])
        self._holders: dict[int, list[int]] = {}
        for i, ids in enumerate(self.tokens):
            for t in ids:
                self._holders.setdefault(t, []).append(i)

    def disjoint(self, tokens: TokenSet) -> np.ndarray:
        """True for the words that share no token with the given ones."""
        free = np.ones(len(self.tokens), dtype=bool)
        for t in tokens:
            free[self._holders.get(t, [])] = False
        return free
