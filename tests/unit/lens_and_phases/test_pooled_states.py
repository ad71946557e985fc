"""States averaged over time, by hand."""

import pytest
import torch

from slm_lens.lens.pooled_states import pool_over_time, windows_of


def test_means_are_weighted_by_time():
    # A marker, then units of 0.1, 0.3 and 0.2 s; windows of 0.2 s.
    stack = torch.tensor([[[9.0], [1.0], [2.0], [4.0]], [[9.0], [0.0], [10.0], [20.0]]])
    nan = float("nan")
    times_s = torch.tensor([[nan, nan], [0.0, 0.1], [0.1, 0.4], [0.4, 0.6]])
    pooled = pool_over_time(stack, times_s, 5.0)
    # By hand: (0.1 * 1 + 0.1 * 2) / 0.2 = 1.5; then 2; then 4.
    torch.testing.assert_close(pooled[..., 0], torch.tensor([[1.5, 2.0, 4.0], [5.0, 10.0, 20.0]]))


def test_a_window_of_silence_is_zero_and_the_end_opens_none():
    stack = torch.ones(1, 2, 3)
    times_s = torch.tensor([[0.0, 0.1], [0.3, 0.4]])
    pooled = pool_over_time(stack, times_s, 10.0)
    assert pooled[0, :, 0].tolist() == pytest.approx([1, 0, 0, 1], abs=1e-6)
    assert pool_over_time(stack, times_s, 1.0).shape == (1, 1, 3)


@pytest.mark.parametrize(
    ("start_s", "end_s", "rate_hz", "expected"),
    [(0.0, 0.4, 5.0, (0, 2)), (0.1, 0.5, 5.0, (0, 3)), (0.2, 0.4, 5.0, (1, 2)),
     (0.25, 0.25, 5.0, (1, 2)), (0.9, 1.3, 5.0, (4, 5)), (1.1, 1.2, 5.0, (4, 5)),
     (0.1, 0.2, 1.0, (0, 1))],
)  # fmt: skip
def test_windows_that_a_word_overlaps(start_s, end_s, rate_hz, expected):
    assert windows_of(start_s, end_s, rate_hz, 5) == expected


def test_nothing_to_average_is_refused():
    stack, nan = torch.ones(1, 2, 3), torch.full((2, 2), torch.nan)
    with pytest.raises(ValueError, match=r"got 0 positions with times and rate_hz=5.0"):
        pool_over_time(stack, nan, 5.0)
    with pytest.raises(ValueError, match=r"got 2 positions with times and rate_hz=0.0"):
        pool_over_time(stack, torch.tensor([[0.0, 0.1], [0.1, 0.2]]), 0.0)
