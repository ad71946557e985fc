"""The log-probability of every token of some sequences."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from slm_lens.lens.model import SpeechTextModel, require_vocabulary
from slm_lens.lens.states import Forward, choose_forward
from slm_lens.likelihood.reader import LikelihoodReader, Within
from slm_lens.model.provenance import Provenance
from slm_lens.sequence.sequence import SpeechTextSequence


@dataclass(frozen=True, eq=False)
class SequenceLogProbs:
    """Log-probabilities of the tokens of sequences.

    Attributes:
        values: for each sequence, in nats, those of its tokens but the first: entry ``i`` is of
            token ``i + 1`` given tokens ``0`` to ``i``. Within a modality, NaN for markers and
            control tokens, which are in none.
        within: what the probabilities add up to 1 over.
        provenance: what the numbers depend on.
    """

    values: tuple[Float[Tensor, " _"], ...]
    within: Within
    provenance: Provenance


def sequence_log_probs(
    model: SpeechTextModel,
    sequences: Sequence[SpeechTextSequence],
    *,
    within: Within = "full",
    batch_size: int = 1,
    forward: Forward = "auto",
) -> SequenceLogProbs:
    """How likely the model finds every token, given those before it.

    Their sum over a sequence is its log-likelihood, given its first token::

        read = slm_lens.sequence_log_probs(model, [sequence])
        read.values[0].sum()  # log p(tokens 1, 2, ... | token 0), in nats

    Args:
        model: the model, in evaluation mode.
        sequences: what is to be scored, each of at least two tokens.
        within: ``"full"`` for the softmax over the whole vocabulary, unused rows too; ``"text"`` or
            ``"speech"`` for the softmax over that modality alone, see `slm_lens.likelihood.reader`.
        batch_size: sequences in one forward pass, padded on the right. Changes numbers by
            rounding only.
        forward: which forward pass gives the states, as in `residual_stack`; the provenance says
            which one ran.

    Returns:
        The log-probabilities, float32.

    Raises:
        TypeError: the model knows no vocabulary.
        ValueError: no sequence, one that is too short or longer than the model's context, a token
            of the other modality after the first one, an unknown option, or a model that
            `residual_stack` refuses.

    Source:
        slamkit ``UnitLM.log_likelihood``; Maimon et al. 2025, arXiv:2504.02398.
    """  # noqa: DOC502 (some raised by the functions it calls)
    require_vocabulary(model, "sequence_log_probs")
    if not sequences or batch_size < 1:
        raise ValueError(
            f"sequence_log_probs: got {len(sequences)} sequences and batch_size={batch_size}, "
            "expected at least one of both."
        )
    used = choose_forward(model, forward, "sequence_log_probs")
    reader = LikelihoodReader(model, within=within, forward=used, caller="sequence_log_probs")
    for i, sequence in enumerate(sequences):
        _require_one_modality(reader, i, sequence)
    values: list[Tensor] = []
    for first in range(0, len(sequences), batch_size):
        values += reader.log_probs(sequences[first : first + batch_size])
    return SequenceLogProbs(tuple(values), within, reader.provenance())


def _require_one_modality(
    reader: LikelihoodReader, number: int, sequence: SpeechTextSequence
) -> None:
    position = reader.foreign(sequence, 1)
    if position is not None:
        raise ValueError(
            f"sequence_log_probs: got within={reader.within!r} for sequence {number}, whose "
            f"position {position} holds {reader.label(sequence, position)!r}; expected "
            f"{reader.within} alone after the first token. Take within='full', or score_trials, "
            "which can score a completion by itself."
        )
