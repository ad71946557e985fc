import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from slm_lens import alignment_path, cosine_matrix


def test_by_hand():
    # Three speech positions, four tokens: the best positions are 0, 2, 1, 2.
    similarity = torch.tensor([[0.9, 0.1, 0.0, 0.2], [0.3, 0.2, 0.8, 0.1], [0.1, 0.7, 0.5, 0.6]])
    path = alignment_path(similarity)
    assert path.positions.tolist() == [0, 2, 1, 2]
    assert path.score == pytest.approx((0.9 + 0.7 + 0.8 + 0.6) / 4)
    # Ranks 1, 3.5, 2, 3.5 against 1, 2, 3, 4: covariance 3, variances 4.5 and 5 (sums of products).
    assert path.monotonicity == pytest.approx(3 / (4.5 * 5) ** 0.5)
    # Never back: 0.9, then 0.7 at the third and on with 0.5 and 0.6 (2.7), not 0.2, 0.8, 0.6 (2.5).
    in_order = alignment_path(similarity, monotone=True)
    assert in_order.positions.tolist() == [0, 2, 2, 2]
    assert in_order.score == pytest.approx(2.7 / 4)


@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 5)),
    values=st.lists(st.floats(-1, 1, width=32), min_size=20, max_size=20),
)
def test_the_monotone_path_is_the_best_of_all(shape, values):
    n, m = shape
    table = np.array(values[: n * m]).reshape(n, m)
    ways = itertools.combinations_with_replacement(range(n), m)  # never go back
    best = max(np.mean([table[p, t] for t, p in enumerate(way)]) for way in ways)
    found = alignment_path(torch.from_numpy(table), monotone=True)
    assert found.score == pytest.approx(best, abs=1e-12)
    assert (found.positions.diff() >= 0).all()
    picked = table[found.positions.numpy(), np.arange(m)].mean()
    assert picked == pytest.approx(found.score, abs=1e-12)
    assert alignment_path(torch.from_numpy(table)).score >= best - 1e-12


@given(st.lists(st.integers(0, 4), min_size=2, max_size=9))
def test_the_order_is_spearmans(positions):
    similarity = torch.zeros(5, len(positions))
    similarity[positions, torch.arange(len(positions))] = 1.0
    found = alignment_path(similarity)
    assert found.positions.tolist() == positions
    if len(set(positions)) == 1:
        assert np.isnan(found.monotonicity)
    else:
        expected, _ = spearmanr(np.arange(len(positions)), positions)
        assert found.monotonicity == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("monotone", [False, True])
def test_of_equal_positions_the_first_is_taken(monotone):
    assert alignment_path(torch.zeros(3, 2), monotone=monotone).positions.tolist() == [0, 0]


def test_one_token_has_no_order():
    assert np.isnan(alignment_path(torch.rand(3, 1)).monotonicity)


@pytest.mark.parametrize("similarity", [torch.zeros(0, 2), torch.tensor([[torch.inf]])])
def test_what_is_no_matrix_of_similarities_is_refused(similarity):
    with pytest.raises(ValueError, match=r"alignment_path: got similarities of shape .* expected"):
        alignment_path(similarity)


def test_cosines_by_hand():
    x, y = torch.tensor([[3.0, 4.0], [0.0, 2.0]]), torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    root = 2**-0.5
    found = cosine_matrix(x, y)
    assert found.dtype == torch.float64
    assert found.numpy() == pytest.approx(np.array([[0.6, 1.4 * root], [0.0, root]]))


def test_a_state_without_direction_is_refused():
    with pytest.raises(ValueError, match=r"cosine_matrix: got 1 states of norm 0 among 2"):
        cosine_matrix(torch.tensor([[0.0, 0.0], [1.0, 0.0]]), torch.ones(1, 2))
