import math

import pytest
import torch

from slm_lens import attention_coverage


def test_by_hand():
    found = attention_coverage(torch.tensor([[0.6, 0.1, 0.2, 0.1], [0.25, 0.25, 0.25, 0.25]]))
    # 0.6 + 0.2 + 0.1 = 0.9 is enough, to within rounding; of equal weights all four are needed.
    assert found.n_tokens.tolist() == [3, 4]
    assert found.largest.tolist() == pytest.approx([0.6, 0.25])
    entropy = -(0.6 * math.log(0.6) + 0.2 * math.log(0.2) + 2 * 0.1 * math.log(0.1))
    assert found.entropy.tolist() == pytest.approx([entropy / math.log(4), 1.0])


def test_shares_by_hand():
    row = torch.tensor([0.5, 0.3, 0.2, 0.0])
    counts = {
        s: int(attention_coverage(row, share=s).n_tokens) for s in (0.4, 0.5, 0.79, 0.81, 1.0)
    }
    assert counts == {0.4: 1, 0.5: 1, 0.79: 2, 0.81: 3, 1.0: 3}


@pytest.mark.parametrize("n", [10, 20, 145])
def test_uniform_attention_needs_nine_in_ten(n):
    found = attention_coverage(torch.full((n,), 1 / n))
    assert int(found.n_tokens) == math.ceil(9 * n / 10)
    assert float(found.entropy) == pytest.approx(1)


def test_one_position_has_no_entropy():
    found = attention_coverage(torch.ones(2, 1))
    assert found.n_tokens.tolist() == [1, 1]
    assert found.entropy.tolist() == [0, 0]


def test_half_precision_that_sums_almost_to_one_is_taken():
    row = torch.full((3,), 1 / 3).to(torch.bfloat16)  # 0.33398 each, 1.002 in all
    assert float(attention_coverage(row).largest) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    "row", [torch.tensor([0.5, 0.4]), torch.tensor([1.5, -0.5]), torch.zeros(0)]
)
def test_what_is_no_attention_is_refused(row):
    with pytest.raises(ValueError, match=r"attention_coverage: got attention over \d positions"):
        attention_coverage(row)


@pytest.mark.parametrize("share", [0.0, 1.1])
def test_a_share_out_of_range_is_refused(share):
    with pytest.raises(ValueError, match=r"got share=.*, expected 0 < share <= 1"):
        attention_coverage(torch.ones(1), share=share)
