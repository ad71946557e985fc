"""Recall less that of shuffled words, word by word, so that the difference has an interval."""

from typing import Literal

import numpy as np

from slm_lens.lens.word_lens import WordLens
from slm_lens.phases._words import Words
from slm_lens.phases.bootstrap import Curve, resample_weights
from slm_lens.phases.result import WordSelection


def recall_excess(
    word_lens: WordLens,
    *,
    target: Literal["current", "next"],
    pool: Literal["max", "last"],
    k: int,
    words: WordSelection = "content",
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> Curve:
    """Recall@k in text of the words themselves less that of the words drawn for them.

    Args:
        word_lens: the word table, with control draws.
        target: the word that is said, or the one that follows it.
        pool: how a word's positions become one.
        k: rank that counts as a hit.
        words: which words count, as in `measure_phases`.
        n_bootstrap: resamples of utterances.
        seed: seed of the resamples.

    Returns:
        The mean difference by layer; words without a token, or without a control, do not count.

    Raises:
        ValueError: the table has no control draws, or `k` is below 1.

    Source:
        Ours.
    """
    if not word_lens.n_draws or k < 1:
        raise ValueError(
            f"recall_excess: got k={k} and a word table with n_draws={word_lens.n_draws}, expected "
            "k >= 1 and shuffled words to compare with. Read it with n_draws=20."
        )
    arrays = Words.of(word_lens)
    ranks = arrays.numbers(f"rank_{target}_text_{pool}")
    shuffled = arrays.hit_share(f"shuffled_{target}_text_{pool}", k)
    of_class = arrays.is_content if target == "current" else arrays.next_is_content
    counted = of_class if words == "content" else np.ones(len(of_class), dtype=bool)
    hits = np.where(np.isnan(ranks), np.nan, ranks <= k)
    values = np.where(counted[:, None], hits - shuffled, np.nan)
    weights = resample_weights(len(arrays.utterances), n_bootstrap, seed)
    return Curve.of(values, arrays.utterance, weights)
