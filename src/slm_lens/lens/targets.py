"""Which tokens count as a word, and which other words stand beside it as controls.

The rules, all seeded, word by word (`CorpusWords.generator`):

* **true**: `SpeechTextVocab.word_tokens` of the current word, and of the word that follows it
  (spoken or written). A next word whose tokens meet the current word's is left out: a hit could be
  either.
* **shuffled**: words drawn, with replacement, from the words of *other* utterances that are of
  the same class (content or function) and whose tokens do not meet the true ones. Frequent words
  are drawn often, so this control has the base rates of the data.
* **frequency matched**: word types of the same class, other than the true one, whose tokens do
  not meet the true ones; the `N_NEAREST` of
  `slm_lens.lens.control_words` whose ``log(count + 1)`` is nearest to the true word's
  (ties in random order), of which draws are made with replacement. A model that only likes
  frequent words does no better on the true word than on these.

Source: ours; a shuffled control is printed by public logit-lens code on speech models.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from slm_lens.lens.control_words import CorpusWords, TokenSet, WordPool
from slm_lens.sequence.function_words import word_type
from slm_lens.sequence.utterance import Utterance
from slm_lens.sequence.word_span import Modality, WordSpan
from slm_lens.vocab import SpeechTextVocab, WordPolicy


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
        utterances: the data, or its words alone.
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
        utterances: Sequence[Utterance] | CorpusWords,
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
        self._seed = seed
        self._cache: dict[str, TokenSet] = {}
        self._words = (
            utterances
            if isinstance(utterances, CorpusWords)
            else CorpusWords.of_utterances(utterances)
        )
        self._counts = self._words.counts() if word_counts is None else word_counts
        self._pools = {
            c: WordPool(
                self._words, lambda w, c=c: self._is_content(w) == c, self.tokens, self._counts
            )
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
        rng = self._words.generator(self._seed, utterance, index)
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
            shuffled_current=self._shuffled(rng, span.word, utterance),
            matched_current=self._matched(rng, span.word),
            shuffled_next=() if kept is None else self._shuffled(rng, kept, utterance),
            matched_next=() if kept is None else self._matched(rng, kept),
        )

    def _is_content(self, word: str) -> bool:
        return word_type(word) not in self._function_words

    def _shuffled(
        self, rng: np.random.Generator, word: str, utterance: int
    ) -> tuple[TokenSet, ...]:
        tokens = self.tokens(word)
        if not tokens or not self._n_draws:
            return ()
        return self._pools[self._is_content(word)].shuffled(rng, tokens, utterance, self._n_draws)

    def _matched(self, rng: np.random.Generator, word: str) -> tuple[TokenSet, ...]:
        tokens = self.tokens(word)
        if not tokens or not self._n_draws:
            return ()
        pool = self._pools[self._is_content(word)]
        return pool.matched(rng, word, tokens, self.log_count(word), self._n_draws)

    def log_count(self, word: str) -> float:
        """Log of a word's corpus count plus 1.

        Args:
            word: the word as written.

        Returns:
            ``log(count + 1)``; 0 for a word that the corpus lacks.
        """
        return float(np.log1p(self._counts.get(word_type(word), 0)))
