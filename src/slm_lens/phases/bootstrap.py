"""Percentile intervals from resampled utterances.

Words of one utterance share a speaker, a topic and a context, so whole utterances are drawn, with
replacement. Every curve is a ratio of sums over utterances, so a resample is a vector of
multinomial weights and all resamples of a curve are one matrix product.

Source: cluster bootstrap, Davison and Hinkley 1997, "Bootstrap Methods and their Application",
section 3.8; percentile interval, Efron 1979.
"""

from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95
"""Coverage of every interval in this package."""

_TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)


def resample_weights(n_utterances: int, n_bootstrap: int, seed: int) -> np.ndarray:
    """How often each utterance is drawn in each resample.

    Args:
        n_utterances: how many utterances there are, at least 1.
        n_bootstrap: how many resamples, 0 or more.
        seed: seed of the draws.

    Returns:
        ``[n_bootstrap, n_utterances]`` float64; every row sums to ``n_utterances``.
    """
    even = np.full(n_utterances, 1 / n_utterances)
    draws = np.random.default_rng(seed).multinomial(n_utterances, even, size=n_bootstrap)
    return draws.astype(np.float64)


@dataclass(frozen=True, eq=False)
class Curve:
    """A mean over words at each layer, with its resamples.

    Attributes:
        estimate: ``[layer]``; NaN where no word counts.
        resamples: ``[n_bootstrap, layer]``; NaN in resamples that hold no word that counts.
        n_words: words that count.
    """

    estimate: np.ndarray
    resamples: np.ndarray
    n_words: int

    @classmethod
    def of(cls, values: np.ndarray, utterance: np.ndarray, weights: np.ndarray) -> "Curve":
        """Mean of a quantity over words.

        Args:
            values: ``[word, layer]``; words with NaN do not count.
            utterance: utterance of each word, an index into the columns of ``weights``.
            weights: resamples, from `resample_weights`.

        Returns:
            The mean, and the mean in each resample.
        """
        counts_words = ~np.isnan(values).any(1)
        sums = np.zeros((weights.shape[1], values.shape[1]))
        np.add.at(sums, utterance[counts_words], values[counts_words])
        counts = np.bincount(utterance[counts_words], minlength=len(sums)).astype(np.float64)
        return cls(
            estimate=_ratio(sums.sum(0), counts.sum()),
            resamples=_ratio(weights @ sums, (weights @ counts)[:, None]),
            n_words=int(counts_words.sum()),
        )

    def interval(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper end of the interval at each layer.

        Returns:
            Two arrays ``[layer]``, over the resamples that hold a word that counts; NaN where
            there is none.
        """
        held = self.resamples[~np.isnan(self.resamples).any(1)]
        if not len(held):
            nothing = np.full(self.estimate.shape, np.nan)
            return nothing, nothing
        low, high = np.quantile(held, _TAILS, axis=0)
        return low, high


def layer_interval(layers: np.ndarray) -> tuple[float, float]:
    """Interval of a layer over resamples; its ends are values that occurred.

    Args:
        layers: a layer, or a difference of layers, in each resample; infinity for "never", NaN
            where it is not defined.

    Returns:
        Lower and upper end; NaN without any resample.
    """
    held = layers[~np.isnan(layers)]
    if not len(held):
        return float("nan"), float("nan")
    low, high = np.quantile(held, _TAILS, method="inverted_cdf")
    return float(low), float(high)


def _ratio(sums: np.ndarray, counts: np.ndarray | float) -> np.ndarray:
    counts = np.broadcast_to(counts, sums.shape)
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
