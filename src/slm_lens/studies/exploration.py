"""One utterance with everything that was read of it, ready to be shown."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl
from jaxtyping import Float
from torch import Tensor

from slm_lens._pictured import Pictured
from slm_lens.interventions.attribution.direct_result import DirectAttribution
from slm_lens.interventions.patching.patching_result import Patching
from slm_lens.lens.grid_result import LensGrid
from slm_lens.model.provenance import Provenance
from slm_lens.sequence.utterance import Utterance
from slm_lens.sequence.word_span import WordSpan
from slm_lens.speech.units import Units
from slm_lens.vocab import SpeechTextVocab


@dataclass(frozen=True, eq=False)
class ClipAudio:
    """The sound of a clip.

    Attributes:
        waveform: mono samples, full scale at 1.
        sample_rate_hz: samples per second.
    """

    waveform: Float[Tensor, " n_samples"]
    sample_rate_hz: int

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.waveform.numel() / self.sample_rate_hz


@dataclass(frozen=True, eq=False)
class Exploration(Pictured):
    """Sound, units, words, and what the model does with them; holds no model.

    Attributes:
        utterance: name and sequence: token ids, kinds, words.
        audio: the sound; None for an utterance that was given without.
        vocab: the model's vocabulary.
        units: the units of the clip; None for an utterance that was given without sound.
        times_s: start and end of every position in seconds; NaN where it has no time (text,
            markers) or the units' times are not known.
        grid: every layer through the lens.
        attention: patterns of `attention_layers`; None if they were not asked for.
        attention_layers: blocks along the first axis of `attention`.
        attribution: direct logit attribution at one position; None if it was not asked for.
        patching: a patching sweep over this utterance's words, added by `with_patching`; None
            without.
    """

    utterance: Utterance
    audio: ClipAudio | None
    vocab: SpeechTextVocab
    units: Units | None
    times_s: Float[Tensor, "pos 2"]
    grid: LensGrid
    attention: Float[Tensor, "layer head pos pos"] | None
    attention_layers: tuple[int, ...]
    attribution: DirectAttribution | None
    patching: Patching | None = None

    @property
    def name(self) -> str:
        """Name of the utterance."""
        return self.utterance.name

    @property
    def words(self) -> Sequence[WordSpan]:
        """Its words, with their positions and times."""
        return self.utterance.sequence.words

    @property
    def provenance(self) -> Provenance:
        """What the lens grid depends on; attention and attribution come from the hooked forward."""
        return self.grid.provenance

    def with_patching(self, patching: Patching) -> "Exploration":
        """The same with a patching sweep to show beside it.

        Args:
            patching: of one pair, ``at="words"``, with this utterance as the run that was patched
                (the corrupted one when denoising).

        Returns:
            Another exploration.

        Raises:
            ValueError: the sweep is of several pairs, or its places are not positions of this
                utterance.
        """
        table, n = patching.table, len(self.utterance.sequence)
        pairs = table["pair"].unique().to_list()
        outside = table.filter(~pl.col("position").is_between(0, n - 1).fill_null(value=False))
        if len(pairs) != 1 or len(outside):
            raise ValueError(
                f"with_patching: got {len(pairs)} pairs and {len(outside)} of {len(table)} places "
                f"without a position in {self.name!r} ({n} tokens), expected one pair, patched "
                "at='words', with this utterance as the run that was patched: explore the "
                "corrupted one, and patch_pairs(model, [pair], ..., at='words')."
            )
        return replace(self, patching=patching)
