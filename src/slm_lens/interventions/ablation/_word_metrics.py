"""Metrics at the positions of a word, and of what comes after it."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from slm_lens.interventions.metrics import Metric, Scored
from slm_lens.lens.logit_lens import LogitLens
from slm_lens.sequence.sequence import SpeechTextSequence


@dataclass(frozen=True)
class UnitsThere(Metric):
    """Mean log-probability of the units that follow some positions."""

    read_at: tuple[int, ...]
    name: str = "units"

    def positions(self, sequence: SpeechTextSequence) -> tuple[int, ...]:  # noqa: ARG002
        """The positions."""
        return self.read_at

    def __call__(self, lens: LogitLens, states: Tensor, scored: Scored) -> Tensor:
        flat = states.reshape(-1, states.shape[-1])
        targets = scored.following.repeat(len(states))[:, None]
        read = lens.readout(flat, "log_prob", targets=targets, within=["full"])
        return read.log_prob["full"].view(len(states), -1).mean(1)


@dataclass(frozen=True)
class SpeechThere(Metric):
    """Mean probability of speech, of all streams, at some positions."""

    read_at: tuple[int, ...]
    name: str = "speech"

    def positions(self, sequence: SpeechTextSequence) -> tuple[int, ...]:  # noqa: ARG002
        """The positions."""
        return self.read_at

    def __call__(self, lens: LogitLens, states: Tensor, scored: Scored) -> Tensor:  # noqa: ARG002
        mass = lens.readout(states, "mass").mass
        return torch.stack([mass[part] for part in lens.parts.subsets["speech"]]).sum(0).mean(1)


NAMES = ("units_at_word", "units_after", "speech_at_word")


def metrics_at_word(sequence: SpeechTextSequence, start: int, end: int) -> Mapping[str, Metric]:
    """The metrics of one word.

    Args:
        sequence: the run.
        start: first position of the word.
        end: one past its last position.

    Returns:
        Metrics by their names; without one that has no unit to score.
    """
    before_units = [i for i in range(len(sequence) - 1) if sequence.kinds[i + 1] == "speech"]
    at_word = tuple(i for i in before_units if start <= i < end)
    after = tuple(i for i in before_units if i >= end)
    found: dict[str, Metric] = {"speech_at_word": SpeechThere(tuple(range(start, end)))}
    if at_word:
        found["units_at_word"] = UnitsThere(at_word)
    if after:
        found["units_after"] = UnitsThere(after)
    return {name: found[name] for name in NAMES if name in found}
