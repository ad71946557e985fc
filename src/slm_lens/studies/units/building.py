"""How words build up: hits of every word by layer and share heard, curves, slopes, isolation."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from slm_lens.lens.build_up import WORD, BuildUp
from slm_lens.phases.bootstrap import CONFIDENCE, Curve, resample_weights
from slm_lens.phases.crossed_bootstrap import crossed_interval
from slm_lens.studies.units.options import UnitsOptions

TRUE, SHUFFLED = "none", "shuffled words"
READINGS = (("current", "last"), ("current", "max"), ("next", "last"), ("next", "max"))
"""Which word, and how its positions so far become one."""

PEAK_OF = {"current": "max", "next": "last"}
"""Pooling of the whole word at which the layer of a curve is chosen."""

_DECIMALS = 9
"""Of values that intervals are of: a sum of hits that is 0 but for rounding is 0."""

_TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)


@dataclass(frozen=True, eq=False)
class WordHits:
    """Hits of the words of one model.

    Attributes:
        model: its name.
        shares: of the word that were heard; the first is 0.
        keys: utterance and index of each word.
        clip: number of its clip.
        word_type: number of the spelling of the current and of the next word.
        hits: by target, pooling and control: ``[word, layer, share]``, for shuffled words the share
            of them that hit; NaN where the word does not count.
        n_left_out: selected words at the very start of an utterance: they have no share 0.
    """

    model: str
    shares: tuple[float, ...]
    keys: tuple[tuple[str, int], ...]
    clip: Int[np.ndarray, " word"]
    word_type: Mapping[str, Int[np.ndarray, " word"]]
    hits: Mapping[tuple[str, str, str], Float[np.ndarray, "word layer share"]]
    n_left_out: int

    def weights(self, options: UnitsOptions) -> Float[np.ndarray, "resample clip"]:
        """Bootstrap weights over the clips."""
        return resample_weights(int(self.clip.max()) + 1, options.n_bootstrap, options.seed)

    def counted(self, target: str) -> np.ndarray:
        """Words that count, ``[word]``."""
        hits = self.hits[target, "last", TRUE]
        return np.asarray(~np.isnan(hits.reshape(len(hits), -1)).any(1))

    def peak_layer(self, target: str) -> int:
        """Layer with the highest recall at the whole word; the first of equal ones."""
        return self._peak(target, self.counted(target))

    def _peak(self, target: str, words: np.ndarray) -> int:
        return int(self.hits[target, PEAK_OF[target], TRUE][words, :, -1].mean(0).argmax())

    def peaks_of_other_words(self, target: str) -> Int[np.ndarray, " word"]:
        """For each word, the peak layer of the words that are of the other half of the word types.

        A layer that is chosen where the whole word reads best would show a rise on the same words
        where there is none.

        Args:
            target: ``"current"`` or ``"next"``.

        Returns:
            A layer for every word; that of a word that does not count has no meaning.

        Raises:
            ValueError: all words that count are of one half.
        """
        counts, half = self.counted(target), self.word_type[target] % 2
        if len(set(half[counts].tolist())) < 2:
            raise ValueError(
                f"study units: got {target} words of {self.model} of one word type or of one half "
                "of them, expected words of several types: the layer of a slope is chosen on words "
                "of the other half. Give more clips, or words='all'."
            )
        peaks = [self._peak(target, counts & (half != of)) for of in (0, 1)]
        return np.array(peaks)[half]


def word_hits(build_up: BuildUp, options: UnitsOptions) -> WordHits:
    """Arrays of the words that have a position before them.

    Args:
        build_up: ranks of every beginning of every word.
        options: of the study.

    Returns:
        The hits.

    Raises:
        ValueError: no selected word has a token and a position before it.
    """
    n_layers, shares = build_up.n_layers + 1, options.shares
    table = build_up.at_shares(shares, heard=options.heard)
    whole = table.filter(pl.len().over(*WORD) == n_layers * len(shares))
    shape = (-1, len(shares), n_layers)
    first = whole.gather_every(n_layers * len(shares))
    chosen = {
        "current": np.ones(len(first), dtype=bool),
        "next": first["next_is_content"].is_not_null().to_numpy(),
    }
    content = {"current": "is_content", "next": "next_is_content"}
    if options.words == "content":
        chosen = {t: first[c].fill_null(False).to_numpy() for t, c in content.items()}
    hits = {}
    for target, pool in READINGS:
        true, shuffled = _hits(whole, target, pool, options.k)
        for control, values in ((TRUE, true), (SHUFFLED, shuffled)):
            by_word = values.reshape(shape).transpose(0, 2, 1)
            hits[target, pool, control] = np.where(chosen[target][:, None, None], by_word, np.nan)
    names, clip = np.unique(first["utterance"].to_numpy(), return_inverse=True)
    selected = table.filter((pl.col("layer") == 0) & (pl.col("share") == 1.0))
    if options.words == "content":
        selected = selected.filter("is_content")
    found = WordHits(
        model=build_up.provenance.name,
        shares=shares,
        keys=tuple(first.select(*WORD).iter_rows()),
        clip=clip,
        word_type={
            target: np.unique(first[column].fill_null("").to_numpy(), return_inverse=True)[1]
            for target, column in (("current", "word"), ("next", "next_word"))
        },
        hits=hits,
        n_left_out=len(selected) - int(chosen["current"].sum()),
    )
    if not len(names) or not found.counted("current").any():
        raise ValueError(
            f"study units: found no word that counts among {len(first)} of {found.model} under "
            f"words={options.words!r}, expected some with a token and a position before them. Try "
            "words='all'."
        )
    return found


def _hits(table: pl.DataFrame, target: str, pool: str, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Hits and shares of shuffled words that hit; NaN where the rank is not known."""
    rank = pl.col(f"rank_{target}_text_{pool}")
    draws = pl.col(f"shuffled_{target}_text_{pool}").list
    share = draws.eval((pl.element() <= k).cast(pl.Float64)).list.mean()
    columns = table.select(true=(rank <= k).cast(pl.Float64), shuffled=share)
    true, shuffled = (columns[c].fill_null(np.nan).to_numpy() for c in ("true", "shuffled"))
    known = ~np.isnan(true) & ~np.isnan(shuffled)
    return np.where(known, true, np.nan), np.where(known, shuffled, np.nan)


def curve_rows(found: WordHits, options: UnitsOptions) -> Iterator[dict[str, Any]]:
    """Recall by target, pooling, control, layer and share, with intervals over clips."""
    weights = found.weights(options)
    for (target, pool, control), hits in found.hits.items():
        counts = found.counted(target)
        values = np.where(counts[:, None, None], hits, np.nan)
        n_words, n_layers, n_shares = values.shape
        curve = Curve.of(values.reshape(n_words, -1), found.clip, weights)
        low, high = curve.interval()
        for i, (layer, share) in enumerate(np.ndindex(n_layers, n_shares)):
            yield {
                "model": found.model,
                "target": target,
                "pool": pool,
                "control": control,
                "layer": layer,
                "share": found.shares[share],
                "is_peak_layer": layer == found.peak_layer(target),
                "recall": _known(curve.estimate[i]),
                "low": _known(low[i]),
                "high": _known(high[i]),
                "n_words": curve.n_words,
                "n_clips": len(np.unique(found.clip[counts])),
            }


def slope_rows(found: WordHits, options: UnitsOptions) -> Iterator[dict[str, Any]]:
    """Slope of recall over the share heard, less that of shuffled words, at the peak layers.

    Least squares for each word over the shares from the first one after 0 on; in recall from
    nothing to all of the word. The layer of a word is that of words of other types. Intervals
    resample clips and word types.
    """
    shares = np.array(found.shares[1:])
    contrast = (shares - shares.mean()) / np.square(shares - shares.mean()).sum()
    for target, pool in READINGS:
        counts = found.counted(target)
        layers = found.peaks_of_other_words(target)[counts]
        true, shuffled = (
            found.hits[target, pool, control][counts, layers] for control in (TRUE, SHUFFLED)
        )
        slopes = {
            "slope": (true - shuffled)[:, 1:] @ contrast,
            "whole word less before it": (true[:, -1] - true[:, 0])
            - (shuffled[:, -1] - shuffled[:, 0]),
        }
        for measure, exact in slopes.items():
            values = exact.round(_DECIMALS)
            low, high = crossed_interval(
                values,
                found.clip[counts],
                found.word_type[target][counts],
                n_bootstrap=options.n_bootstrap,
                seed=options.seed,
            )
            yield {
                "model": found.model,
                "target": target,
                "pool": pool,
                "layers": ", ".join(map(str, np.unique(layers))),
                "measure": measure,
                "estimate": float(values.mean()),
                "low": _known(low),
                "high": _known(high),
                "before_word": float(true[:, 0].mean()),
                "first_share": float(true[:, 1].mean()),
                "whole_word": float(true[:, -1].mean()),
                "shuffled_whole_word": float(shuffled[:, -1].mean()),
                "n_words": int(counts.sum()),
                "n_word_types": len(np.unique(found.word_type[target][counts])),
            }


def isolation_points(
    hits: Float[np.ndarray, "word share"], shares: Sequence[float]
) -> Float[np.ndarray, " word"]:
    """The share of each word from which on it is hit to its end; infinity for never.

    Args:
        hits: at each share, 1 or 0; of ties between, and 0.5 counts as a hit.
        shares: rising.

    Returns:
        One of the shares, or infinity.

    Source:
        The isolation point of gating experiments, Grosjean 1980.
    """
    to_the_end = np.flip(np.minimum.accumulate(np.flip(hits >= 0.5, 1), axis=1), 1)
    return np.where(to_the_end[:, -1], np.array(shares)[to_the_end.argmax(1)], np.inf)


def isolation_row(
    points: Float[np.ndarray, " word"],
    clip: Int[np.ndarray, " word"],
    shares: Sequence[float],
    options: UnitsOptions,
) -> dict[str, Any]:
    """Median share at which words are isolated, share isolated by half of the word, and never."""
    weights = resample_weights(int(clip.max()) + 1, options.n_bootstrap, options.seed)
    by = Curve.of((points[:, None] <= np.array(shares)).astype(float), clip, weights)
    half = int(np.argmin(np.abs(np.array(shares) - 0.5)))
    low, high = by.interval()
    medians = _median(by.resamples, shares)
    ends = np.quantile(medians, _TAILS, method="inverted_cdf") if len(medians) else (np.nan, np.nan)
    return {
        "median_share": _known(_median(by.estimate[None], shares)[0]),
        "median_low": _known(ends[0]),
        "median_high": _known(ends[1]),
        "isolated_by_half": float(by.estimate[half]),
        "by_half_low": _known(low[half]),
        "by_half_high": _known(high[half]),
        "never": float(1 - by.estimate[-1]),
        "n_words": by.n_words,
        "n_clips": len(np.unique(clip)),
    }


def _median(isolated_by: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    """First share by which half of the words are isolated; infinity for none."""
    reached = isolated_by >= 0.5
    return np.where(reached.any(1), np.array(shares)[reached.argmax(1)], np.inf)


def _known(x: float) -> float | None:
    """None for NaN and infinity, which tables show as unknown."""
    return float(x) if np.isfinite(x) else None
