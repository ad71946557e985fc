"""Which speech units belong to a word, and which words are spoken in a mixed sequence."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import numpy as np

from slm_lens.speech.alignment import Alignment

_MAX_OVERLAPS = 100


def word_unit_spans(
    unit_ends_s: Sequence[float], alignment: Alignment
) -> tuple[tuple[int, int], ...]:
    """Half-open span of units for each word, by the rule with which SIMS was trained.

    A word at ``[start_s, end_s]`` owns the units whose *end* lies in ``[start_s, end_s]``:
    ``units[bisect_left(ends, start_s):bisect_right(ends, end_s)]``. So the unit that is sounding
    when the word starts is included, and a unit that crosses the word's end belongs to the next
    word. A word shorter than the units around it may own none (start = end), units that end in a
    pause belong to no word, and neither do those that end after the last word.

    Ours: a unit that ends exactly where one word stops and the next starts lies in both
    intervals. It is sounding in the first, which keeps it, so that spans never overlap.

    Args:
        unit_ends_s: end of each unit in seconds, rising.
        alignment: words and their times.

    Returns:
        ``(start, end)`` over units for each word.

    Source:
        slamkit, ``tokeniser/interleaving_tokeniser.py`` (Maimon et al. 2025, arXiv:2504.02398).
    """
    spans: list[tuple[int, int]] = []
    previous_end = 0
    for w in alignment:
        start = max(bisect_left(unit_ends_s, w.start_s), previous_end)
        previous_end = max(bisect_right(unit_ends_s, w.end_s), start)
        spans.append((start, previous_end))
    return tuple(spans)


def select_spoken_words(
    n_words: int,
    *,
    mean_span_words: float,
    speech_share: float,
    generator: np.random.Generator,
) -> tuple[bool, ...]:
    """Draw which words of a sentence are spoken, in runs of Poisson length.

    Runs are added until at least ``ceil(speech_share * n_words)`` words are spoken: a start is
    drawn from the words that may start a run, its length from a Poisson distribution (at least one
    word, cut at the sentence's end); a run that would overlap an earlier one is drawn again. The
    word right after a run may not start another. So the realised share overshoots.

    Args:
        n_words: words in the sentence, at least 1.
        mean_span_words: mean of the Poisson distribution of run lengths (SIMS: 10).
        speech_share: share of words to be spoken, in [0, 1] (SIMS: 0.3).
        generator: source of randomness.

    Returns:
        True for each spoken word.

    Raises:
        ValueError: an argument is out of range.

    Source:
        slamkit ``select_spans_poisson``; Maimon et al. 2025, arXiv:2504.02398. Ours, so that the
        share is always reached: a length drawn as 0 counts as 1; after 100 overlapping draws in a
        row the run ends where it meets the earlier one; when no word may start a run, those right
        after a run may.
    """
    if n_words < 1 or not mean_span_words > 0 or not 0 <= speech_share <= 1:
        raise ValueError(
            f"select_spoken_words: got n_words={n_words}, mean_span_words={mean_span_words}, "
            f"speech_share={speech_share}; expected n_words >= 1, mean_span_words > 0 and "
            "0 <= speech_share <= 1."
        )
    spoken = np.zeros(n_words, dtype=bool)
    follows_run = np.zeros(n_words + 1, dtype=bool)
    target = int(np.ceil(speech_share * n_words))
    overlaps = 0
    while spoken.sum() < target:
        starts = np.flatnonzero(~spoken & ~follows_run[:-1])
        start = int(generator.choice(starts if len(starts) else np.flatnonzero(~spoken)))
        end = min(start + max(1, int(generator.poisson(mean_span_words))), n_words)
        taken = np.flatnonzero(spoken[start:end])
        if len(taken):
            overlaps += 1
            if overlaps < _MAX_OVERLAPS:
                continue
            end = start + int(taken[0])
        overlaps = 0
        spoken[start:end] = True
        follows_run[end] = True
    return tuple(spoken.tolist())
