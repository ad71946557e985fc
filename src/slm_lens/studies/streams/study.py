"""Reads switches of modality, and steers what comes after them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import polars as pl
import torch

from slm_lens.corpus.folder import encoded_clips
from slm_lens.lens.logit_lens import LogitLens
from slm_lens.lens.states import choose_forward, provenance_of
from slm_lens.model.hooked import HookedSLM
from slm_lens.studies.streams.findings import findings
from slm_lens.studies.streams.options import OTHER_HALF, StreamsOptions
from slm_lens.studies.streams.reading import read_streams
from slm_lens.studies.streams.runs import Sorted, fit_vector, steered_runs
from slm_lens.studies.streams.steering import outcome_frames, steer, steered_layers
from slm_lens.studies.streams.switches import (
    Clip,
    NamedClip,
    Switch,
    find_switches,
    read_clip,
)
from slm_lens.studies.streams.tables import (
    affinity_table,
    band_table,
    first_word_table,
    inertia_table,
)
from slm_lens.studies.study_result import StudyResult, StudyTable

_CAPTIONS = {
    "first_word": "A row is an affinity of one model over the units of the first word that is "
    "heard, mean over the layers of the band: beside its control at the same place, with a 95 % "
    'interval of the difference over clips and word types; for "less" conditions the other run is '
    "in the place of the control. Own token is chosen by the same states, so that it is above its "
    "control with random weights as well.",
    "inertia": "A row is a model, layers (the band, or one) and a condition: for how many "
    "positions, and ms of sound, after the switch what the model was about to write is not behind "
    "what is heard; mean over switches, where one that never ends counts as all positions that "
    'were read, with 95 % intervals over clips and word types; "less" conditions switch by '
    "switch. Interrupted: after a text; uninterrupted: after speech; alone: after nothing.",
    "chosen": "A row is a metric, a set of switches and a direction, at the layer and alpha that "
    "do most on the other half of the clips (those of the first and of the second half): cost of "
    "the interruption and effect of steering in nats, and recovery, their ratio, with 95 % "
    "intervals over clips; no recovery where the cost is too small to divide by. random_there and "
    "over_random: random vectors at the same layer and alpha, and how much more the vector does.",
    "vectors": "A row is a perception vector at a layer: how its states were sorted (thresholds, "
    "positions above them, share of speech among them), its length, and its cosine with the vector "
    "of the other half.",
    "band": "As affinity, mean over the layers of the band.",
    "affinity": "A row is a condition, a stream, a subset of the vocabulary, a layer and a "
    "position relative to the switch: mean affinity with its 95 % interval over clips, and its "
    "control.",
    "steering": "A row is a metric, a set of switches, a direction, a layer and a strength: mean "
    "effect in nats and recovery, with 95 % intervals over clips.",
}
_INERTIA_ON_PAGE = "inertia_in_band"
_ON_PAGE = (_INERTIA_ON_PAGE, "chosen")
_LONGEST_ON_PAGE = 60


def study_streams(models: Sequence[HookedSLM], options: StreamsOptions) -> StudyResult:
    """Is the model perceiving or generating, and for how long after a switch?

    Args:
        models: with text and unit tokenizers.
        options: what is read, and how it is counted.

    Returns:
        Tables ``first_word``, ``inertia_in_band``, ``chosen``, ``vectors``, ``band``,
        ``affinity``, ``inertia`` and ``steering``.

    Raises:
        VocabError: a model has no text.
        ValueError: `fit_on` is the folder of `data`, or what `study_streams_on` refuses.
    """  # noqa: DOC502 (some raised by the parts)
    if options.fit_on == options.data:
        raise ValueError(
            f"study streams: got fit_on={options.fit_on!r} and the same for data, expected clips "
            f"that the vector is not tested on: another folder, or {OTHER_HALF!r}."
        )
    for model in models:
        model.vocab.require_text("study streams", model.provenance.model_and_family)
    fitted = {} if options.fit_on == OTHER_HALF else {
        m: tuple(encoded_clips(m, options.fit_on)) for m in models
    }  # fmt: skip
    return study_streams_on(
        {m: tuple(encoded_clips(m, options.data)) for m in models}, options, fitted
    )


def study_streams_on(
    clips: Mapping[HookedSLM, Sequence[NamedClip]],
    options: StreamsOptions,
    fit_clips: Mapping[HookedSLM, Sequence[NamedClip]] | None = None,
) -> StudyResult:
    """The study on clips that are there already.

    Args:
        clips: name, units and words of the clips of each model.
        options: how; ``data`` is not used.
        fit_clips: likewise, what the vectors are fitted on; None or empty for the other half.

    Returns:
        As `study_streams`.

    Raises:
        ValueError: too few switches, or layers that a model does not have.
    """  # noqa: DOC502 (raised by the parts)
    tables: dict[str, list[pl.DataFrame]] = {}
    for model, of_model in clips.items():
        others = (fit_clips or {}).get(model, ())
        for name, frame in _of_model(model, of_model, others, options).items():
            tables.setdefault(name, []).append(frame)
    frames = {name: pl.concat(tables[name]) for name in _CAPTIONS}
    captions = dict(_CAPTIONS)
    of_band = frames["inertia"].filter(pl.col("layer").is_null()).drop("layer")
    frames = {"first_word": frames["first_word"], _INERTIA_ON_PAGE: of_band, **frames}
    captions[_INERTIA_ON_PAGE] = _CAPTIONS["inertia"]
    return StudyResult(
        study="streams",
        findings=findings(frames, options),
        tables={
            n: StudyTable(f, captions[n], n in _ON_PAGE and len(f) <= _LONGEST_ON_PAGE)
            for n, f in frames.items()
        },
        provenance={
            m.provenance.name: provenance_of(m, choose_forward(m, "auto", "study streams"))
            for m in clips
        },
        settings=_plain(asdict(options)),
    )


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    return {n: list(v) if isinstance(v, tuple) else v for n, v in settings.items()}


def _of_model(
    model: HookedSLM,
    named: Sequence[NamedClip],
    fit_named: Sequence[NamedClip],
    options: StreamsOptions,
) -> dict[str, pl.DataFrame]:
    name = model.provenance.name
    steered_layers(int(model.cfg.n_layers), options)  # before anything is computed
    clips, switches = _read(model, named, options)
    streams = read_streams(model, clips, switches, options)
    vectors = _vectors(model, switches, fit_named, options)
    clip = np.array([s.clip for s in switches])
    outcomes = [
        outcome
        for runs in steered_runs(model, clips, switches, options)
        for outcome in steer(model, runs, clip, vectors, options)
    ]
    steering, chosen = outcome_frames(name, outcomes, options)
    return {
        "first_word": first_word_table(name, streams, options),
        "inertia": inertia_table(name, streams, options),
        "chosen": chosen,
        "vectors": _vector_table(name, vectors),
        "band": band_table(name, streams, options),
        "affinity": affinity_table(name, streams, options),
        "steering": steering,
    }


def _read(
    model: HookedSLM, named: Iterable[NamedClip], options: StreamsOptions
) -> tuple[tuple[Clip, ...], tuple[Switch, ...]]:
    lens = LogitLens(model)
    clips = tuple(read_clip(model, lens, clip) for clip in named)
    return clips, find_switches(model, clips, options)


def _vectors(
    model: HookedSLM,
    switches: Sequence[Switch],
    fit_named: Sequence[NamedClip],
    options: StreamsOptions,
) -> tuple[Sorted, Sorted]:
    """For each half of the clips a vector that was fitted without them."""
    if fit_named:
        _, others = _read(model, fit_named, options)
        one = fit_vector(model, others, options)
        return one, one
    halves = [[s for s in switches if s.clip % 2 != half] for half in (0, 1)]
    if not all(halves):
        raise ValueError(
            "study streams: got switches in one half of the clips only (those of even or of odd "
            "number), expected some in both, since the vector is fitted on the other half. Give "
            "more clips, or fit_on= another folder."
        )
    return fit_vector(model, halves[0], options), fit_vector(model, halves[1], options)


def _vector_table(model: str, vectors: tuple[Sorted, Sorted]) -> pl.DataFrame:
    rows = []
    for half, one in enumerate(vectors):
        own, other = one.vector.vectors, vectors[1 - half].vector.vectors
        cosines = torch.cosine_similarity(own, other, dim=-1).tolist()
        for layer, (norm, cosine) in enumerate(
            zip(own.norm(dim=-1).tolist(), cosines, strict=True)
        ):
            rows.append(
                {
                    "model": model,
                    "tested_on": ("first half", "second half")[half],
                    "layer": layer,
                    "norm": norm,
                    "cosine_with_other": cosine,
                    "theta_perception": one.theta_perception,
                    "theta_generation": one.theta_generation,
                    "speech_share_perceiving": one.spoken_share[0],
                    "speech_share_generating": one.spoken_share[1],
                    "n_perceiving": one.vector.n_perceiving,
                    "n_generating": one.vector.n_generating,
                }
            )
    return pl.DataFrame(rows)
