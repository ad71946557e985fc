"""Which modality a layer speaks: three measures, three names.

* mass: softmax over all rows, summed over a modality;
* argmax share: whether the top token is of that modality;
* top-k share: the share of the top k tokens that are.

They differ: text is more than 99 % of a 128k vocabulary, so flat logits have a text mass of 0.99.
The chance line of each is the modality's share of the rows.
"""

from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from slm_lens.vocab import TOKEN_KINDS, SpeechTextVocab

Modality3 = Literal["text", "speech", "other"]
MODALITIES: tuple[Modality3, ...] = get_args(Modality3)


def modality_of_rows(vocab: SpeechTextVocab) -> Int[Tensor, " d_vocab"]:
    """Text, speech, or neither, for every row of the embedding.

    Args:
        vocab: the partition of the rows.

    Returns:
        Index into `MODALITIES`; markers, specials and unused rows are ``"other"``.

    Source:
        Ours.
    """
    names = [k if k in ("text", "speech") else "other" for k in TOKEN_KINDS]
    return torch.tensor([MODALITIES.index(n) for n in names])[vocab.kind_of]


def modality_mass(
    logits: Float[Tensor, "n_positions d_vocab"], modality: Int[Tensor, " d_vocab"]
) -> Float[Tensor, "n_positions 3"]:
    """Probability of each modality: softmax over every row, summed within the modality.

    Args:
        logits: scores over all rows, used or not.
        modality: index into `MODALITIES` of every row.

    Returns:
        Masses in the order of `MODALITIES`, in [0, 1], float32; they sum to 1.

    Source:
        Wendler et al. 2024, arXiv:2402.10588, with modalities for languages; ours for "other".
    """
    probabilities = logits.float().softmax(-1)
    return probabilities @ _one_hot(modality, logits)


def argmax_modality(
    logits: Float[Tensor, "n_positions d_vocab"], modality: Int[Tensor, " d_vocab"]
) -> Float[Tensor, "n_positions 3"]:
    """Modality of the top token, as 0 or 1 for each modality.

    Args:
        logits: scores over all rows.
        modality: index into `MODALITIES` of every row.

    Returns:
        One 1 in each row, in the order of `MODALITIES`, float32.

    Source:
        Ours.
    """
    return _one_hot(modality, logits)[logits.argmax(-1)]


def top_k_modality(
    logits: Float[Tensor, "n_positions d_vocab"], modality: Int[Tensor, " d_vocab"], k: int
) -> Float[Tensor, "n_positions 3"]:
    """Share of each modality among the top k tokens.

    Args:
        logits: scores over all rows.
        modality: index into `MODALITIES` of every row.
        k: how many tokens, at least 1 and at most ``d_vocab``.

    Returns:
        Shares in the order of `MODALITIES`, float32; they sum to 1.

    Raises:
        ValueError: ``k`` is out of range.

    Source:
        Ours.
    """
    if not 1 <= k <= logits.shape[-1]:
        raise ValueError(
            f"top_k_modality: got k={k}, expected 1 <= k <= d_vocab={logits.shape[-1]}."
        )
    top = logits.topk(k, dim=-1).indices
    return _one_hot(modality, logits)[top].mean(1)


def _one_hot(
    modality: Int[Tensor, " d_vocab"], like: Float[Tensor, "n_positions d_vocab"]
) -> Float[Tensor, "d_vocab 3"]:
    wide = torch.nn.functional.one_hot(modality, len(MODALITIES))
    return wide.to(device=like.device, dtype=torch.float32)
