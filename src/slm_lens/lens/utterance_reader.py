"""Reads the spoken words of utterances, some at a time: what `word_lens` and a corpus run share."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from slm_lens.lens._read_words import WordReader, WordReadout
from slm_lens.lens.logit_lens import LogitLens
from slm_lens.lens.model import SpeechTextModel
from slm_lens.lens.states import Autocast, ForwardUsed, provenance_of, stack_and_check
from slm_lens.lens.targets import TargetPlan, WordTargets
from slm_lens.lens.tuned_lens import TunedLens
from slm_lens.model.provenance import Provenance
from slm_lens.sequence.utterance import Utterance


class UtteranceReader:
    """A model and the plan of what is ranked for each word.

    Args:
        model: the model, in evaluation mode.
        plan: target sets and control draws over the whole data set.
        n_draws: control words for each word and kind of control, as in the plan.
        forward: the forward pass that gives the states.
        lens: what to read through; None for the logit lens.
        autocast: dtype that blocks multiply in; None for the weights' own.
    """

    def __init__(
        self,
        model: SpeechTextModel,
        plan: TargetPlan,
        *,
        n_draws: int,
        forward: ForwardUsed,
        lens: TunedLens | None,
        autocast: Autocast | None = None,
    ) -> None:
        self._model, self._plan, self._lens = model, plan, lens
        self._autocast: Autocast | None = autocast
        self._forward: ForwardUsed = forward
        self._reader = WordReader(model.vocab, LogitLens(model), n_draws)

    def targets(self, number: int, utterance: Utterance) -> tuple[list[WordTargets], list[str]]:
        """What is ranked for the spoken words of one utterance.

        Args:
            number: index of the utterance in the plan's data set.
            utterance: the utterance.

        Returns:
            Targets of its spoken words, and the spoken words that have no position.
        """
        words, without = [], []
        for i, w in enumerate(utterance.sequence.words):
            if w.modality == "speech" and w.start == w.end:
                without.append(w.word)
            elif w.modality == "speech":
                words.append(self._plan.word(number, utterance.sequence.words, i))
        return words, without

    def read(
        self, utterances: list[Utterance], words: list[list[WordTargets]]
    ) -> list[WordReadout]:
        """Run the model once over some utterances, padded on the right.

        Args:
            utterances: what to read.
            words: the targets of each; one without any is left out.

        Returns:
            The numbers of each utterance that has words.
        """
        stack = self._states(utterances)
        if self._lens is not None:
            lens = self._lens
            stack = torch.stack([lens.translate(h, layer) for layer, h in enumerate(stack)])
        readouts = []
        for row, (utterance, of_one) in enumerate(zip(utterances, words, strict=True)):
            if of_one:
                tokens = utterance.sequence.tokens
                readouts.append(self._reader.read(stack[:, row, : len(tokens)], tokens, of_one))
        return readouts

    def provenance(self, readouts: list[WordReadout]) -> Provenance:
        """What the numbers depend on.

        Args:
            readouts: some of them, at least one.

        Returns:
            The model's provenance, with the forward pass and the kernel that ran.
        """
        used = provenance_of(self._model, self._forward, self._autocast)
        return replace(used, kernel=readouts[0].kernel)

    def _states(self, utterances: list[Utterance]) -> Float[Tensor, "layer batch pos d_model"]:
        rows = [x.sequence.tokens for x in utterances]
        tokens = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        real = torch.nn.utils.rnn.pad_sequence(
            [torch.ones_like(r, dtype=torch.bool) for r in rows], batch_first=True
        )
        return stack_and_check(
            self._model,
            self._reader.lens,
            tokens,
            real,
            forward=self._forward,
            autocast=self._autocast,
        )
