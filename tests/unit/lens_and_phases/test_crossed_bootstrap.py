"""Intervals over two groupings at once."""

import numpy as np
import pytest

from slm_lens.phases.bootstrap import resample_weights
from slm_lens.phases.crossed_bootstrap import crossed_interval

CLIP, WORD = np.repeat(np.arange(10), 4), np.tile(np.arange(4), 10)


def interval(values, first=CLIP, second=WORD, n_bootstrap=2000):
    return crossed_interval(values, first, second, n_bootstrap=n_bootstrap, seed=0)


def test_equal_values_have_no_spread():
    assert interval(np.full(40, 0.25)) == pytest.approx((0.25, 0.25))


def test_what_hangs_on_the_word_alone_is_as_uncertain_as_four_words():
    # Two words of four are hits in every clip: over clips alone the mean is 0.5 for sure. Of four
    # words drawn, the share of hits is binomial(4, 1/2) / 4: 0 and 1 each in 1 of 16 draws.
    values = np.isin(WORD, (0, 1)).astype(float)
    over_clips = resample_weights(10, 500, 0)[:, CLIP]
    assert (over_clips @ values / over_clips.sum(1)).std() < 1e-12
    assert interval(values) == (0.0, 1.0)


def test_with_words_of_their_own_it_is_the_interval_over_words():
    # Every value its own word, all in one clip: a plain bootstrap of a mean of 400 numbers.
    values = np.random.default_rng(0).normal(size=400)
    low, high = interval(values, np.zeros(400, dtype=int), np.arange(400))
    half = 1.96 * values.std() / np.sqrt(400)
    assert low == pytest.approx(values.mean() - half, abs=0.015)
    assert high == pytest.approx(values.mean() + half, abs=0.015)


def test_names_of_groups_do_not_matter():
    values = np.random.default_rng(1).normal(size=40)
    assert interval(values, 7 + 3 * CLIP, WORD + 100) == interval(values)


@pytest.mark.usefixtures("untyped")
def test_no_resamples_give_no_interval_and_wrong_lengths_are_refused():
    assert np.isnan(interval(np.ones(40), n_bootstrap=0)).all()
    with pytest.raises(ValueError, match=r"got 3 values, 40 and 40 groups, expected as many"):
        interval(np.ones(3))
    with pytest.raises(ValueError, match=r"got 0 values"):
        interval(np.ones(0), CLIP[:0], WORD[:0])
