"""Recall when each word is taken for another: a test that knows about words that are said often.

A word that is said fifty times is hit fifty times or never, so that resampled utterances make
intervals that are too narrow for what is true of *words*; and the highest of many layers is high
by luck. Both are met by one control: let all utterances of a word be compared with another word,
the same one everywhere, and look for the best layer again.

Source: ours. Words as a random factor: Clark 1973, "The language-as-fixed-effect fallacy";
maximum over many places under permutation: Westfall and Young 1993.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True, eq=False)
class PermutedRecall:
    """Recall of words, and of other words in their place.

    Attributes:
        recall: share of words among the highest tokens, by layer.
        permuted: the same with the words permuted.
        any_layer: share of words that are among them at one layer or another.
        any_layer_permuted: the same with the words permuted.
        n_words: words that count.
        n_types: different words among them.
    """

    recall: Float[np.ndarray, " layer"]
    permuted: Float[np.ndarray, "n_permutations layer"]
    any_layer: float
    any_layer_permuted: Float[np.ndarray, " n_permutations"]
    n_words: int
    n_types: int

    @property
    def peak(self) -> int:
        """Layer of the highest recall; the earliest of ties."""
        return int(self.recall.argmax())

    @property
    def p_value(self) -> float:
        """Probability of so high a peak among permuted words, the layer chosen anew each time.

        One-sided; the observed one counts among them, so it is never below
        ``1 / (n_permutations + 1)``.
        """
        peaks = self.permuted.max(1)
        return float((1 + (peaks >= self.recall.max() - 1e-12).sum()) / (1 + len(peaks)))


def permuted_recall(
    top: Int[np.ndarray, "n_words layer k"],
    words: Sequence[str],
    tokens: Mapping[str, Sequence[int]],
    *,
    n_permutations: int = 1000,
    seed: int = 0,
) -> PermutedRecall:
    """Compare recall with that of permuted words.

    Args:
        top: the highest tokens of every word that is said, at every layer.
        words: which word each is.
        tokens: ids of the tokens that count as a word. Words without any do not count.
        n_permutations: how often the different words are permuted; none is then itself.
        seed: seed of the permutations.

    Returns:
        Recall at ``k`` with and without permutation.

    Raises:
        ValueError: rows and words differ in number, there are less than two different words with
            tokens, or `n_permutations` is below 1.

    Source:
        Ours.
    """
    types = sorted({w for w in words if tokens[w]})
    if len(words) != len(top) or len(types) < 2 or n_permutations < 1:
        raise ValueError(
            f"permuted_recall: got {len(top)} rows for {len(words)} words, {len(types)} different "
            f"words with tokens and n_permutations={n_permutations}; expected a row for each word, "
            "two different words at least, and n_permutations >= 1."
        )
    number = {w: i for i, w in enumerate(types)}
    counted = np.array([w in number for w in words])
    top = top[counted]
    of_word = np.array([number[w] for w in words if w in number])
    word, layer, hit = _hits(top, [tokens[w] for w in types])
    n_words, n_layers = len(top), top.shape[1]

    def shares(other: np.ndarray) -> tuple[np.ndarray, float]:
        is_hit = other[of_word[word]] == hit
        by_layer = np.bincount(layer[is_hit], minlength=n_layers) / n_words
        return by_layer, len(np.unique(word[is_hit])) / n_words

    rng = np.random.default_rng(seed)
    drawn = [shares(permutation_without_fixed(len(types), rng)) for _ in range(n_permutations)]
    recall, any_layer = shares(np.arange(len(types)))
    return PermutedRecall(
        recall=recall,
        permuted=np.stack([by_layer for by_layer, _ in drawn]),
        any_layer=any_layer,
        any_layer_permuted=np.array([anywhere for _, anywhere in drawn]),
        n_words=n_words,
        n_types=len(types),
    )


def permutation_without_fixed(n: int, rng: np.random.Generator) -> Int[np.ndarray, " n"]:
    """A random permutation that leaves nothing where it was: each goes to the next in a circle.

    Args:
        n: how many, at least 2.
        rng: draws.

    Returns:
        Where each goes; all cyclic permutations are equally likely.
    """
    circle = rng.permutation(n)
    where = np.empty(n, dtype=np.int64)
    where[circle] = np.roll(circle, -1)
    return where


def _hits(
    top: Int[np.ndarray, "n_words layer k"], tokens: Sequence[Sequence[int]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Word, layer and type of every type that is among the highest tokens; each once."""
    pairs = sorted((t, i) for i, ids in enumerate(tokens) for t in set(ids))
    ids, types = np.array(pairs, dtype=np.int64).T
    first, end = np.searchsorted(ids, top, "left"), np.searchsorted(ids, top, "right")
    n_each = (end - first).reshape(-1)
    place = np.repeat(np.arange(top.size), n_each)
    within = np.arange(len(place)) - np.repeat(np.cumsum(n_each) - n_each, n_each)
    found = types[first.reshape(-1)[place] + within] if len(place) else place
    word, layer, _ = np.unravel_index(place, top.shape)
    shape = (*top.shape[:2], len(tokens))
    once = np.unique(np.ravel_multi_index((word, layer, found), shape))
    word, layer, hit = np.unravel_index(once, shape)
    return word, layer, hit
