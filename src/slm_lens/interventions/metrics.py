"""What of a run's prediction is measured, before and after something in it was changed.

| metric | value | gradients |
|---|---|---|
| `logit_difference` | log odds of the answer against the foil | yes |
| `log_prob` | log-probability of the answer | yes |
| `answer_probability` | probability of the answer | yes |
| `answer_rank` | rank of the answer's best token, 1 for the highest | no |
| `divergence` | ``KL(reference || run)`` in nats | yes |
| `modality_mass` | probability of text, or of all speech streams | yes |
| `next_unit_log_prob` | mean log-probability of the run's own next units | yes |

The first six are read after the last token. An answer may be several tokens (" Paris", "Paris"):
their probabilities count together, so the logit difference of two single tokens is the difference
of their logits. A metric reads the last layer through the model's own final norm and unembedding,
and only the rows of the unembedding that it needs.

Source: Heimersheim and Nanda 2024, arXiv:2404.15255, section 4; Zhang and Nanda 2023,
arXiv:2309.16042. Modality mass and next units are ours.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from slm_lens.lens.logit_lens import LogitLens
from slm_lens.sequence.sequence import SpeechTextSequence
from slm_lens.sequence.word_span import Modality

Within = Literal["full", "text", "speech"]


@dataclass(frozen=True, eq=False)
class Scored:
    """What a run is scored against.

    Attributes:
        answer: token ids of the clean run's answer.
        foil: token ids of the corrupted run's; empty for none.
        following: the token after each scored position of the run; -1 after its last one.
        reference: last-layer states of the reference run at its last position; None without one.
    """

    answer: tuple[int, ...]
    foil: tuple[int, ...]
    following: Int[Tensor, " n_scored"]
    reference: Float[Tensor, "1 d_model"] | None


class Metric(ABC):
    """A number for each of a batch of runs.

    Attributes:
        name: what tables call it.
        differentiable: whether gradients flow through it.
        comparable: whether its values of two different runs measure the same thing.
    """

    name: str
    differentiable: bool = True
    comparable: bool = True

    def positions(self, sequence: SpeechTextSequence) -> tuple[int, ...]:
        """Where it reads a run.

        Args:
            sequence: the run.

        Returns:
            Rising positions.
        """
        return (len(sequence) - 1,)

    @abstractmethod
    def __call__(
        self, lens: LogitLens, states: Float[Tensor, "batch n_scored d_model"], scored: Scored
    ) -> Float[Tensor, " batch"]:
        """Its value.

        Args:
            lens: the model's lens.
            states: residual stream after the last block, at the metric's positions.
            scored: what the runs are scored against.

        Returns:
            One number for each run.
        """


@dataclass(frozen=True)
class _LogitDifference(Metric):
    within: Within
    name: str = "logit_difference"

    def __call__(self, lens: LogitLens, states: Tensor, scored: Scored) -> Tensor:
        if not scored.foil:
            raise ValueError(
                "logit_difference: got a pair without a foil, expected tokens that the answer is "
                "compared with. Give RunPair(foil=...), or take log_prob()."
            )
        require_within(lens, (*scored.answer, *scored.foil), self.within, self.name)
        ids = torch.tensor([*scored.answer, *scored.foil], device=lens.unembedding.weight.device)
        logits = lens.unembedding.rows(ids).logits(lens.normed(states[:, -1]))
        if not logits.isfinite().all():
            raise ValueError(
                "logit_difference: got states that are not finite, expected numbers. Did the model "
                "overflow? Load it in float32 or bfloat16, or steer it less."
            )
        n = len(scored.answer)
        return logits[:, :n].logsumexp(1) - logits[:, n:].logsumexp(1)


@dataclass(frozen=True)
class _LogProb(Metric):
    within: Within
    name: str = "log_prob"

    def __call__(self, lens: LogitLens, states: Tensor, scored: Scored) -> Tensor:
        require_within(lens, scored.answer, self.within, self.name)
        return _log_probs(lens, states[:, -1], scored.answer, self.within).logsumexp(1)


@dataclass(frozen=True)
class _Probability(Metric):
    within: Within
    name: str = "probability"

    def __call__(self, lens: LogitLens, states: Tensor, scored: Scored) -> Tensor:
        require_within(lens, scored.answer, self.within, self.name)
        return _log_probs(lens, states[:, -1], scored.answer, self.within).exp().sum(1)


@dataclass(frozen=True)
class _Rank(Metric):
    within: Within
    name: str = "rank"
    differentiable: bool = False

    def __call__(self, lens: LogitLens, states: Tensor, scored: Scored) -> Tensor:
        require_within(lens, scored.answer, self.within, self.name)
        targets = torch.tensor(scored.answer)
        read = lens.readout(states[:, -1].detach(), "rank", targets=targets, within=[self.within])
        return read.rank[self.within].amin(1).float()


@dataclass(frozen=True)
class _Divergence(Metric):
    within: Within
    name: str = "kl"

    def __call__(self, lens: LogitLens, states: Tensor, scored: Scored) -> Tensor:
        if scored.reference is None:
            raise ValueError(
                "divergence: got a run without a reference, expected the run that it is to be "
                "compared with. A RunPair has one; for others take log_prob()."
            )
        reference = scored.reference.to(states.device, states.dtype)
        read = lens.readout(
            states[:, -1:],
            "kl",
            final=reference,
            within=[self.within],
            differentiable=states.requires_grad,
        )
        return read.kl[self.within][:, 0]


@dataclass(frozen=True)
class _ModalityMass(Metric):
    modality: Modality
    name: str = "modality_mass"

    def __call__(self, lens: LogitLens, states: Tensor, scored: Scored) -> Tensor:  # noqa: ARG002
        _require_subset(lens, self.modality, self.name)
        read = lens.readout(states[:, -1], "mass", differentiable=states.requires_grad)
        parts = lens.parts.subsets[self.modality]
        return torch.stack([read.mass[part] for part in parts]).sum(0)


@dataclass(frozen=True)
class _NextUnitLogProb(Metric):
    within: Within
    start: int
    name: str = "next_unit_log_prob"
    comparable: bool = False

    def positions(self, sequence: SpeechTextSequence) -> tuple[int, ...]:
        found = tuple(
            i for i in range(self.start, len(sequence) - 1) if sequence.kinds[i + 1] == "speech"
        )
        if not found:
            raise ValueError(
                f"next_unit_log_prob: got a run of {len(sequence)} tokens without a speech unit "
                f"after position {self.start}, expected some. Is it a written run?"
            )
        return found

    def __call__(self, lens: LogitLens, states: Tensor, scored: Scored) -> Tensor:
        flat = states.reshape(-1, states.shape[-1])
        targets = scored.following.repeat(len(states))[:, None]
        read = lens.readout(
            flat,
            "log_prob",
            targets=targets,
            within=[self.within],
            differentiable=states.requires_grad,
        )
        return read.log_prob[self.within].view(len(states), -1).mean(1)


def logit_difference(*, within: Within = "full", name: str = "logit_difference") -> Metric:
    """Log odds of the answer against the foil: of single tokens the difference of their logits.

    Args:
        within: subset of the vocabulary that all of their tokens must be in.
        name: what tables call it.

    Returns:
        The metric.
    """
    return _LogitDifference(within, name)


def log_prob(*, within: Within = "full", name: str = "log_prob") -> Metric:
    """Log-probability of the answer's tokens together, in nats.

    Args:
        within: subset of the vocabulary that the softmax runs over.
        name: what tables call it.

    Returns:
        The metric.
    """
    return _LogProb(within, name)


def answer_probability(*, within: Within = "full", name: str = "probability") -> Metric:
    """Probability of the answer's tokens together.

    Bounded, so an effect on it is small where the model was unsure to begin with; causal tracing
    (Meng et al. 2022) is defined by it. Elsewhere prefer `logit_difference` or `log_prob`.

    Args:
        within: subset of the vocabulary that the softmax runs over.
        name: what tables call it.

    Returns:
        The metric.
    """
    return _Probability(within, name)


def answer_rank(*, within: Within = "full", name: str = "rank") -> Metric:
    """Rank of the answer's best token. It has no gradients.

    Args:
        within: subset of the vocabulary that it is ranked in.
        name: what tables call it.

    Returns:
        The metric.
    """
    return _Rank(within, name)


def divergence(*, within: Within = "full", name: str = "kl") -> Metric:
    """``KL(reference || run)`` in nats; the reference is the run that states are taken from.

    Args:
        within: subset of the vocabulary that both softmaxes run over.
        name: what tables call it.

    Returns:
        The metric.
    """
    return _Divergence(within, name)


def modality_mass(modality: Modality, *, name: str = "modality_mass") -> Metric:
    """Probability that the next token is text, or of any speech stream.

    Args:
        modality: which.
        name: what tables call it.

    Returns:
        The metric.
    """
    return _ModalityMass(modality, name)


def next_unit_log_prob(
    *, start: int = 0, within: Within = "full", name: str = "next_unit_log_prob"
) -> Metric:
    """Mean log-probability, in nats, of the units that follow in the run itself.

    Two runs are of different units, so it says what a change does to one run, and not how far it
    brings that run to the other one: there is no recovery in it.

    Args:
        start: first position whose next token counts.
        within: subset of the vocabulary that the softmax runs over.
        name: what tables call it.

    Returns:
        The metric.
    """
    return _NextUnitLogProb(within, start, name)


def require_within(lens: LogitLens, ids: Sequence[int], within: str, caller: str) -> None:
    """Refuse tokens that are not in a subset of the vocabulary.

    Args:
        lens: the model's lens.
        ids: token ids.
        within: name of the subset.
        caller: the public function, to begin messages with.

    Raises:
        ValueError: an id outside the vocabulary, an unknown subset, or a token of another kind.
    """
    _require_subset(lens, within, caller)
    parts = lens.parts
    outside = [i for i in ids if not 0 <= i < parts.d_vocab]
    if outside:
        raise ValueError(
            f"{caller}: got the token ids {outside}, expected 0 to {parts.d_vocab - 1}."
        )
    strange = [i for i in ids if parts.names[int(parts.part_of[i])] not in parts.subsets[within]]
    if strange:
        kinds = sorted({parts.names[int(parts.part_of[i])] for i in strange})
        raise ValueError(
            f"{caller}: got within={within!r} and the tokens {strange} of {kinds}, expected tokens "
            f"of {parts.subsets[within]}. Take within='full', or an answer of that modality."
        )


def _require_subset(lens: LogitLens, subset: str, caller: str) -> None:
    if subset not in lens.parts.subsets:
        raise ValueError(
            f"{caller}: got {subset!r}, expected one of {tuple(lens.parts.subsets)}, which the "
            "model's vocabulary has. A plain bridge knows no modalities: slm_lens.load gives them."
        )


def _log_probs(
    lens: LogitLens, states: Float[Tensor, "n d_model"], ids: Sequence[int], within: str
) -> Float[Tensor, "n n_ids"]:
    targets = torch.tensor(ids)
    read = lens.readout(
        states,
        "log_prob",
        targets=targets,
        within=[within],
        differentiable=states.requires_grad,
    )
    return read.log_prob[within]
