"""What a data set gives: a clip or text, a trial of two completions, or a pair of runs."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from slm_lens.sequence.word_span import Modality
from slm_lens.speech.alignment import Alignment
from slm_lens.speech.units import SpeechUnits, UnitTokenizer

Holds = Literal["clips", "trials", "pairs"]
"""What the items of a data set are."""


@dataclass(frozen=True, eq=False)
class Item:
    """A clip or a text. Exactly one of the first three is there.

    Attributes:
        waveform: samples at the rate that was asked for.
        units: units that were extracted before.
        text: written text.
        alignment: words with times; None of text, and where the data have none.
    """

    waveform: Float[Tensor, " n_samples"] | None = None
    units: SpeechUnits | None = None
    text: str | None = None
    alignment: Alignment | None = None

    def with_units(self, tokenizer: UnitTokenizer) -> "Item":
        """The same with units in place of sound.

        Args:
            tokenizer: makes them.

        Returns:
            An item without sound; one that has none is as it was.
        """
        if self.waveform is None:
            return self
        return replace(self, waveform=None, units=tokenizer.encode(self.waveform))


@dataclass(frozen=True, eq=False)
class TrialItem:
    """Two utterances, of which a model should find the right one likelier.

    Attributes:
        part: a label to tell results apart by, such as a part of SALMon; may be empty.
        prompt: what both begin with; None if they are whole utterances.
        right: what should be likelier: what follows the prompt, or all of it.
        wrong: what should not.
        prompt_s: seconds of the prompt within the units of `right` and `wrong`, once its sound or
            units are joined to theirs; None before, and where nothing was joined.
    """

    part: str
    prompt: Item | None
    right: Item
    wrong: Item
    prompt_s: float | None = None

    def with_units(self, tokenizer: UnitTokenizer) -> "TrialItem":
        """The same with units; the sound of a prompt is joined to what follows, and then encoded.

        Args:
            tokenizer: makes them.

        Returns:
            A trial without sound.
        """
        prompt, sides = self.prompt, (self.right, self.wrong)
        if prompt is None or prompt.waveform is None or self.right.waveform is None:
            prompt = None if prompt is None else prompt.with_units(tokenizer)
            right, wrong = (s.with_units(tokenizer) for s in sides)
            return replace(self, prompt=prompt, right=right, wrong=wrong)
        prompt_s = prompt.waveform.numel() / tokenizer.sample_rate_hz
        joined = []
        for side in sides:
            assert side.waveform is not None
            whole = torch.cat([prompt.waveform, side.waveform])
            joined.append(Item(units=tokenizer.encode(whole)))
        return replace(self, right=joined[0], wrong=joined[1], prompt_s=prompt_s)


@dataclass(frozen=True, eq=False)
class PairItem:
    """Two runs that differ in one thing, as a row of a table of pairs names them.

    Attributes:
        clean: the run with the right answer.
        corrupted: the run that differs.
        answer: the clean run's answer, a word or units.
        foil: the corrupted run's; None for none.
        continue_in: modality that the answer is announced in; None for a whole utterance.
    """

    clean: Item
    corrupted: Item
    answer: str
    foil: str | None
    continue_in: Modality | None

    def with_units(self, tokenizer: UnitTokenizer) -> "PairItem":
        """The same with units in place of sound.

        Args:
            tokenizer: makes them.

        Returns:
            A pair without sound.
        """
        clean, corrupted = (x.with_units(tokenizer) for x in (self.clean, self.corrupted))
        return replace(self, clean=clean, corrupted=corrupted)


AnyItem = Item | TrialItem | PairItem
