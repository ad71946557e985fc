"""The vector from generating to perceiving: a difference of means of states that affinity sorts.

``mu[l] = mean(h[l] | S_perc > theta_perc) - mean(h[l] | S_gen > theta_gen)``, over all positions
of some runs. Every position counts once; one that is above both thresholds is in both means.
Added with `linear_decay` from a switch on, it is the steering of Eq. 7.

Source: Chang et al. 2026, arXiv:2606.11386, Eqs. 6 and 7. How states are sorted is the caller's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from slm_lens.lens.model import LensModel
from slm_lens.lens.states import Forward, residual_stack
from slm_lens.sequence.sequence import SpeechTextSequence


@dataclass(frozen=True, eq=False)
class PerceptionVector:
    """A difference of mean states at every layer, and what it was made of.

    Attributes:
        vectors: layer ``l`` as in `residual_stack`; ``Site("resid_post", l - 1)`` adds it.
        n_perceiving: positions in the first mean.
        n_generating: positions in the second one.
    """

    vectors: Float[Tensor, "layer d_model"]
    n_perceiving: int
    n_generating: int


def perception_vector(
    model: LensModel,
    sequences: Sequence[SpeechTextSequence],
    perception: Sequence[Float[Tensor, " _pos"]],
    generation: Sequence[Float[Tensor, " _pos"]],
    *,
    theta_perception: float,
    theta_generation: float,
    forward: Forward = "auto",
) -> PerceptionVector:
    """Mean state of perceiving positions less that of generating ones.

    Args:
        model: the model, in evaluation mode.
        sequences: what it reads, one run at a time; none is held.
        perception: for each run, at each position, the affinity to what is heard; NaN where
            nothing is.
        generation: likewise to what the model says.
        theta_perception: positions above it perceive.
        theta_generation: positions above it generate.
        forward: as in `residual_stack`.

    Returns:
        The vector at every layer, float32, on the CPU.

    Raises:
        ValueError: affinities are not in step with the runs, or no position is above a threshold.

    Source:
        Chang et al. 2026, arXiv:2606.11386, Eq. 6.
    """
    lengths = [len(s) for s in sequences]
    for name, given in (("perception", perception), ("generation", generation)):
        if [len(g) for g in given] != lengths:
            raise ValueError(
                f"perception_vector: got {name} of {[len(g) for g in given][:6]} positions for "
                f"runs of {lengths[:6]}, expected one number for each position of each run."
            )
    above = [
        torch.stack([p > theta_perception, g > theta_generation])
        for p, g in zip(perception, generation, strict=True)
    ]
    counts = sum((a.sum(1) for a in above), torch.zeros(2, dtype=torch.int64))
    if not counts.all():
        raise ValueError(
            f"perception_vector: got {int(counts[0])} positions above theta_perception="
            f"{theta_perception:g} and {int(counts[1])} above theta_generation="
            f"{theta_generation:g}, expected at least one each. Take lower thresholds, such as "
            "quantiles of the affinities themselves."
        )
    sums = None
    for sequence, chosen in zip(sequences, above, strict=True):
        if not chosen.any():
            continue
        stack = residual_stack(model, sequence.tokens[None], forward=forward)[:, 0]
        # In float64, since many positions are summed.
        of_run = torch.einsum("sp,lpd->sld", chosen.double(), stack.double().cpu())
        sums = of_run if sums is None else sums + of_run
    assert sums is not None
    means = sums / counts[:, None, None]
    return PerceptionVector((means[0] - means[1]).float(), int(counts[0]), int(counts[1]))
