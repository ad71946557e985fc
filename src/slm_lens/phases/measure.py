"""From the words of many utterances to the phases of a model.

Three phases are looked for: the spoken word becomes readable in text (implicit transcription),
then the next word does (prediction), then the stream turns back to speech units.

Source: the phases and their order, Sternberg, Maimon and Adi 2026, arXiv:2606.22473; the exact
definitions are ours, and are stated in `Phases`.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import polars as pl

from slm_lens.lens.word_lens import WordLens
from slm_lens.phases._curves import CurveMaker, CurveName, NamedCurve
from slm_lens.phases._words import Words
from slm_lens.phases.bootstrap import Curve, layer_interval, resample_weights
from slm_lens.phases.result import LayerEstimate, Phases, WordSelection
from slm_lens.vocab import require_text

HEADLINE_K = 5
"""Phase layers are where recall at this k is highest."""

SPEECH_THRESHOLD = 0.5
"""Speech mass above which a layer counts as returned to speech."""

_SCHEMA = {
    "model": pl.String,
    "measure": pl.String,
    "control": pl.String,
    "vocab": pl.String,
    "pool": pl.String,
    "k": pl.Int32,
    "layer": pl.Int32,
    "estimate": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "chance": pl.Float64,
    "n_words": pl.Int64,
}


def measure_phases(
    word_lens: WordLens,
    *,
    ks: Sequence[int] = (1, 5, 10),
    words: WordSelection = "content",
    n_bootstrap: int = 2000,
    seed: int = 0,
    current_layers: Sequence[int] | None = None,
    controls: Mapping[str, WordLens] | None = None,
) -> Phases:
    """Curves with intervals, phase layers with intervals, and controls.

    Args:
        word_lens: the word table of a model.
        ks: ranks that count as a hit; 1 and 5 are needed for the summary.
        words: ``"content"`` reads content words only: the current word in the current-word recall
            and in the modality and next-unit curves, the next word in the next-word recall.
            ``"all"`` reads all words.
        n_bootstrap: resamples of utterances; 0 for no intervals.
        seed: seed of the resamples.
        current_layers: layers among which the current-word peak is looked for; None for all, the
            embedding (layer 0) included.
        controls: word tables of other models over the same utterances, such as
            ``{"random weights": word_lens(random_weights(model, seed=0), ...)}``; with the same
            dtype, attention and compatibility mode, since these change the numbers.

    Returns:
        The phases.

    Raises:
        VocabError: the model has no text tokens.
        ValueError: an option is out of range, a table is not complete, a control has other
            utterances, another policy, lens, dtype, attention or compatibility mode, or no
            selected word has a token.

    Source:
        Ours, after Sternberg et al. 2026, arXiv:2606.22473.
    """  # noqa: DOC502 (VocabError is raised by require_text)
    require_text(word_lens.n_text, "measure_phases", word_lens.provenance.model_and_family)
    _check_options(word_lens, ks, words, n_bootstrap, current_layers)
    own = _maker(word_lens, ks, words, n_bootstrap, seed)
    curves = {c.name: c for c in own.all()}
    controls = {} if controls is None else controls
    for name, other in controls.items():
        _check_control(name, other, word_lens, curves.values())
        curves |= {c.name: c for c in _maker(other, ks, words, n_bootstrap, seed).all(name)}
    recall = {
        target: curves[
            CurveName(f"{target}_word_recall", vocab="text", pool=pool, k=HEADLINE_K)
        ].curve
        for target, pool in (("current", "max"), ("next", "last"))
    }
    if not recall["current"].n_words:
        raise ValueError(
            f"measure_phases: none of {int(own.selected['current'].sum())} selected words has a "
            f"token under policy {word_lens.policy!r}, expected at least one. Try words='all' or "
            "another policy."
        )
    speech = curves[CurveName("speech_mass")].curve
    return Phases(
        curves=_frame(word_lens.model, curves.values()),
        provenance=word_lens.provenance,
        control_provenance={name: c.provenance for name, c in controls.items()},
        n_layers=word_lens.n_layers,
        words=words,
        n_utterances=len(own.words.utterances),
        n_words=recall["current"].n_words,
        n_next_words=recall["next"].n_words,
        left_out=_left_out(own),
        **_phase_layers(recall["current"], recall["next"], speech, current_layers),
        policy=word_lens.policy,
        n_draws=word_lens.n_draws,
        n_bootstrap=n_bootstrap,
        seed=seed,
        lens=word_lens.lens,
    )


def _maker(
    word_lens: WordLens, ks: Sequence[int], words: WordSelection, n_bootstrap: int, seed: int
) -> CurveMaker:
    arrays = Words.of(word_lens)
    everything = np.ones(len(arrays.utterance), dtype=bool)
    selected = {
        "current": arrays.is_content if words == "content" else everything,
        "next": arrays.next_is_content if words == "content" else everything,
    }
    weights = resample_weights(len(arrays.utterances), n_bootstrap, seed)
    return CurveMaker(word_lens, arrays, selected, weights, tuple(ks))


def _phase_layers(
    current: Curve, following: Curve, speech: Curve, current_layers: Sequence[int] | None
) -> dict[str, LayerEstimate]:
    """Each phase's layer in the data and, found anew, in every resample."""
    rows = {
        "current_word": _peak(current, current_layers),
        "next_word": _peak(following, None),
    }
    mass = np.vstack([speech.estimate, speech.resamples])
    rows["return_to_speech"] = _return_to_speech(mass, rows["next_word"])
    rows["layer_difference"] = rows["next_word"] - rows["current_word"]
    return {name: _layer_estimate(layers) for name, layers in rows.items()}


def _peak(curve: Curve, layers: Sequence[int] | None) -> np.ndarray:
    """Layer of the highest value, the earliest of ties: of the data, then of each resample."""
    values = np.vstack([curve.estimate, curve.resamples])
    allowed = np.arange(values.shape[1]) if layers is None else np.array(sorted(set(layers)))
    defined = ~np.isnan(values).any(1)
    peaks = np.full(len(values), np.nan)
    peaks[defined] = allowed[values[defined][:, allowed].argmax(1)]
    return peaks


def _return_to_speech(mass: np.ndarray, next_peak: np.ndarray) -> np.ndarray:
    """First layer after the peak from which on mass stays above the threshold; inf for never."""
    stays = np.flip(np.logical_and.accumulate(np.flip(mass > SPEECH_THRESHOLD, 1), 1), 1)
    after = np.arange(mass.shape[1]) > next_peak[:, None]
    qualifies = stays & after
    layers = np.where(qualifies.any(1), qualifies.argmax(1), np.inf)
    return np.where(np.isnan(next_peak) | np.isnan(mass).any(1), np.nan, layers)


def _layer_estimate(layers: np.ndarray) -> LayerEstimate:
    low, high = layer_interval(layers[1:])
    return LayerEstimate(_whole(layers[0]), (_whole(low), _whole(high)))


def _whole(layer: float) -> int | None:
    return int(layer) if np.isfinite(layer) else None


def _left_out(maker: CurveMaker) -> dict[str, int]:
    first = maker.words.frame.gather_every(maker.words.n_layers)
    no_token = first["n_targets_current"].to_numpy() == 0
    no_next_token = first["n_targets_next"].to_numpy() == 0
    meet = first["next_targets_meet"].to_numpy()
    is_last = first["next_word"].is_null().to_numpy()
    current, following = maker.selected["current"], maker.selected["next"]
    return {
        "words without a token": int((current & no_token).sum()),
        "spoken words without a position": sum(maker.word_lens.words_without_positions.values()),
        "words without a next word": int((current & is_last).sum()),
        "next words without a token": int((following & no_next_token & ~meet & ~is_last).sum()),
        "next words whose tokens meet the current word's": int((following & meet).sum()),
    }


def _frame(model: str, curves: Iterable[NamedCurve]) -> pl.DataFrame:
    rows = []
    for c in curves:
        n = c.name
        low, high = c.curve.interval()
        for layer, values in enumerate(zip(c.curve.estimate, low, high, strict=True)):
            where = layer if c.has_layers else None
            fixed = (model, n.measure, n.control, n.vocab, n.pool, n.k, where)
            rows.append((*fixed, *map(float, values), float(c.chance), c.curve.n_words))
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row").fill_nan(None)


def _check_options(
    word_lens: WordLens,
    ks: Sequence[int],
    words: str,
    n_bootstrap: int,
    current_layers: Sequence[int] | None,
) -> None:
    if not {1, HEADLINE_K} <= set(ks) or min(ks) < 1:
        raise ValueError(
            f"measure_phases: got ks={tuple(ks)}, expected ranks >= 1 with 1 and {HEADLINE_K} "
            "among them, which the summary needs."
        )
    if words not in ("content", "all") or n_bootstrap < 0:
        raise ValueError(
            f"measure_phases: got words={words!r}, n_bootstrap={n_bootstrap}; expected words "
            "'content' or 'all', and n_bootstrap >= 0."
        )
    if n_bootstrap and word_lens.table["utterance"].n_unique() < 2:
        raise ValueError(
            f"measure_phases: got one utterance with n_bootstrap={n_bootstrap}, expected at least "
            "two: intervals come from resampled utterances. Pass n_bootstrap=0 for none."
        )
    known = range(word_lens.n_layers + 1)
    if current_layers is not None and (not current_layers or set(current_layers) - set(known)):
        raise ValueError(
            f"measure_phases: got current_layers={list(current_layers)}, expected at least one of "
            f"the layers 0 to {word_lens.n_layers}."
        )


def _check_control(
    name: str, control: WordLens, word_lens: WordLens, curves: Iterable[NamedCurve]
) -> None:
    keys = ("utterance", "word_index", "layer")
    same_words = control.table.select(keys).equals(word_lens.table.select(keys))
    if not same_words or control.policy != word_lens.policy:
        raise ValueError(
            f"measure_phases: control {name!r} has other words, layers or policy than the model, "
            "expected a table of the same utterances, read with the same options."
        )
    if control.lens != word_lens.lens:
        raise ValueError(
            f"measure_phases: control {name!r} was read through the {control.lens}, the model "
            f"through the {word_lens.lens}; expected the same lens, which changes the numbers. "
            "Read both with the same `lens`."
        )
    differences = control.provenance.differences(word_lens.provenance)
    if differences:
        raise ValueError(
            f"measure_phases: control {name!r} was read with {', '.join(differences)}, expected "
            "the dtype, attention and compatibility mode of the model, which change the numbers. "
            "Load it with the same options and read it again."
        )
    taken = {c.name.control for c in curves}
    if name in taken:
        raise ValueError(
            f"measure_phases: got a control named {name!r}, expected another name than {taken}."
        )
