"""Training of sparse autoencoders: gradients by hand, a planted dictionary, and a null."""

from dataclasses import replace

import numpy as np
import pytest
import torch

N_PLANTED, D_MODEL = 30, 40


def planted_states(seed, n=6000):
    """Ten features that are active in speech alone, ten in text alone, ten in both; 10 % each.

    Activations are uniform on [1, 2], directions random unit vectors, noise 0.01 a dimension. The
    draws are numpy's, so that no training begins from the planted directions by its seed.
    """
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(N_PLANTED, D_MODEL))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    is_speech = rng.random(n) < 0.5
    may = np.ones((n, N_PLANTED))
    may[:, :10], may[:, 10:20] = is_speech[:, None], ~is_speech[:, None]
    sizes = (rng.random((n, N_PLANTED)) < 0.1 * may) * rng.uniform(1, 2, (n, N_PLANTED))
    states = sizes @ directions + 0.01 * rng.normal(size=(n, D_MODEL))
    return (torch.from_numpy(x) for x in (states.astype("f4"), directions.astype("f4"), is_speech))


def settings(**chosen):
    from slm_lens.features.settings import SAESettings

    usual = {"d_sae": 40, "k": 2.0, "n_steps": 800, "batch_size": 256}
    return SAESettings(**usual | chosen)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "least_likeness", "n_least", "n_wrong"),
    [("batch_topk", 0.99, 30, 1), ("jumprelu", 0.9, 22, 3)],
)
def test_a_planted_dictionary_is_found(architecture, least_likeness, n_least, n_wrong):
    """All 30 features by BatchTopK; JumpReLU revives no dead feature, and merges some."""
    from slm_lens.features.measures import encode_all, modality_tags, reconstruction_errors
    from slm_lens.features.train import train_sae

    states, directions, is_speech = planted_states(0)
    sae = train_sae(states, settings(architecture=architecture))
    likeness, found = (sae.W_dec @ directions.T).max(0)
    assert likeness.mean() > least_likeness
    is_found = (likeness > 0.99).tolist()
    assert sum(is_found) >= n_least
    torch.testing.assert_close(sae.W_dec.norm(dim=1), torch.ones(40))

    activations = encode_all(sae, states)
    tags = modality_tags(activations, is_speech)
    planted = ["speech"] * 10 + ["text"] * 10 + ["mixed"] * 10
    told = [(tags.tag[i], tag) for i, tag in zip(found.tolist(), planted, strict=True)]
    wrong = [
        pair for pair, known in zip(told, is_found, strict=True) if known and len(set(pair)) > 1
    ]
    assert len(wrong) <= n_wrong  # a mixed one is tagged otherwise by chance in 1.2 % of draws
    assert all(pair[1] == "mixed" for pair in wrong)
    # Two of the features a state are active on average (0.1 * (10 + 10 + 10) * 2 / 3 = 2).
    assert (activations > 0).sum(1).float().mean().item() == pytest.approx(2.0, abs=0.25)
    assert reconstruction_errors(states, sae(states)).explained > 0.95


def test_random_directions_do_not_pass_for_it():
    """The control of the test above: 40 random unit vectors are not that near to the planted."""
    from slm_lens.features.autoencoder import random_sae
    from slm_lens.features.measures import encode_all

    states, directions, _ = planted_states(0)
    sae = random_sae(states, 40, k=2.0, seed=0)
    assert (sae.W_dec @ directions.T).max(0).values.mean() < 0.6
    active = (encode_all(sae, states) > 0).sum(1).float().mean().item()
    assert active == pytest.approx(2.0, abs=0.01)
    with pytest.raises(ValueError, match=r"random_sae: got k=40.0, expected"):
        random_sae(states, 40, k=40.0, seed=0)


def test_it_is_deterministic_and_the_scale_is_folded_in():
    from slm_lens.features.train import train_sae

    states, _, _ = planted_states(1, n=1000)
    short = settings(n_steps=30, batch_size=128)
    one, again = train_sae(states, short), train_sae(states, short)
    assert one.name == again.name
    assert train_sae(states, replace(short, seed=1)).name != one.name
    tenfold = train_sae(10 * states, short)  # the same training, in another unit of length
    torch.testing.assert_close(tenfold.W_enc, one.W_enc, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(tenfold(10 * states), 10 * one(states), rtol=1e-3, atol=1e-2)
    assert one.facts.state_scale == pytest.approx(states.pow(2).sum(1).mean().item() ** -0.5)
    assert one.facts.n_positions == 1000


def test_batch_top_k_by_hand():
    """Of two states, k = 1.5 keeps the highest three of all; what is below 0 is never kept."""
    from slm_lens.features.activations import batch_top_k

    pre = torch.tensor([[0.5, 2.0, -1.0], [3.0, 0.1, 1.0]])
    assert batch_top_k(pre, 1.5).tolist() == [[0.0, 2.0, 0.0], [3.0, 0.0, 1.0]]
    assert batch_top_k(pre - 2.5, 1.5).tolist() == [[0.0, 0.0, 0.0], [0.5, 0.0, 0.0]]
    for k in (0.4, 4.0):
        with pytest.raises(ValueError, match=rf"batch_top_k: got k={k} for 2 states"):
            batch_top_k(pre, k)


def test_jump_relu_gradients_by_hand():
    """Bandwidth 0.5: the kernel holds 1.1 and 0.8 about the threshold 1, and neither 2 nor 0.3.

    Gradient of the sum of g * JumpReLU: in z, g where z > threshold; in the threshold,
    -(1 / 0.5) * (g of the two) = -2 * (3 + 5). Of the sum of g * step: nothing in z, and the same
    -2 * (3 + 5) in the threshold. For the second feature, threshold 0.5, z = 0.6 (g = 1) and
    z = 0.26 (g = 2) are within: JumpReLU -(0.5 / 0.5) * 3 = -3, step -(1 / 0.5) * 3 = -6.
    """
    from slm_lens.features.activations import is_active, jump_relu

    z = torch.tensor([[1.1, 0.6], [0.8, 0.26], [2.0, 9.0], [0.3, -1.0]], requires_grad=True)
    g = torch.tensor([[3.0, 1.0], [5.0, 2.0], [7.0, 4.0], [11.0, 8.0]])
    threshold = torch.tensor([1.0, 0.5], requires_grad=True)

    out = jump_relu(z, threshold, 0.5)
    assert out.detach().tolist() == z.detach().where(z > threshold, torch.tensor(0.0)).tolist()
    (out * g).sum().backward()
    assert z.grad is not None
    assert threshold.grad is not None
    assert z.grad.tolist() == [[3.0, 1.0], [0.0, 0.0], [7.0, 4.0], [0.0, 0.0]]
    assert threshold.grad.tolist() == [-16.0, -3.0]

    z.grad = threshold.grad = None
    counted = is_active(z, threshold, 0.5)
    assert counted.tolist() == [[1.0, 1.0], [0.0, 0.0], [1.0, 1.0], [0.0, 0.0]]
    (counted * g).sum().backward()
    assert z.grad is None
    of_threshold = threshold.grad
    assert of_threshold is not None
    assert of_threshold.tolist() == [-16.0, -6.0]


@pytest.mark.slow
def test_dead_features_are_revived():
    """Without the auxiliary loss, features that begin far from all states stay dead."""
    from slm_lens.features.measures import encode_all
    from slm_lens.features.train import train_sae

    states, _, _ = planted_states(2, n=2000)
    states = states + 3.0  # a common offset, so that many random directions never win
    shares = {}
    for coefficient in (0.0, 1 / 32):
        chosen = settings(
            d_sae=120, k=1.0, n_steps=250, dead_after=500, aux_coefficient=coefficient
        )
        sae = train_sae(states, chosen)
        shares[coefficient] = (encode_all(sae, states) > 0).any(0).float().mean().item()
    assert shares[1 / 32] > shares[0.0]


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"architecture": "topk"}, "expected an architecture out of"),
        ({"n_steps": 0}, "counts of at least 1"),
        ({"learning_rate": 0.0}, "a learning rate, bandwidth and threshold above 0"),
        ({"l0_coefficient": -1.0}, "no coefficient below 0"),
        ({"k": 41.0}, r"got k=41.0 of d_sae=40 features"),
        ({"batch_size": 101}, "got 100 states for batches of 101"),
    ],
)
@pytest.mark.usefixtures("untyped")
def test_settings_that_cannot_be(chosen, said):
    from slm_lens.features.train import train_sae

    with pytest.raises(ValueError, match=said):
        train_sae(torch.randn(100, 8), settings(**chosen))


@pytest.mark.parametrize("states", [torch.ones(300, 8), torch.full((300, 8), torch.nan)])
def test_states_without_variance(states):
    from slm_lens.features.train import train_sae

    with pytest.raises(ValueError, match="not finite or all the same"):
        train_sae(states, settings())


def test_weights_that_cannot_be():
    from slm_lens.features.autoencoder import SAEFacts, SparseAutoencoder

    zeros = torch.zeros(3, 3)
    with pytest.raises(ValueError, match=r"a least threshold of -1, expected finite weights"):
        SparseAutoencoder(zeros, zeros[0], zeros, zeros[0], -torch.ones(3),
                          SAEFacts("jumprelu", None))  # fmt: skip
