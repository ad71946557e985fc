import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slm_lens import layer_cka, linear_cka

ESTIMATORS = ("biased", "debiased")


def cka_by_kernels(x, y, estimator):
    """CKA in Gram form, in numpy, with HSIC written out as in Gretton 2005 and Song 2012."""
    n = len(x)
    k, m = x @ x.T, y @ y.T

    def biased(a, b):
        h = np.eye(n) - 1 / n
        return np.trace(a @ h @ b @ h) / (n - 1) ** 2

    def unbiased(a, b):
        a, b = a - np.diag(np.diag(a)), b - np.diag(np.diag(b))
        one = np.ones(n)
        total = np.trace(a @ b) + (one @ a @ one) * (one @ b @ one) / ((n - 1) * (n - 2))
        return (total - 2 / (n - 2) * (one @ a @ b @ one)) / (n * (n - 3))

    hsic = biased if estimator == "biased" else unbiased
    return hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m))


def gaussian(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def rotation(d, seed=0):
    return torch.linalg.qr(gaussian(d, d, seed=seed))[0]


@pytest.mark.parametrize("estimator", ESTIMATORS)
@given(n=st.integers(5, 12), d_x=st.integers(1, 6), d_y=st.integers(1, 6), seed=st.integers(0, 99))
def test_features_and_kernels_give_the_same(estimator, n, d_x, d_y, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d_x)) + 3.0  # not centred
    y = rng.normal(size=(n, d_y)) + x[:, :1]
    own = [cka_by_kernels(z, z, estimator) for z in (x, y)]
    assert own == pytest.approx([1, 1])
    expected = cka_by_kernels(x, y, estimator)
    found = linear_cka(torch.from_numpy(x), torch.from_numpy(y), estimator=estimator)
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_layers_by_layers_is_cka_of_each_two(estimator):
    x, y = gaussian(3, 9, 4), gaussian(2, 9, 5, seed=1)
    y = y + x[:2, :, :1]
    found = layer_cka(x, y, estimator=estimator)
    assert found.shape == (3, 2)
    for i in range(3):
        for j in range(2):
            expected = cka_by_kernels(x[i].numpy(), y[j].numpy(), estimator)
            assert found[i, j].item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_what_changes_it_and_what_does_not(estimator):
    x, y = gaussian(20, 5), gaussian(20, 5, seed=1)
    y = y + x
    plain = linear_cka(x, y, estimator=estimator)
    assert linear_cka(x, x, estimator=estimator) == pytest.approx(1)
    moved = 7.0 * x @ rotation(5) + 3.0  # scale, rotation and shift
    assert linear_cka(moved, x, estimator=estimator) == pytest.approx(1)
    assert linear_cka(moved, y, estimator=estimator) == pytest.approx(plain)
    stretched = x * torch.tensor([10.0, 1, 1, 1, 1])  # no rotation: another kernel
    assert abs(linear_cka(stretched, y, estimator=estimator) - plain) > 0.05


def test_states_in_another_subspace_are_alike_for_cka():
    # One direction for each of 5 words, other directions in the other set: kernels are equal.
    words = torch.arange(5).repeat(4)
    x, y = torch.zeros(20, 10), torch.zeros(20, 10)
    x[torch.arange(20), words] = 1.0
    y[torch.arange(20), 5 + words] = 1.0
    assert (x * y).sum() == 0
    assert linear_cka(x, y, estimator="biased") == pytest.approx(1)


def test_independent_states_are_unlike_without_bias_only():
    # 20 draws of 30 states in 100 dimensions. Debiased: mean 0, standard deviation of a draw about
    # sqrt(2) / 30, that is 0.011 for the mean of 20; 4 of these are 0.044. Biased: near n and d
    # alone, 1 / (1 + n / d) = 0.77 for Gaussian states.
    draws = [(gaussian(30, 100, seed=2 * i), gaussian(30, 100, seed=2 * i + 1)) for i in range(20)]
    debiased = [linear_cka(x, y) for x, y in draws]
    biased = [linear_cka(x, y, estimator="biased") for x, y in draws]
    assert abs(np.mean(debiased)) < 0.044
    assert np.mean(biased) == pytest.approx(0.77, abs=0.02)


def test_half_precision_is_computed_in_float64():
    x = gaussian(12, 4).to(torch.bfloat16) + 100  # products of 10^4 in steps of 64 in bfloat16
    expected = cka_by_kernels(x.double().numpy(), x.double().numpy()[:, ::-1], "debiased")
    assert linear_cka(x, x.flip(1)) == pytest.approx(expected, abs=1e-9)


def test_a_layer_of_equal_states_has_no_cka():
    x = torch.stack([torch.ones(6, 3), gaussian(6, 3).float()])
    found = layer_cka(x, x[1:])
    assert found[0].isnan().all()
    assert found[1, 0].item() == pytest.approx(1)


def test_refusals():
    x = gaussian(3, 2)
    with pytest.raises(ValueError, match=r"got 3 states, expected at least 4 for estimator='deb"):
        linear_cka(x, x)
    with pytest.raises(ValueError, match=r"layer_cka: got 1 states, expected at least 2"):
        layer_cka(x[None, :1], x[None, :1], estimator="biased")
    with pytest.raises(ValueError, match=r"own HSIC is 0 and .* expected both positive"):
        linear_cka(torch.ones(5, 2), gaussian(5, 2).float())


@pytest.mark.usefixtures("untyped")
def test_an_unknown_estimator_is_refused():
    with pytest.raises(ValueError, match=r"got estimator='fair', expected one of \('biased'"):
        linear_cka(gaussian(5, 2), gaussian(5, 2), estimator="fair")  # pyright: ignore[reportArgumentType]
