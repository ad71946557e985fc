"""Affinities and lags by hand, and beside numpy in float64."""

import numpy as np
import pytest
import torch
from planted import D_MODEL, D_VOCAB, N_WORDS, planted_model

import slm_lens
from slm_lens.lens.affinity import NEVER, heard_seconds, lag
from slm_lens.lens.logit_lens import LogitLens


@pytest.fixture(scope="module")
def model():
    return planted_model(planted=False, seed=3)


def softmax(model, states, ids):
    """Probabilities over some rows of the vocabulary, by numpy."""
    h = states.double().numpy()
    normed = h / np.sqrt((h**2).mean(-1, keepdims=True) + model.cfg.eps)
    logits = normed @ model.W_U.detach().double().numpy()[:, ids]
    shares = np.exp(logits - logits.max(-1, keepdims=True))
    return shares / shares.sum(-1, keepdims=True)


def test_probabilities_of_sets_are_those_of_numpy(model):
    states = torch.randn(3, 2, D_MODEL, generator=torch.Generator().manual_seed(0))
    unit = N_WORDS + 5
    targets = [[(4,), (1, 2), (), (unit,)], [(0,), (7,), (3,), (unit, 2)]]
    read = slm_lens.affinity(LogitLens(model), states, targets)
    text = softmax(model, states, list(range(N_WORDS)))
    full = softmax(model, states, list(range(D_VOCAB)))
    nan = np.full(3, np.nan)
    by_hand = {
        "text": [
            [text[:, 0, 4], text[:, 0, 1] + text[:, 0, 2], nan, nan],
            [text[:, 1, 0], text[:, 1, 7], text[:, 1, 3], nan],
        ],
        "full": [
            [full[:, 0, 4], full[:, 0, 1] + full[:, 0, 2], nan, full[:, 0, unit]],
            [full[:, 1, 0], full[:, 1, 7], full[:, 1, 3], full[:, 1, unit] + full[:, 1, 2]],
        ],
    }
    for within, expected in by_hand.items():
        wanted = np.array(expected).transpose(2, 0, 1)
        np.testing.assert_allclose(read.of[within].numpy(), wanted, atol=1e-5)
    np.testing.assert_allclose(read.mass.numpy(), full[..., :N_WORDS].sum(-1), atol=1e-5)


@pytest.mark.usefixtures("untyped")
def test_targets_that_are_not_of_every_position_are_refused(model):
    states = torch.randn(1, 2, D_MODEL)
    with pytest.raises(ValueError, match=r"got targets of 1 positions and states of 2"):
        slm_lens.affinity(LogitLens(model), states, [[(1,)]])


PERCEPTION = np.array(
    [
        [0.1, 0.6, 0.2, 0.9, 0.9],
        [0.9, 0.9, 0.9, 0.9, 0.9],
        [0.1, 0.1, 0.1, 0.1, 0.6],
        [0.1, 0.1, 0.1, 0.1, 0.1],
        [0.5, 0.6, np.nan, np.nan, np.nan],
        [np.nan] * 5,
    ]
)
GENERATION = np.full((6, 5), 0.5)


def test_lags_by_hand():
    # Row 0 is ahead at position 2, not at 3, and for good from 4 on; row 2 only at the last one;
    # equal is not ahead (row 4); a run that ends needs no more (row 4 from its second on).
    expected = {1: [1, 0, 4, NEVER, 1, np.nan], 2: [3, 0, 4, NEVER, 1, np.nan]}
    for hold, lags in expected.items():
        np.testing.assert_array_equal(lag(PERCEPTION, GENERATION, hold=hold), lags)
    np.testing.assert_array_equal(lag(PERCEPTION, GENERATION, hold=9)[:2], [3, 0])


def test_seconds_of_lags_by_hand():
    ends_s = np.array([[0.04, 0.12, 0.16], [0.08, 0.12, np.nan], [0.04, 0.08, 0.12],
                       [0.04, 0.08, 0.12]])  # fmt: skip
    seconds = heard_seconds(np.array([2.0, 0.0, NEVER, np.nan]), ends_s)
    np.testing.assert_array_equal(seconds, [0.12, 0.0, NEVER, np.nan])


@pytest.mark.usefixtures("untyped")
@pytest.mark.parametrize(("generation", "hold"), [(GENERATION[:, :3], 1), (GENERATION, 0)])
def test_lags_of_unlike_shapes_and_no_hold_are_refused(generation, hold):
    with pytest.raises(ValueError, match=r"lag: got affinities of shapes .* and hold="):
        lag(PERCEPTION, generation, hold=hold)
