"""What is readable of words at other frame rates: clips made units again, and states pooled."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from jaxtyping import Float, Int
from torch import Tensor

from slm_lens.lens.logit_lens import LogitLens
from slm_lens.lens.pooled_states import pool_over_time, windows_of
from slm_lens.lens.states import residual_stack
from slm_lens.lens.targets import TargetPlan
from slm_lens.lens.word_lens import word_lens
from slm_lens.model.hooked import HookedSLM
from slm_lens.phases.bootstrap import Curve, resample_weights
from slm_lens.sequence.function_words import ENGLISH_FUNCTION_WORDS
from slm_lens.speech.mfcc import MfccKMeans
from slm_lens.studies.units.building import WordHits
from slm_lens.studies.units.clips import ReadClip, read_clips, sounds
from slm_lens.studies.units.identity import (
    ClipWords,
    counted_word,
    identity_hits,
    refitted,
    spoken_words,
    with_spans,
)
from slm_lens.studies.units.options import UnitsOptions

OWN, AGAIN, POOLED = "own units", "re-tokenised", "pooled states"
UNITS_OWN, UNITS_REFIT = "units alone", "units alone, refitted"
READINGS = (OWN, AGAIN, POOLED, UNITS_OWN, UNITS_REFIT)


@dataclass(frozen=True, eq=False)
class WordsByLayer:
    """Hits of words of some reading; the first axis is the word.

    Attributes:
        hits: ``[word, layer]``, 1 or 0; of one layer where there is no model.
        shuffled: likewise, shares of shuffled words that hit.
        clip: name of each word's clip.
    """

    hits: Float[np.ndarray, "word layer"]
    shuffled: Float[np.ndarray, "word layer"]
    clip: Sequence[str]


def rate_rows(
    model: HookedSLM, own: Sequence[ReadClip], found: WordHits, options: UnitsOptions
) -> Iterator[dict[str, Any]]:
    """Recall of the current word (maximum over its positions) at every rate of every reading.

    Args:
        model: the model.
        own: the clips in its own units.
        found: its hits at its own rate, which say the peak layer.
        options: of the study.

    Yields:
        Rows of the table ``rates``.
    """
    peak, name, tokenizer = found.peak_layer("current"), model.provenance.name, model.unit_tokenizer
    rate_hz = float(tokenizer.frame_rate_hz)
    yield _row(name, OWN, rate_hz, peak, _read(model, own, options), own, options)
    rates = options.rates_hz if isinstance(tokenizer, MfccKMeans) else (rate_hz,)
    for other_hz in rates:
        clips = own
        if isinstance(tokenizer, MfccKMeans) and other_hz != rate_hz:
            clips = read_clips(model, options.data, tokenizer.at_rate(other_hz))
            read = _read(model, clips, options)
            yield _row(name, AGAIN, other_hz, peak, read, clips, options)
        yield _row(name, UNITS_OWN, other_hz, None, _units_alone(clips, model.vocab.n_units(),
                   options), clips, options)  # fmt: skip
    for pooled_hz in options.pooled_hz:
        read = _pooled(model, own, pooled_hz, options)
        yield _row(name, POOLED, pooled_hz, peak, read, None, options)


def refitted_rows(options: UnitsOptions) -> Iterator[dict[str, Any]]:
    """What units alone say at each rate, with centroids that were fitted at that rate; no model."""
    for rate_hz in options.rates_hz if options.n_clusters else ():
        tokenizer = refitted(options.data, rate_hz, options)
        parts = [
            with_spans(name, tokenizer.encode(waveform), alignment)
            for name, waveform, alignment in sounds(options.data, tokenizer.sample_rate_hz)
        ]
        read = _identity(parts, tokenizer.n_units, options)
        density = [(end - start) for _, _, _, spans in parts for start, end in spans]
        yield _row("", UNITS_REFIT, rate_hz, None, read, None, options) | {
            "units_per_word": float(np.mean(density)),
            "n_words_without_units": density.count(0),
        }


def _row(
    model: str,
    reading: str,
    rate_hz: float,
    layer: int | None,
    words: WordsByLayer,
    clips: Sequence[ReadClip] | None,
    options: UnitsOptions,
) -> dict[str, Any]:
    _, clip = np.unique(np.array(words.clip), return_inverse=True)
    weights = resample_weights(int(clip.max()) + 1, options.n_bootstrap, options.seed)
    curve, control = (Curve.of(v, clip, weights) for v in (words.hits, words.shuffled))
    low, high = curve.interval()
    at = layer or 0
    best = int(curve.estimate.argmax())
    lengths = [e - s for c in clips or () for s, e in c.word_spans()]
    return {
        "model": model,
        "reading": reading,
        "rate_hz": rate_hz,
        "units_per_word": float(np.mean(lengths)) if lengths else None,
        "layer": layer,
        "recall": float(curve.estimate[at]),
        "low": None if np.isnan(low[at]) else float(low[at]),
        "high": None if np.isnan(high[at]) else float(high[at]),
        "shuffled": float(control.estimate[at]),
        "best_layer": None if layer is None else best,
        "best_recall": None if layer is None else float(curve.estimate[best]),
        "n_words": curve.n_words,
        "n_words_without_units": lengths.count(0) if lengths else None,
        "n_clips": len(np.unique(clip)),
    }


def _read(model: HookedSLM, clips: Sequence[ReadClip], options: UnitsOptions) -> WordsByLayer:
    """The whole word, by the word table."""
    lens = word_lens(
        model,
        [c.utterance for c in clips],
        function_words=ENGLISH_FUNCTION_WORDS,
        policy=model.word_policy,
        n_draws=options.n_draws,
        seed=options.seed,
    )
    table = lens.table.sort("utterance", "word_index", "layer")
    if options.words == "content":
        table = table.filter("is_content")
    share = pl.col("shuffled_current_text_max").list
    columns = table.select(
        "utterance",
        hit=(pl.col("rank_current_text_max") <= options.k).cast(pl.Float64),
        shuffled=share.eval((pl.element() <= options.k).cast(pl.Float64)).list.mean(),
    )
    shape = (-1, lens.n_layers + 1)
    hit, shuffled = (
        columns[c].fill_null(np.nan).to_numpy().reshape(shape) for c in ("hit", "shuffled")
    )
    return WordsByLayer(hit, shuffled, columns["utterance"].gather_every(shape[1]).to_list())


def _pooled(
    model: HookedSLM, clips: Sequence[ReadClip], rate_hz: float, options: UnitsOptions
) -> WordsByLayer:
    """Words at the windows that they overlap, of states averaged over time."""
    plan = TargetPlan(
        model.vocab,
        [c.utterance for c in clips],
        policy=model.word_policy,
        function_words=ENGLISH_FUNCTION_WORDS,
        word_counts=None,
        n_draws=options.n_draws,
        seed=options.seed,
    )
    lens, counts = LogitLens(model), counted_word(options)
    hits, shuffled, names = [], [], []
    for number, clip in enumerate(clips):
        words = clip.utterance.sequence.words
        targets = [plan.word(number, words, i) for i, w in enumerate(clip.alignment) if counts(w)]
        targets = [t for t in targets if t.current and t.shuffled_current]
        if not targets:
            continue
        stack = residual_stack(model, clip.utterance.sequence.tokens[None])[:, 0]
        pooled = pool_over_time(stack, clip.times_s, rate_hz)
        spans = torch.tensor([_windows(t.span.start_s, t.span.end_s, rate_hz, pooled.shape[1])
                              for t in targets])  # fmt: skip
        index, own_spans = _side_by_side(spans)
        read = lens.readout_words(
            pooled[:, index],
            own_spans,
            "rank",
            targets=[[t.current, *t.shuffled_current] for t in targets],
            within=["text"],
        )
        below = (read.rank["text"].transpose(0, 1) <= options.k).double().cpu().numpy()
        hits.append(below[..., 0])
        shuffled.append(below[..., 1:].mean(-1))
        names += [clip.name] * len(targets)
    return WordsByLayer(np.concatenate(hits), np.concatenate(shuffled), names)


def _windows(
    start_s: float | None, end_s: float | None, rate_hz: float, n_windows: int
) -> tuple[int, int]:
    assert start_s is not None
    assert end_s is not None
    return windows_of(start_s, end_s, rate_hz, n_windows)


def _side_by_side(
    spans: Int[Tensor, "word 2"],
) -> tuple[Int[Tensor, " place"], Int[Tensor, "word 2"]]:
    """Places of all spans one after another, and where each span is among them.

    Words may share a window; what is read of words takes spans that do not overlap.
    """
    index = torch.cat([torch.arange(start, end) for start, end in spans.tolist()])
    ends = (spans[:, 1] - spans[:, 0]).cumsum(0)
    return index, torch.stack([ends - (spans[:, 1] - spans[:, 0]), ends], 1)


def _units_alone(clips: Sequence[ReadClip], codebook: int, options: UnitsOptions) -> WordsByLayer:
    parts = [with_spans(c.name, c.units, c.alignment) for c in clips]
    return _identity(parts, codebook, options)


def _identity(parts: Sequence[ClipWords], codebook: int, options: UnitsOptions) -> WordsByLayer:
    spoken = spoken_words(parts, codebook, counted_word(options))
    hits, shuffled = identity_hits(spoken, (1.0,), options)
    return WordsByLayer(hits, shuffled, [name for name, _ in spoken.keys])
