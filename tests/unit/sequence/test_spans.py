"""Which units a word owns, and which words are spoken."""

import math
import random
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slm_lens.sequence.spans import select_spoken_words, word_unit_spans
from slm_lens.speech.alignment import AlignedWord, Alignment

# Times in eighths of a second are exact in floating point, so ends that coincide do so exactly.
ENDS_S = st.lists(st.integers(1, 80), min_size=1, max_size=20, unique=True).map(
    lambda eighths: [n / 8 for n in sorted(eighths)]
)
EDGES_S = st.lists(st.integers(0, 80), min_size=2, max_size=12).map(
    lambda eighths: [n / 8 for n in sorted(eighths)]
)


def words_between(edges_s):
    return Alignment(tuple(AlignedWord("w", start, end) for start, end in pairwise(edges_s)))


@given(ENDS_S, EDGES_S)
def test_a_unit_belongs_to_the_first_word_that_it_ends_within(ends_s, edges_s):
    alignment = words_between(edges_s)
    owners = [
        next((i for i, w in enumerate(alignment) if w.start_s <= t <= w.end_s), None)
        for t in ends_s
    ]
    for i, (start, end) in enumerate(word_unit_spans(ends_s, alignment)):
        assert 0 <= start <= end <= len(ends_s)
        assert list(range(start, end)) == [u for u, owner in enumerate(owners) if owner == i]


def test_spans_by_hand():
    # Units end at 0.2 0.4 0.6 0.8. The unit sounding at 0.3 ends at 0.4, so it is the word's; the
    # one that crosses 0.5 ends at 0.6, so it is the next word's.
    alignment = Alignment(
        (
            AlignedWord("a", 0.3, 0.5),
            AlignedWord("b", 0.5, 0.55),
            AlignedWord("c", 0.55, 0.6),
            AlignedWord("d", 0.7, 2.0),
        )
    )
    spans = word_unit_spans([0.2, 0.4, 0.6, 0.8], alignment)
    assert spans == ((1, 2), (2, 2), (2, 3), (3, 4))


@given(
    st.integers(1, 40),
    st.floats(0.1, 20.0),
    st.floats(0.0, 1.0),
    st.integers(0, 2**32 - 1),
)
def test_drawn_words(n_words, mean_span_words, speech_share, seed):
    def draw():
        return select_spoken_words(
            n_words,
            mean_span_words=mean_span_words,
            speech_share=speech_share,
            generator=np.random.default_rng(seed),
        )

    spoken = draw()
    assert len(spoken) == n_words
    assert sum(spoken) >= math.ceil(speech_share * n_words)
    assert spoken == draw()


def test_all_and_nothing():
    generator = np.random.default_rng(0)
    options = {"mean_span_words": 2.0, "generator": generator}
    for _ in range(20):
        assert not any(select_spoken_words(9, speech_share=0.0, **options))
        assert all(select_spoken_words(9, speech_share=1.0, **options))


def test_runs_have_the_length_asked_for():
    """One run in a long sentence: Poisson lengths of mean 10, here cut nowhere near the end."""
    generator = np.random.default_rng(0)
    lengths = []
    for _ in range(400):
        spoken = select_spoken_words(
            10_000, mean_span_words=10.0, speech_share=1e-4, generator=generator
        )
        lengths.append(sum(spoken))
    # The mean of 400 has a standard error of sqrt(10 / 400) = 0.16; a Poisson's variance is its
    # mean, and the standard error of the variance is about 10 * sqrt(2 / 400) = 0.7.
    assert np.mean(lengths) == pytest.approx(10, abs=0.6)
    assert np.var(lengths) == pytest.approx(10, abs=3)


def plain_spoken_words(n_words, mean_span_words, speech_share, source):
    """The rule of slamkit in plain Python, where every share that is asked for can be reached."""
    spoken, may_start = set(), set(range(n_words))
    while len(spoken) < speech_share * n_words:
        start = source.choice(sorted(may_start))
        # A Poisson draw: how many exponential waits of mean 1 fit in the mean.
        length, waited = 0, source.expovariate(1)
        while waited < mean_span_words:
            length, waited = length + 1, waited + source.expovariate(1)
        run = set(range(start, min(start + max(1, length), n_words)))
        if not run & spoken:
            spoken |= run
            may_start -= run | {max(run) + 1}
    return [i in spoken for i in range(n_words)]


def test_the_draws_are_those_of_the_plain_rule():
    """Per-word probabilities and the number of runs, over 1,000 draws each."""
    generator, source = np.random.default_rng(0), random.Random(0)
    arguments = {"mean_span_words": 3.0, "speech_share": 0.5}
    ours = np.array(
        [select_spoken_words(12, generator=generator, **arguments) for _ in range(1_000)]
    )
    plain = np.array([plain_spoken_words(12, source=source, **arguments) for _ in range(1_000)])
    # Standard error of a difference of two shares near 0.6: sqrt(2 * 0.24 / 1000) = 0.022.
    assert np.abs(ours.mean(0) - plain.mean(0)).max() < 0.08
    runs = [(np.diff(draws.astype(int), axis=1) == 1).sum(1).mean() for draws in (ours, plain)]
    assert runs[0] == pytest.approx(runs[1], abs=0.12)


def test_long_runs_in_small_gaps_end_where_they_meet():
    """Runs of about 200 words hardly ever fit before an earlier one; drawing on would not end."""
    generator = np.random.default_rng(0)
    for _ in range(5):
        spoken = select_spoken_words(
            30, mean_span_words=200.0, speech_share=1.0, generator=generator
        )
        assert all(spoken)


def test_the_generator_is_what_draws():
    draws = {
        select_spoken_words(
            30, mean_span_words=3.0, speech_share=0.3, generator=np.random.default_rng(seed)
        )
        for seed in range(20)
    }
    assert len(draws) > 10


@pytest.mark.parametrize(
    ("n_words", "mean_span_words", "speech_share"),
    [(0, 10.0, 0.3), (5, 0.0, 0.3), (5, -1.0, 0.3), (5, 10.0, -0.1), (5, 10.0, 1.1)],
)
def test_arguments_out_of_range_are_refused(n_words, mean_span_words, speech_share):
    with pytest.raises(
        ValueError, match=rf"got n_words={n_words}, mean_span_words={mean_span_words}"
    ):
        select_spoken_words(
            n_words,
            mean_span_words=mean_span_words,
            speech_share=speech_share,
            generator=np.random.default_rng(0),
        )
