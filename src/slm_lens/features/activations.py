"""What keeps a sparse autoencoder sparse: BatchTopK, and JumpReLU with estimated gradients.

Both make one function of a pre-activation ``z``, ``z`` itself where it is kept and 0 elsewhere, and
differ in what is kept: the highest ``k`` of a batch for each state on average, or what exceeds a
threshold of the feature's own. The jump has no gradient in the threshold, so that one is estimated
(straight through) from the pre-activations near it, those with ``|z - threshold| < bandwidth / 2``:

``d JumpReLU / d threshold = -threshold / bandwidth``, ``d step / d threshold = -1 / bandwidth``.

Source: Bussmann et al. 2024, arXiv:2412.06410 (BatchTopK); Rajamanoharan et al. 2024,
arXiv:2407.14435, section 4 (JumpReLU, rectangle kernel).
"""

from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import FunctionCtx


def batch_top_k(pre: Float[Tensor, "batch d_sae"], k: float) -> Float[Tensor, "batch d_sae"]:
    """Keep the highest pre-activations of a whole batch.

    Args:
        pre: pre-activations.
        k: how many are kept for each state, on average; a state may have more or fewer.

    Returns:
        ``int(k * batch)`` pre-activations at their places, fewer if not so many are above 0, more
        if some are just as high as the last one; 0 elsewhere.

    Raises:
        ValueError: fewer than one would be kept, or more than there are.

    Source:
        Bussmann et al. 2024, arXiv:2412.06410, section 3.
    """
    n_kept = int(k * len(pre))
    if not 1 <= n_kept <= pre.numel():
        raise ValueError(
            f"batch_top_k: got k={k} for {len(pre)} states of {pre.shape[1]} features, expected "
            f"at least one to be kept, and at most {pre.numel()}."
        )
    active = pre.relu()
    sizes = active.detach().cpu().numpy().ravel()
    # numpy's partition takes a third of the time of torch.topk
    least = float(np.partition(sizes, sizes.size - n_kept)[sizes.size - n_kept])
    return active * (active >= least)


def jump_relu(
    pre: Float[Tensor, "batch d_sae"], threshold: Float[Tensor, " d_sae"], bandwidth: float
) -> Float[Tensor, "batch d_sae"]:
    """Keep what exceeds the feature's threshold; with estimated gradients in the threshold.

    Args:
        pre: pre-activations.
        threshold: of each feature, at least 0.
        bandwidth: width of the kernel that the gradient is estimated with.

    Returns:
        ``pre`` where it is above the threshold, 0 elsewhere.

    Source:
        Rajamanoharan et al. 2024, arXiv:2407.14435, equations 5 and 11.
    """
    return cast(Tensor, _JumpReLU.apply(pre, threshold, bandwidth))


def is_active(
    pre: Float[Tensor, "batch d_sae"], threshold: Float[Tensor, " d_sae"], bandwidth: float
) -> Float[Tensor, "batch d_sae"]:
    """Whether each feature is active, to be counted; with estimated gradients in the threshold.

    Args:
        pre: pre-activations; no gradient reaches them.
        threshold: of each feature.
        bandwidth: width of the kernel that the gradient is estimated with.

    Returns:
        1 where ``pre`` is above the threshold, 0 elsewhere.

    Source:
        Rajamanoharan et al. 2024, arXiv:2407.14435, equation 12.
    """
    return cast(Tensor, _Step.apply(pre, threshold, bandwidth))


def _near(pre: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
    """The rectangle kernel: 1 within half a bandwidth of the threshold."""
    return ((pre - threshold).abs() < bandwidth / 2).to(pre.dtype)


class _JumpReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, pre: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
        ctx.save_for_backward(pre, threshold)
        cast(Any, ctx).bandwidth = bandwidth
        return pre * (pre > threshold)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, Tensor, None]:
        (of_output,) = grads
        pre, threshold = ctx.saved_tensors
        near = _near(pre, threshold, ctx.bandwidth)
        of_threshold = -(threshold / ctx.bandwidth) * (near * of_output).sum(0)
        return (pre > threshold) * of_output, of_threshold, None


class _Step(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, pre: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
        ctx.save_for_backward(pre, threshold)
        cast(Any, ctx).bandwidth = bandwidth
        return (pre > threshold).to(pre.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[None, Tensor, None]:
        (of_output,) = grads
        pre, threshold = ctx.saved_tensors
        near = _near(pre, threshold, ctx.bandwidth)
        return None, -(near * of_output).sum(0) / ctx.bandwidth, None
