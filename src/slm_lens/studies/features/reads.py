"""States of a model at the layers of the study."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor

from slm_lens.features.states import PositionStates, balanced_positions, position_states
from slm_lens.model.hooked import HookedSLM
from slm_lens.studies.features.data import FeatureData
from slm_lens.studies.features.options import FeaturesOptions


@dataclass(frozen=True, eq=False)
class Reads:
    """States of one model: to train on, to tag on, to try on.

    Attributes:
        train: positions in the proportion of the training.
        tagging: all positions of the spoken and the written documents.
        held_out: all positions of the held-out documents.
        balanced: rows of `tagging` that tags go by: as many of speech as of text.
        n_clips: held-out clips, each in several documents; for resamples.
    """

    train: PositionStates
    tagging: PositionStates
    held_out: PositionStates
    balanced: Int[Tensor, " n_balanced"]
    n_clips: int


def read_all(
    model: HookedSLM, data: FeatureData, layers: Sequence[int], options: FeaturesOptions
) -> Reads:
    """All states of a model that the study needs.

    Args:
        model: the model.
        data: the utterances.
        layers: which layers.
        options: the proportion of speech, and the seed.

    Returns:
        The states.
    """
    chosen = balanced_positions(data.train, speech_share=options.speech_share, seed=options.seed)
    return Reads(
        train=position_states(model, data.train, layers, at=chosen),
        tagging=position_states(model, data.tagging.pure, layers),
        held_out=position_states(model, data.held_out.all, layers),
        balanced=balanced_positions(data.tagging.pure, seed=options.seed),
        n_clips=len(data.held_out.spoken),
    )
