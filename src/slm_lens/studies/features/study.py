"""Trains dictionaries at some layers, tags their features, and steers with some of them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import polars as pl

from slm_lens.features.dashboard import FeatureDashboard, feature_dashboard
from slm_lens.lens.states import provenance_of
from slm_lens.model.hooked import HookedSLM
from slm_lens.phases.random_weights import random_weights
from slm_lens.studies.features.data import FeatureData, feature_data
from slm_lens.studies.features.dictionaries import (
    Dictionary,
    Found,
    dictionaries,
)
from slm_lens.studies.features.findings import findings_of
from slm_lens.studies.features.options import FeaturesOptions
from slm_lens.studies.features.reads import Reads, read_all
from slm_lens.studies.features.steering import choose_layer, dose_curves, steering_table
from slm_lens.studies.study_result import StudyResult, StudyTable

DASHBOARD = "page_"
"""Before the names of the tables that the page of features is drawn from."""


def study_features(models: Sequence[HookedSLM], options: FeaturesOptions) -> StudyResult:
    """Which features are speech, text, or both?

    Args:
        models: one or more models with text tokens and a unit tokenizer.
        options: how.

    Returns:
        The tables ``layers``, ``variance``, ``words``, ``features``, ``feature_words``,
        ``steering``, ``doses``, and those of the page of features.

    Raises:
        VocabError: a model has no text.
        ValueError: options that do not fit the model or the data.
    """  # noqa: DOC502 (some raised by the parts)
    for model in models:
        model.vocab.require_text("study features", model.provenance.model_and_family)
    return study_features_on({m: feature_data(m, options) for m in models}, options)


def study_features_on(
    data: Mapping[HookedSLM, FeatureData], options: FeaturesOptions
) -> StudyResult:
    """The study on utterances that are there already.

    Args:
        data: utterances of each model.
        options: how; ``data`` and ``train_on`` are not used.

    Returns:
        As `study_features`.
    """
    tables: dict[str, list[pl.DataFrame]] = {}
    for model, of_model in data.items():
        name = model.provenance.name
        for table, frame in _of_model(model, of_model, options).items():
            named = frame.select(pl.lit(name).alias("model"), pl.all())
            tables.setdefault(table, []).append(named)
    frames = {table: pl.concat(parts, how="diagonal") for table, parts in tables.items()}
    return StudyResult(
        study="features",
        findings=findings_of(frames, options),
        tables={
            name: StudyTable(frame, _CAPTIONS[name], name in _ON_PAGE)
            for name, frame in frames.items()
        },
        provenance={m.provenance.name: provenance_of(m, "fast") for m in data},
        settings=asdict(options) | {"layers": _plain(options.layers)},
    )


def _plain(layers: tuple[int, ...] | None) -> list[int] | None:
    return None if layers is None else list(layers)


def chosen_layers(n_layers: int, options: FeaturesOptions) -> tuple[int, ...]:
    """Layers at which dictionaries are trained.

    Args:
        n_layers: blocks of the model.
        options: layers, if some were asked for.

    Returns:
        Those, or the embedding, the last layer and three at quarters of the way, rising.

    Raises:
        ValueError: a layer that the model does not have, or the JumpReLU dictionary is of another.
    """
    if options.layers is None:
        chosen = tuple(sorted({round(q * n_layers / 4) for q in range(5)}))
    else:
        chosen = tuple(sorted(set(options.layers)))
    outside = [layer for layer in chosen if not 0 <= layer <= n_layers]
    if not chosen or outside or options.jump_layer not in (None, *chosen):
        raise ValueError(
            f"study features: got layers={options.layers} and jump_layer={options.jump_layer}, "
            f"expected layers from 0 to {n_layers}, and jump_layer one of them."
        )
    return chosen


def _of_model(
    model: HookedSLM, data: FeatureData, options: FeaturesOptions
) -> dict[str, pl.DataFrame]:
    layers = chosen_layers(int(model.cfg.n_layers), options)
    jump = layers[len(layers) // 2] if options.jump_layer is None else options.jump_layer
    untrained = random_weights(model, seed=options.seed)
    reads = (read_all(model, data, layers, options), read_all(untrained, data, layers, options))
    found: dict[tuple[int, Dictionary], Found] = {}
    for layer in layers:
        of_layer = dictionaries(model, untrained, reads, layer, options, has_jump=layer == jump)
        found |= {(layer, name): one for name, one in of_layer}
    tables = _tables(found)
    at = choose_layer(tables["words"], int(model.cfg.n_layers), options)
    shown = found[at, "batch_topk"]
    steering = steering_table(model, shown, data, at, options)
    if len(steering):
        tables |= {"steering": steering, "doses": dose_curves(steering, options)}
    dashboard = _dashboard(model, shown, reads[0], options)
    return tables | {DASHBOARD + name: frame for name, frame in dashboard.tables.items()}


def _tables(found: Mapping[tuple[int, Dictionary], Found]) -> dict[str, pl.DataFrame]:
    every = found.values()
    trained = [f for (_, name), f in found.items() if name in ("batch_topk", "jumprelu")]
    return {
        "layers": pl.DataFrame([f.layer_row for f in every], infer_schema_length=None),
        "tags": pl.DataFrame([r for f in every for r in f.of_tags], infer_schema_length=None),
        "variance": pl.DataFrame([r for f in every for r in f.variance], infer_schema_length=None),
        "words": pl.DataFrame([r for f in every for r in f.words], infer_schema_length=None),
        "features": pl.concat([f.features for f in trained]),
        "feature_words": pl.concat([f.purest for f in trained]),
    }


def _dashboard(
    model: HookedSLM, found: Found, reads: Reads, options: FeaturesOptions
) -> FeatureDashboard:
    """Features that are worth a look: of each tag those that stand best for a word."""
    f1 = pl.max_horizontal("f1_speech", "f1_text").fill_null(0.0)
    ranked = found.features.with_columns(f1.alias("best_f1")).sort(
        ["best_f1", "feature"], descending=[True, False]
    )
    each = max(1, options.n_shown // 3)
    parts = [ranked.filter(tag=tag).head(each) for tag in ("mixed", "speech", "text")]
    known = pl.concat(parts).drop("best_f1", "n_active", "mean_active")
    n_clips = reads.n_clips
    examples = _pure(reads, n_clips)
    return feature_dashboard(model, found.sae, known, reads.tagging, examples)


def _pure(reads: Reads, n_clips: int) -> Any:
    """Held-out documents of one modality: the spoken and the written ones."""
    held = reads.held_out
    rows = held.utterance < 2 * n_clips
    return replace(
        held,
        states=held.states[:, rows],
        utterances=held.utterances[: 2 * n_clips],
        utterance=held.utterance[rows],
        position=held.position[rows],
        kind=held.kind[rows],
    )


_ON_PAGE = ("layers", "doses")
_OF_PAGE = "what the page of features is drawn from, see FeatureDashboard"
_CAPTIONS = {
    "layers": "A row is a dictionary of a layer. explained_...: explained variance on held-out "
    "documents at positions of speech and of text, with 95 % intervals over clips; l0: active "
    "features of a position; speech, text, mixed: shares of the n_tagged features, with a 95 % "
    "interval over features for mixed, and its share under shuffled labels of modality; n_rare and "
    "n_dead: features that are active at too few positions for a tag, or at none.",
    "tags": "A row is a dictionary of a layer and a tag: share of its n_tagged features, with a "
    "95 % interval over features, and the mean share under shuffled labels of modality. Tags go by "
    "a sample of n_positions, half of them speech.",
    "variance": "A row is a dictionary of a layer and a kind of position: explained variance with "
    "95 % intervals over clips, and active features of a position (l0).",
    "words": "A row is a dictionary of a layer, the modality of words and whether it is the word "
    "that is read (current) or the next one. share: of n_words frequent words those that some "
    "feature stands for, with an F1 of at least least_f1 on other utterances, 95 % interval over "
    "words; chance: the same with words shuffled among occurrences. modality both: one and the "
    "same feature stands for the word spoken and written; chance: for the word spoken and another "
    "one written.",
    "features": "A row is a feature of a trained dictionary: tag, share of speech among its top "
    "positions, active positions of the balanced sample, words at which it is most active, and the "
    "word it stands for best in either modality with F1 and AUROC on other utterances.",
    "feature_words": "A row is a feature, a modality and a role: the word that the feature stands "
    "for best, with F1 and AUROC on other utterances, n_words occurrences against n_others.",
    "steering": "A row is a prompt, a feature, a strength and a direction (the feature's, or that "
    "of another feature at the same length): log-probability in nats. reading: the word after a "
    "written prompt (written), the word among all text after a spoken prompt (heard), its first "
    "unit after a spoken prompt (spoken).",
    "doses": "A row is a reading and a strength: mean change of the log-probability in nats over "
    "features and prompts, by the features and by others of the same length (control), with 95 % "
    "intervals over prompts.",
    "page_features": f"A row is a feature; {_OF_PAGE}.",
    "page_activations": f"A row is a feature at a position; {_OF_PAGE}.",
    "page_positions": f"A row is a position; {_OF_PAGE}.",
    "page_words": f"A row is a word; {_OF_PAGE}.",
}
