"""How dense units are: per word and second, how many remain of the frames, how much they can say.

Source: tokens per word and second as the measure of density, Ye et al. 2026, arXiv:2606.12199
(their text has about 3.3 tokens a second on LibriSpeech); the entropy is Shannon's.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from slm_lens.sequence.spans import word_unit_spans
from slm_lens.speech.alignment import Alignment
from slm_lens.speech.units import Units


@dataclass(frozen=True, eq=False)
class UnitDensity:
    """Counts of one clip.

    Attributes:
        duration_s: length in seconds, as whole frames.
        n_frames: encoder frames.
        n_units: units, after deduplication if the tokenizer does that.
        n_words: words.
        n_units_in_words: units that a word owns, by the slamkit rule.
        n_words_without_units: words that own none.
        counts: how often each unit of the codebook occurs.
    """

    duration_s: float
    n_frames: int
    n_units: int
    n_words: int
    n_units_in_words: int
    n_words_without_units: int
    counts: Int[np.ndarray, " codebook"]

    @property
    def n_distinct(self) -> int:
        """Units of the codebook that occur."""
        return int((self.counts > 0).sum())


def unit_density(units: Units, alignment: Alignment, codebook: int) -> UnitDensity:
    """Count the units of a clip.

    Args:
        units: of the clip.
        alignment: its words with times.
        codebook: how many units there are to choose from.

    Returns:
        The counts.

    Raises:
        ValueError: a unit is outside the codebook.

    Source:
        Spans of words as in slamkit (`word_unit_spans`).
    """
    largest = int(units.ids.max())
    if largest >= codebook:
        raise ValueError(
            f"unit_density: got unit {largest} of a codebook of {codebook}, expected units below "
            f"{codebook}. Take the n_units of the tokenizer that made them."
        )
    spans = word_unit_spans(units.ends_s.tolist(), alignment)
    lengths = [end - start for start, end in spans]
    return UnitDensity(
        duration_s=units.duration_s,
        n_frames=int(units.durations_frames.sum()),
        n_units=len(units),
        n_words=len(alignment),
        n_units_in_words=sum(lengths),
        n_words_without_units=lengths.count(0),
        counts=np.bincount(units.ids.numpy(), minlength=codebook),
    )


def entropy_bits(counts: Float[np.ndarray, "*rows codebook"]) -> Float[np.ndarray, "*rows"]:
    """Entropy of the distribution that counts show.

    The plug-in estimate: too low by about ``(distinct units - 1) / (2 n ln 2)`` bits for ``n``
    counted units (Miller 1955).

    Args:
        counts: how often each unit occurs, weighted or not; at least one more than never.

    Returns:
        Bits, between 0 and ``log2(codebook)``; NaN where nothing was counted.
    """
    totals = counts.sum(-1, keepdims=True)
    shares = np.divide(counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0)
    logs = np.log2(shares, out=np.zeros(counts.shape), where=shares > 0)
    return np.asarray(-(shares * logs).sum(-1))
