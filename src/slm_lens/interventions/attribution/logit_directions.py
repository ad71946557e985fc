"""What of the logits is attributed: a difference of mean logits, as one vector.

``value(h) = w . ln_final(h) + b`` with ``w = sum over tokens t of c_t W_U[:, t]``. It is linear in
what the final norm gives, so parts of the last stream have parts of it. Of single tokens it is the
`logit_difference` metric; of several it is a difference of means, where that metric sums
probabilities.

Source: ours; Elhage et al. 2021 for single tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from slm_lens.lens.model import LensModel, SpeechTextModel
from slm_lens.readout.unembedding import TILE_COLUMNS
from slm_lens.sequence.word_span import MODALITIES, Modality


@dataclass(frozen=True, eq=False)
class LogitDirection:
    """A weighted sum of logits, before any transform after the unembedding.

    Attributes:
        name: for tables.
        vector: ``w``, float32.
        bias: ``b``, from the unembedding's bias.
    """

    name: str
    vector: Float[Tensor, " d_model"]
    bias: float


def logit_of_tokens(
    model: LensModel, answer: Sequence[int], foil: Sequence[int] = ()
) -> LogitDirection:
    """Mean logit of some tokens, less that of others.

    Args:
        model: the model.
        answer: token ids, at least one.
        foil: token ids; empty for none.

    Returns:
        The direction.

    Raises:
        ValueError: no answer, a token in both, or outside the vocabulary.
    """
    ids = [*answer, *foil]
    if not answer or set(answer) & set(foil) or not all(0 <= i < model.cfg.d_vocab for i in ids):
        raise ValueError(
            f"logit_of_tokens: got answer {tuple(answer)} and foil {tuple(foil)}, expected at "
            f"least one token of an answer, none in both, all from 0 to {model.cfg.d_vocab - 1}."
        )
    name = f"{_names(model, answer)} - {_names(model, foil)}" if foil else _names(model, answer)
    return _direction(model, name, _mean(model, answer) - _mean(model, foil))


def logit_of_unit(model: SpeechTextModel, unit: int, *, stream: str = "units") -> LogitDirection:
    """Logit of a unit, less the mean logit of its stream.

    Args:
        model: the model.
        unit: the unit.
        stream: name of its speech stream.

    Returns:
        The direction.

    Raises:
        VocabError: the unit lies outside the stream.
        LookupError: there is no such stream.
    """  # noqa: DOC502 (raised by unit_to_token)
    token = int(model.vocab.unit_to_token(torch.tensor([unit]), stream)[0])
    weights = _mean(model, [token]) - _mean(model, model.vocab.streams[stream])
    return _direction(model, f"{model.vocab.label(token)} - mean {stream}", weights)


def logit_of_modality(model: SpeechTextModel, modality: Modality) -> LogitDirection:
    """Mean logit of one modality's tokens, less that of the other's.

    Args:
        model: the model.
        modality: which.

    Returns:
        The direction.

    Raises:
        ValueError: an unknown modality, or a vocabulary without one of the two.
    """
    masks = {m: model.vocab.mask(m).nonzero()[:, 0].tolist() for m in MODALITIES}
    if modality not in masks or not all(masks.values()):
        raise ValueError(
            f"logit_of_modality: got {modality!r} of a vocabulary with "
            f"{ {m: len(ids) for m, ids in masks.items()} } tokens, expected one of {MODALITIES}, "
            "and tokens of both."
        )
    other = next(m for m in MODALITIES if m != modality)
    weights = _mean(model, masks[modality]) - _mean(model, masks[other])
    return _direction(model, f"mean {modality} - mean {other}", weights)


def _mean(model: LensModel, ids: Sequence[int]) -> Float[Tensor, " d_vocab"]:
    weights = torch.zeros(model.cfg.d_vocab)
    if len(ids):
        weights[list(ids)] = 1 / len(ids)
    return weights


@torch.no_grad()
def _direction(model: LensModel, name: str, weights: Float[Tensor, " d_vocab"]) -> LogitDirection:
    """The unembedding is taken to float32 a few columns at a time."""
    W_U = model.W_U.detach()
    used = weights.nonzero()[:, 0].to(W_U.device)
    weights = weights.to(W_U.device)
    vector = torch.zeros(len(W_U), device=W_U.device)
    for ids in used.split(TILE_COLUMNS):
        vector += W_U[:, ids].float() @ weights[ids]
    return LogitDirection(name, vector, float(model.b_U.float() @ weights))


def _names(model: Any, ids: Sequence[int]) -> str:
    known = isinstance(model, SpeechTextModel)
    return "/".join(model.vocab.label(i).strip() if known else str(i) for i in ids)
