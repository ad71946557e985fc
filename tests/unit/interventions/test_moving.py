"""States of one span at the positions of another: by hand, and as properties."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slm_lens.interventions.pairs.moving import FITS, move, moves_together

STATES = torch.tensor([[0.0], [1.0], [4.0], [9.0], [16.0], [25.0]])  # position squared

spans = st.tuples(st.integers(0, 20), st.integers(1, 12)).map(lambda s: (s[0], s[0] + s[1]))


def moved(source, target, fit):
    made = move(source, target, fit)
    return made.targets.tolist(), made(STATES)[:, 0].tolist()


def test_equal_takes_each_state_as_it_is():
    assert moved((1, 4), (7, 10), "equal") == ([7, 8, 9], [1, 4, 9])


def test_mean_puts_one_state_everywhere():
    assert moved((1, 5), (0, 2), "mean") == ([0, 1], [7.5, 7.5])  # (1 + 4 + 9 + 16) / 4


def test_ends_moves_the_last_state_only():
    assert moved((1, 5), (7, 9), "ends") == ([8], [16])


def test_warp_by_hand():
    # Two from four: places (i + 1/2) 4/2 - 1/2 = 1/2 and 5/2, each between two states.
    assert moved((0, 4), (0, 2), "warp") == ([0, 1], [0.5, 6.5])
    # Four from two: places -1/4, 1/4, 3/4, 5/4, kept inside 0 and 1; states 4 and 9.
    assert moved((2, 4), (3, 7), "warp") == ([3, 4, 5, 6], [4, 5.25, 7.75, 9])
    # Three from one, and one from three: the middle.
    assert moved((5, 6), (0, 3), "warp") == ([0, 1, 2], [25, 25, 25])
    assert moved((1, 4), (0, 1), "warp") == ([0], [4])


def test_states_of_more_axes_and_of_half_precision_keep_both():
    states = torch.arange(24.0).view(4, 3, 2).to(torch.bfloat16)
    got = move((0, 2), (0, 1), "mean")(states)
    assert got.dtype == torch.bfloat16
    assert got.tolist() == [[[3, 4], [5, 6], [7, 8]]]  # half-way between [0..5] and [6..11]


@given(source=spans, target=spans, fit=st.sampled_from(FITS))
def test_what_is_put_is_a_mean(source, target, fit):
    if fit == "equal":
        target = (target[0], target[0] + source[1] - source[0])
    made = move(source, target, fit)
    torch.testing.assert_close(made.weights.sum(1), torch.ones(len(made.targets)))
    assert (made.weights >= 0).all()
    assert set(made.targets.tolist()) <= set(range(*target))
    assert set(made.sources.tolist()) <= set(range(*source))


@given(source=spans, start=st.integers(0, 20))
def test_warping_to_the_same_length_is_the_identity(source, start):
    length = source[1] - source[0]
    made = move(source, (start, start + length), "warp")
    assert torch.equal(made.weights, torch.eye(length))


@given(source=spans, length=st.integers(1, 30))
def test_warping_keeps_the_order_of_time_and_the_middle(source, length):
    made = move(source, (0, length), "warp")
    places = made(torch.arange(40.0)[:, None])[:, 0]
    assert (places.diff() >= -1e-5).all()
    torch.testing.assert_close(places, (source[0] + source[1] - 1) - places.flip(0))


def test_moves_together_do_what_each_does_in_the_order_of_targets():
    parts = [move((4, 6), (6, 7), "mean"), move((1, 3), (2, 4), "equal")]
    both = moves_together(parts)
    assert both.targets.tolist() == [2, 3, 6]
    assert both(STATES)[:, 0].tolist() == [1, 4, 20.5]  # (16 + 25) / 2


@pytest.mark.usefixtures("untyped")
@pytest.mark.parametrize("fit", ["nearest", ""])
def test_an_unknown_fit_is_refused(fit):
    with pytest.raises(ValueError, match=r"move: got fit='.*', expected one of \('equal', 'mean'"):
        move((0, 1), (0, 1), fit)


@pytest.mark.parametrize("source", [(2, 2), (3, 2)])
def test_an_empty_span_is_refused(source):
    for pair in ((source, (0, 1)), ((0, 1), source)):
        with pytest.raises(ValueError, match=r"expected at least one position in each. A word wit"):
            move(*pair, "mean")


def test_unequal_lengths_are_refused_where_equal_ones_are_meant():
    with pytest.raises(ValueError, match=r"3 and 2 positions, expected equal.*'warp', 'mean' or"):
        move((0, 3), (0, 2), "equal")


def test_no_move_and_two_moves_to_one_place_are_refused():
    with pytest.raises(ValueError, match=r"moves_together: got no move, expected at least one"):
        moves_together([])
    with pytest.raises(ValueError, match=r"got two moves to one position, expected spans without"):
        moves_together([move((0, 2), (0, 2), "equal"), move((3, 4), (1, 2), "equal")])
