"""Cosines of states, in float64. States of one layer are rows."""

from jaxtyping import Float
from torch import Tensor


def cosine_matrix(
    x: Float[Tensor, "n_x d_model"], y: Float[Tensor, "n_y d_model"]
) -> Float[Tensor, "n_x n_y"]:
    """Cosine of every state with every other.

    Residual states share large directions, so that any two have a high cosine: subtract each
    modality's mean before (`centred`), or look at the cosine of states that do not belong together.

    Args:
        x: states.
        y: other states.

    Returns:
        Cosines in float64.

    Raises:
        ValueError: a state is zero, and has no direction.

    Source:
        Similarity matrix of speech and text: Xiang et al. 2025, arXiv:2510.12116. Anisotropy:
        Ethayarajh 2019, arXiv:1909.00512.
    """  # noqa: DOC502 (raised by directions)
    return directions(x, "cosine_matrix") @ directions(y, "cosine_matrix").T


def directions(
    x: Float[Tensor, "*shape d_model"], caller: str = "directions"
) -> Float[Tensor, "*shape d_model"]:
    """States divided by their norms.

    Args:
        x: states.
        caller: the public function, to begin messages with.

    Returns:
        Unit vectors in float64.

    Raises:
        ValueError: a state is zero.
    """
    wide = x.double()
    norms = wide.norm(dim=-1, keepdim=True)
    if not (norms > 0).all():
        raise ValueError(
            f"{caller}: got {int((norms == 0).sum())} states of norm 0 among {norms.numel()}, "
            "expected states with a direction. Are they all alike, and were centred?"
        )
    return wide / norms


def centred(
    x: Float[Tensor, "layer n_states d_model"],
) -> Float[Tensor, "layer n_states d_model"]:
    """States less their mean, at every layer by itself.

    Args:
        x: states of one modality.

    Returns:
        The rest, in float64.
    """
    wide = x.double()
    return wide - wide.mean(1, keepdim=True)
