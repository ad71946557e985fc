"""Linear CKA: whether two sets of states tell the same examples apart.

``CKA(X, Y) = HSIC(X, Y) / sqrt(HSIC(X, X) HSIC(Y, Y))`` with linear kernels ``K = X X'``.
Rotations, shifts and one factor for all of X change nothing, so *CKA does not ask whether states
lie in the same place*: words in directions of their own, in another subspace, give 1. For that
there is the cosine.

| estimator | HSIC |
|---|---|
| ``"biased"`` | ``tr(K H L H) / (n - 1)^2``, which is ``||Y' X||_F^2`` of centred features |
| ``"debiased"`` | U-statistic, equation 5 of Song et al.: without the diagonals |

Diagonals make few examples in many dimensions look alike, whatever they are: the biased one goes to
1 as dimensions outnumber examples. The debiased one is 0 in the mean for independent states; it can
be negative, and is a ratio of unbiased estimates, not itself unbiased.

Source: Kornblith et al. 2019, arXiv:1905.00414 (linear CKA); Song et al. 2012, "Feature selection
via dependence maximization", JMLR 13, equation 5 (unbiased HSIC); its use in CKA: Nguyen et al.
2021, arXiv:2010.15327, and Murphy et al. 2024, arXiv:2405.01012 (few examples, many dimensions).
"""

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

Estimator = Literal["biased", "debiased"]
ESTIMATORS: tuple[Estimator, ...] = get_args(Estimator)
_FEWEST: dict[Estimator, int] = {"biased": 2, "debiased": 4}


def linear_cka(
    x: Float[Tensor, "n_states d_x"],
    y: Float[Tensor, "n_states d_y"],
    *,
    estimator: Estimator = "debiased",
) -> float:
    """CKA of two sets of states of the same examples, from their features.

    Args:
        x: states, one row for each example.
        y: other states of the same examples, in the same order.
        estimator: see above.

    Returns:
        Biased: in [0, 1]. Debiased: at most about 1; around 0 for independent states. Computed in
        float64.

    Raises:
        ValueError: an unknown estimator, too few examples (biased 2, debiased 4), or states that do
            not differ from each other.

    Source:
        Kornblith et al. 2019, arXiv:1905.00414, section 3.
    """
    check_states(x, estimator, "linear_cka")
    u, v = _centred(x), _centred(y)
    own = _hsic(u, u, estimator), _hsic(v, v, estimator)
    if not min(own) > 0:
        raise ValueError(
            f"linear_cka: got states whose own HSIC is {own[0]:.3g} and {own[1]:.3g}, expected "
            "both positive. Are all rows alike?"
        )
    return _hsic(u, v, estimator) / (own[0] * own[1]) ** 0.5


def layer_cka(
    x: Float[Tensor, "layer_x n_states d_x"],
    y: Float[Tensor, "layer_y n_states d_y"],
    *,
    estimator: Estimator = "debiased",
) -> Float[Tensor, "layer_x layer_y"]:
    """CKA of every layer of one kind of states with every layer of another, from their kernels.

    Args:
        x: states by layer, one row for each example.
        y: other states of the same examples, in the same order.
        estimator: see above.

    Returns:
        What `linear_cka` gives for each two layers, in float64; NaN where a layer's states do not
        differ from each other. Needs ``8 (layer_x + layer_y) n_states^2`` bytes, whatever the
        width.

    Raises:
        ValueError: an unknown estimator or too few examples.
    """  # noqa: DOC502 (raised by check_states)
    check_states(x[0], estimator, "layer_cka")
    n_x = len(x)
    kernels = torch.stack([centred_kernel(layer, estimator) for layer in [*x, *y]]).flatten(1)
    products = kernels @ kernels.T
    own = products.diagonal().clamp_min(0).sqrt()
    scale = own[:n_x, None] * own[None, n_x:]
    return torch.where(scale > 0, products[:n_x, n_x:] / scale, torch.nan)


def check_states(x: Tensor, estimator: Estimator, caller: str) -> None:
    """Refuse what no CKA can be computed of.

    Args:
        x: states, one row for each example.
        estimator: of `ESTIMATORS`.
        caller: the public function, to begin messages with.

    Raises:
        ValueError: an unknown estimator, or too few examples for it.
    """
    if estimator not in ESTIMATORS:
        raise ValueError(f"{caller}: got estimator={estimator!r}, expected one of {ESTIMATORS}.")
    if len(x) < _FEWEST[estimator]:
        raise ValueError(
            f"{caller}: got {len(x)} states, expected at least {_FEWEST[estimator]} for "
            f"estimator={estimator!r}. Pool states of more utterances."
        )


def centred_kernel(
    x: Float[Tensor, "n_states d_x"], estimator: Estimator
) -> Float[Tensor, "n_states n_states"]:
    """Kernel whose inner products are HSIC, up to a factor that CKA does not see.

    Args:
        x: states, one row for each example.
        estimator: biased: ``H K H``; debiased: U-centred, with a diagonal of 0.

    Returns:
        The kernel in float64.

    Source:
        U-centring: Székely and Rizzo 2014, arXiv:1310.2926, definition 2; the inner product of two
        such kernels is equation 5 of Song et al. 2012.
    """
    u = _centred(x)
    kernel = u @ u.T
    if estimator == "biased":
        return kernel
    n = len(x)
    kernel.fill_diagonal_(0)
    sums = kernel.sum(0)
    kernel -= (sums[:, None] + sums[None]) / (n - 2)
    kernel += sums.sum() / ((n - 1) * (n - 2))
    return kernel.fill_diagonal_(0)


def _centred(x: Tensor) -> Tensor:
    wide = x.double()
    return wide - wide.mean(0)


def _hsic(u: Tensor, v: Tensor, estimator: Estimator) -> float:
    """HSIC of centred features, without a kernel: ``n`` examples of any number."""
    across = (u.T @ v).square().sum()
    n = len(u)
    if estimator == "biased":
        return float(across) / (n - 1) ** 2
    k, m = u.square().sum(1), v.square().sum(1)  # diagonals; rows of both kernels sum to 0
    inner = across - k @ m
    total = k.sum() * m.sum()  # sums of kernels without diagonals are - k.sum() and - m.sum()
    return float((inner + total / ((n - 1) * (n - 2)) - 2 / (n - 2) * (k @ m)) / (n * (n - 3)))
