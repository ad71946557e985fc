import inspect

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slm_lens.readout.modality import (
    argmax_modality,
    modality_mass,
    modality_of_rows,
    top_k_modality,
)
from slm_lens.readout.pooling import mean_over_words, pool_words
from slm_lens.readout.ranks import NO_RANK, ranks_of_targets, target_tensor


def test_pooling_by_hand():
    logits = torch.tensor([[1.0, 5.0], [3.0, 2.0], [0.0, 9.0]])
    spans = torch.tensor([[0, 2], [2, 3]])
    assert pool_words(logits, spans, "max").tolist() == [[3.0, 5.0], [0.0, 9.0]]
    assert pool_words(logits, spans, "last").tolist() == [[3.0, 2.0], [0.0, 9.0]]
    assert mean_over_words(logits, spans).tolist() == [[2.0, 3.5], [0.0, 9.0]]


def test_an_unknown_pool_and_bad_spans_are_refused():
    logits = torch.zeros(3, 4)
    with pytest.raises(ValueError, match=r"got pool 'mean', expected one of \('max', 'last'\)"):
        inspect.unwrap(pool_words)(logits, torch.tensor([[0, 1]]), "mean")
    for spans in ([[1, 1]], [[2, 1]], [[0, 4]], [[-1, 2]]):
        with pytest.raises(ValueError, match=r"expected 0 <= start < end <= 3 positions"):
            pool_words(logits, torch.tensor(spans), "max")
    with pytest.raises(ValueError, match=r"mean_over_words: got spans \[\[1, 1\]\]"):
        mean_over_words(logits, torch.tensor([[1, 1]]))


def test_ranks_by_hand():
    # Token 3 scores highest but is not in the subset; tokens 0 and 2 tie.
    logits = torch.tensor([[2.0, 1.0, 2.0, 7.0, 4.0]])
    subsets = torch.tensor([[True, True, True, False, True], [True] * 5])
    targets = target_tensor([[(4,), (0, 1), (1,), (2,), ()]])
    within, overall = ranks_of_targets(logits, targets, subsets)[:, 0].tolist()
    assert within == [1, 2, 4, 2, NO_RANK]
    assert overall == [2, 3, 5, 3, NO_RANK]


@given(seed=st.integers(0, 999), n_rows=st.integers(1, 5), n_sets=st.integers(1, 6))
def test_ranks_are_those_of_counting_and_do_not_depend_on_the_order_of_rows(seed, n_rows, n_sets):
    rng = np.random.default_rng(seed)
    logits = rng.integers(0, 6, size=(n_rows, 12)).astype(np.float32)  # many ties
    subset = rng.random(12) < 0.5
    subset[rng.integers(12)] = True
    inside = np.flatnonzero(subset)
    sets = [
        [tuple(rng.choice(inside, size=rng.integers(0, 3)).tolist()) for _ in range(n_sets)]
        for _ in range(n_rows)
    ]
    counted = [
        [1 + int((row[subset] > row[list(ids)].max()).sum()) if ids else 0 for ids in row_sets]
        for row, row_sets in zip(logits, sets, strict=True)
    ]
    subsets = torch.from_numpy(subset)[None]
    ranks = ranks_of_targets(torch.from_numpy(logits), target_tensor(sets), subsets)[0]
    assert ranks.tolist() == counted

    order = rng.permutation(12)
    moved = [[tuple(int(np.flatnonzero(order == t)[0]) for t in ids) for ids in r] for r in sets]
    again = ranks_of_targets(
        torch.from_numpy(logits[:, order].copy()), target_tensor(moved), subsets[:, order]
    )[0]
    assert again.tolist() == counted


def test_targets_that_cannot_be_ranked_are_refused():
    logits, subsets = torch.zeros(1, 4), torch.tensor([[True, True, False, False]])
    with pytest.raises(ValueError, match=r"got target ids \[4\], expected 0 <= id < d_vocab=4"):
        ranks_of_targets(logits, target_tensor([[(4,)]]), subsets)
    with pytest.raises(ValueError, match=r"targets \[2\] are not in every subset"):
        ranks_of_targets(logits, target_tensor([[(0, 2)]]), subsets)
    with pytest.raises(ValueError, match=r"words with \[\] target sets"):
        target_tensor([])
    with pytest.raises(ValueError, match=r"words with \[1, 2\] target sets"):
        target_tensor([[(0,)], [(0,), (1,)]])


def test_modality_by_hand():
    modality = torch.tensor([0, 0, 1, 2])  # text, text, speech, other
    logits = torch.tensor([[1.0, 2.0, 4.0, 1.0]]).log()  # softmax is (1, 2, 4, 1) / 8
    assert modality_mass(logits, modality)[0].tolist() == pytest.approx([3 / 8, 4 / 8, 1 / 8])
    assert argmax_modality(logits, modality)[0].tolist() == [0, 1, 0]
    assert top_k_modality(logits, modality, 2)[0].tolist() == [0.5, 0.5, 0]
    for k in (0, 5):
        with pytest.raises(ValueError, match=rf"got k={k}, expected 1 <= k <= d_vocab=4"):
            top_k_modality(logits, modality, k)


def test_every_row_has_one_modality(vocab):
    modality = modality_of_rows(vocab)
    assert (modality == 0).equal(vocab.mask("text"))
    assert (modality == 1).equal(vocab.mask("speech"))
    assert (modality == 2).equal(vocab.mask("marker", "special", "padding"))


@given(seed=st.integers(0, 999), scale=st.sampled_from([0.1, 1.0, 30.0]))
def test_masses_and_shares_sum_to_one(seed, scale):
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(5, 30, generator=generator)
    modality = torch.randint(3, (30,), generator=generator)
    for shares in (
        modality_mass(logits, modality),
        argmax_modality(logits, modality),
        top_k_modality(logits, modality, 10),
    ):
        assert torch.allclose(shares.sum(-1), torch.ones(5), atol=1e-5)  # float32, 30 terms: 4e-7
        assert (shares >= 0).all()
