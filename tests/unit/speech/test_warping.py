import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slm_lens import dtw_path


def all_ways(n, m):
    """Every monotone way through a table, by brute force."""
    for steps in range(max(n, m) - 1, n + m - 1):
        for moves in itertools.product([(1, 1), (1, 0), (0, 1)], repeat=steps):
            way = np.cumsum([(0, 0), *moves], axis=0)
            if tuple(way[-1]) == (n - 1, m - 1):
                yield way


@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    costs=st.lists(st.floats(-1, 1, width=32), min_size=16, max_size=16),
)
def test_the_way_is_the_cheapest_of_all(shape, costs):
    n, m = shape
    cost = np.array(costs[: n * m]).reshape(n, m)
    best = min(cost[way[:, 0], way[:, 1]].sum() for way in all_ways(n, m))
    found = dtw_path(torch.from_numpy(cost)).numpy()
    assert cost[found[:, 0], found[:, 1]].sum() == pytest.approx(best, abs=1e-12)
    assert {tuple(s) for s in np.diff(found, axis=0).tolist()} <= {(1, 1), (1, 0), (0, 1)}
    assert found[0].tolist() == [0, 0]
    assert found[-1].tolist() == [n - 1, m - 1]


def test_a_sequence_and_itself_go_along_the_diagonal():
    x = torch.tensor([0.0, 3.0, 1.0, 4.0, 1.5])
    assert dtw_path((x[:, None] - x).abs()).tolist() == [[i, i] for i in range(5)]


def test_ties_take_the_diagonal():
    # All costs 1: the diagonal visits 3 cells, any other way 4 or 5.
    assert dtw_path(torch.ones(3, 3)).tolist() == [[0, 0], [1, 1], [2, 2]]
    # Free of charge, all ways cost the same; from the end: diagonal, then along the rows.
    assert dtw_path(torch.zeros(3, 2)).tolist() == [[0, 0], [1, 0], [2, 1]]


@pytest.mark.parametrize(
    ("cost", "said"),
    [
        (torch.zeros(0, 3), r"shape \(0, 3\), 0 of them not finite, expected at least one row"),
        (torch.tensor([[0.0, torch.nan]]), r"shape \(1, 2\), 1 of them not finite"),
    ],
)
def test_what_is_no_table_of_costs_is_refused(cost, said):
    with pytest.raises(ValueError, match=f"dtw_path: got costs of {said}"):
        dtw_path(cost)
