"""Log-probabilities of the tokens of sequences, each given those before it.

``log p(t_i | t_0 ... t_(i-1))`` is read at position ``i - 1`` of the last layer, through the
model's own final norm and unembedding: one target a position, in one pass over the vocabulary
(`slm_lens.readout`), which never holds ``[pos, d_vocab]``.

The softmax runs over everything, or over one modality alone. slamkit's ``used_token_modality`` does
the latter by setting the logits of other tokens to minus infinity; what stays differs from ours:

| | slamkit keeps | ours keeps |
|---|---|---|
| speech | units, bos, eos | all speech streams |
| text | text, bos, eos and other control tokens, both markers | text |

With "SPEECH", slamkit gives a marker the probability 0, and a sequence with one after its first
token the likelihood 0. Here markers and control tokens are not scored within a modality: nothing
that the softmax runs over could have stood there.

Source: slamkit ``UnitLM.log_likelihood`` and ``get_ignore_tokens``; Maimon et al. 2025,
arXiv:2504.02398. slamkit leaves out targets equal to its pad id 0, which is "!" in Qwen's
vocabulary; here padding is known by its place, and every token counts.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from slm_lens.lens.logit_lens import LogitLens
from slm_lens.lens.model import SpeechTextModel
from slm_lens.lens.states import Autocast, ForwardUsed, provenance_of, stack_and_check
from slm_lens.model.provenance import Provenance
from slm_lens.readout._device import kernel_for
from slm_lens.sequence.batch import pad_batch
from slm_lens.sequence.sequence import SpeechTextSequence
from slm_lens.vocab import TOKEN_KINDS

Within = Literal["full", "text", "speech"]
WITHIN: tuple[Within, ...] = get_args(Within)

_UNSCORED = ("marker", "special")


class LikelihoodReader:
    """A model, and what part of its vocabulary the probabilities of tokens add up to 1 over.

    Args:
        model: the model, in evaluation mode.
        within: ``"full"`` for the softmax over the whole vocabulary, unused rows too; ``"text"``
            or ``"speech"`` for the softmax over that modality alone.
        forward: the forward pass that gives the states.
        autocast: dtype that blocks multiply in; None for the weights' own.
        caller: the public function, to begin messages with.

    Attributes:
        within: as given.
        caller: as given.

    Raises:
        ValueError: the model has no such part, or is in training mode.
    """

    within: Within
    caller: str

    def __init__(
        self,
        model: SpeechTextModel,
        *,
        within: Within,
        forward: ForwardUsed,
        autocast: Autocast | None = None,
        caller: str,
    ) -> None:
        self._model, self._lens = model, LogitLens(model)
        self._forward: ForwardUsed = forward
        self._autocast: Autocast | None = autocast
        self.within, self.caller = within, caller
        if within not in WITHIN or within not in self._lens.parts.subsets:
            raise ValueError(
                f"{caller}: got within={within!r}, expected one of "
                f"{tuple(self._lens.parts.subsets)}, which "
                f"{model.provenance.model_and_family} has."
            )
        self._kind_of = model.vocab.kind_of.cpu()

    def provenance(self) -> Provenance:
        """What the numbers depend on.

        Returns:
            The model's provenance, with the forward pass and the kernel that run.
        """
        used = provenance_of(self._model, self._forward, self._autocast)
        return replace(used, kernel=kernel_for(self._model.W_U.device))

    def scored(self, sequence: SpeechTextSequence) -> Bool[Tensor, " n_after_first"]:
        """Which tokens have a log-probability.

        Args:
            sequence: a sequence of this model.

        Returns:
            For each token but the first, whether it is in what the softmax runs over.
        """
        kinds = self._kinds(sequence)[1:]
        if self.within == "full":
            return torch.ones_like(kinds, dtype=torch.bool)
        return kinds == TOKEN_KINDS.index(self.within)

    def foreign(self, sequence: SpeechTextSequence, start: int) -> int | None:
        """Where a sequence leaves the modality that the softmax runs over.

        Args:
            sequence: a sequence of this model.
            start: first position that counts, at least 1.

        Returns:
            The first position from there on with a token of the other modality (or of an unused
            row); None if there is none, and always within ``"full"``.
        """
        if self.within == "full":
            return None
        fine = [TOKEN_KINDS.index(kind) for kind in (self.within, *_UNSCORED)]
        others = ~torch.isin(self._kinds(sequence)[start:], torch.tensor(fine))
        return start + int(others.int().argmax()) if others.any() else None

    def label(self, sequence: SpeechTextSequence, position: int) -> str:
        """The name of a token, for messages.

        Args:
            sequence: a sequence of this model.
            position: the token's position.

        Returns:
            Its label in the vocabulary.
        """
        return self._model.vocab.label(int(sequence.tokens[position]))

    def log_probs(
        self, sequences: Sequence[SpeechTextSequence]
    ) -> list[Float[Tensor, " n_after_first"]]:
        """Run the model once, over all of the sequences, padded on the right.

        Equal sequences run once, so that they have equal numbers.

        Args:
            sequences: at least one, each of at least two tokens.

        Returns:
            For each sequence the log-probabilities in nats of its tokens but the first, float32;
            NaN for those that are not `scored`.

        Raises:
            ValueError: a sequence is too short, longer than the model's context, or has token ids
                that the model lacks.
        """  # noqa: DOC502 (raised by _check)
        for sequence in sequences:
            self._check(sequence)
        places: dict[tuple[int, ...], int] = {}
        keys = [tuple(s.tokens.tolist()) for s in sequences]
        different = [s for s, k in zip(sequences, keys, strict=True) if _is_new(k, places)]
        batch = pad_batch(different, pad_token=0)
        last = stack_and_check(
            self._model,
            self._lens,
            batch.tokens,
            batch.attention_mask,
            forward=self._forward,
            autocast=self._autocast,
            last_only=True,
        )[0]
        read = self._read(last, different)
        return [read[places[key]] for key in keys]

    def _read(
        self, last: Float[Tensor, "batch pos d_model"], sequences: Sequence[SpeechTextSequence]
    ) -> list[Tensor]:
        """Log-probabilities from the states of the last layer."""
        masks = [self.scored(s) for s in sequences]
        found = [torch.full((len(s) - 1,), torch.nan) for s in sequences]
        if not any(bool(mask.any()) for mask in masks):
            return found
        rows = [h[: len(m)][m.to(h.device)] for h, m in zip(last, masks, strict=True)]
        following = [s.tokens[1:].cpu()[m] for s, m in zip(sequences, masks, strict=True)]
        read = self._lens.readout(
            torch.cat(rows),
            "log_prob",
            targets=torch.cat(following)[:, None],
            within=[self.within],
        ).log_prob[self.within][:, 0]
        pieces = read.cpu().split([len(f) for f in following])
        for values, mask, piece in zip(found, masks, pieces, strict=True):
            values[mask] = piece
        return found

    def _kinds(self, sequence: SpeechTextSequence) -> Tensor:
        """Kinds of the tokens, as the vocabulary has them."""
        lowest, highest = int(sequence.tokens.min()), int(sequence.tokens.max())
        if lowest < 0 or highest >= len(self._kind_of):
            raise ValueError(
                f"{self.caller}: got token ids from {lowest} to {highest}, expected "
                f"0 <= id < d_vocab={len(self._kind_of)}. Was the sequence made for another model?"
            )
        return self._kind_of[sequence.tokens.cpu()]

    def _check(self, sequence: SpeechTextSequence) -> None:
        self._kinds(sequence)
        n_tokens, context = len(sequence), self._model.cfg.n_ctx
        if not 2 <= n_tokens <= context:
            raise ValueError(
                f"{self.caller}: got a sequence of {n_tokens} tokens, expected at least 2, since "
                f"the first one is never scored, and at most the {context} of the model's context."
            )


def _is_new(key: tuple[int, ...], places: dict[tuple[int, ...], int]) -> bool:
    """Whether a sequence is none of those before it; it then gets a place of its own."""
    if key in places:
        return False
    places[key] = len(places)
    return True
