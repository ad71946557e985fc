"""What is steered, what it is scored by, and the vectors that steer it.

| metric | in the interrupted run | higher means |
|---|---|---|
| ``next word`` | log-probability, at ``<text>``, of the word after the one that was heard | heard |
| ``word again`` | log-probability of the heard word where it is next written | remembered |
| ``next unit`` | mean log-probability of the units of the heard word | sounds expected |

Each has its counterpart in a run with the same tokens to predict, in which the words before the
switch are spoken too. ``word again`` counts words that did not occur before the switch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from slm_lens.interventions.metrics import Metric, log_prob, next_unit_log_prob
from slm_lens.interventions.runs.measured_run import MeasuredRun, Meter
from slm_lens.interventions.steering.perception_vector import PerceptionVector, perception_vector
from slm_lens.lens.affinity import affinity
from slm_lens.lens.logit_lens import LogitLens
from slm_lens.lens.states import residual_stack
from slm_lens.model.hooked import HookedSLM
from slm_lens.sequence.function_words import word_type
from slm_lens.sequence.sequence import SpeechTextSequence
from slm_lens.studies.streams.options import StreamsOptions
from slm_lens.studies.streams.reading import band_layers
from slm_lens.studies.streams.switches import Clip, Switch, words_until

NEXT_WORD, WORD_AGAIN, NEXT_UNIT = "next word", "word again", "next unit"


@dataclass(frozen=True, eq=False)
class Steered:
    """Runs of some switches.

    Attributes:
        metrics: what is measured on them.
        numbers: their switches.
        runs: what is steered, from the speech marker on.
        uninterrupted: the metrics without a text before, ``[metric, run]``.
    """

    metrics: Mapping[str, Metric]
    numbers: tuple[int, ...]
    runs: tuple[MeasuredRun, ...]
    uninterrupted: Float[np.ndarray, "metric run"]


def steered_runs(
    model: HookedSLM, clips: Sequence[Clip], switches: Sequence[Switch], options: StreamsOptions
) -> tuple[Steered, ...]:
    """Runs for all metrics.

    Args:
        model: the model.
        clips: the clips.
        switches: their switches.
        options: how many positions are steered.

    Returns:
        Those that end when the first word was heard; and those that go on in text up to where it
        is said again, if there are any.
    """
    lens = LogitLens(model)
    at_once: list[_Pair] = []
    again: list[_Pair] = []
    for number, switch in enumerate(switches):
        clip = clips[switch.clip]
        at_once.append(_pair(model, clip, number, switch, switch.word + 1, options))
        later = _said_again(clip, switch.word)
        if later is not None:
            again.append(_pair(model, clip, number, switch, later, options))
    found = [_measured(model, lens, at_once, {NEXT_WORD: log_prob(), NEXT_UNIT: _next_unit})]
    if again:
        found.append(_measured(model, lens, again, {WORD_AGAIN: log_prob()}))
    return tuple(found)


@dataclass(frozen=True, eq=False)
class _Pair:
    """A run with a text before the switch, and one without; both predict the same."""

    number: int
    interrupted: MeasuredRun
    uninterrupted: MeasuredRun
    first_unit: int


def _said_again(clip: Clip, word: int) -> int | None:
    """Index of the next mention of a word that was not mentioned before."""
    types = [word_type(w.word) for w in clip.alignment]
    if types[word] in types[:word]:
        return None
    later = [i for i in range(word + 1, len(types)) if types[i] == types[word]]
    return later[0] if later else None


def _pair(
    model: HookedSLM,
    clip: Clip,
    number: int,
    switch: Switch,
    predicted: int,
    options: StreamsOptions,
) -> _Pair:
    """Words up to the switch written or spoken, the first heard one spoken, the rest written."""
    part = words_until(clip, predicted, first_spoken=switch.word)
    answer = model.vocab.word_tokens(clip.spoken.words[predicted].word, model.word_policy)
    sequences: list[SpeechTextSequence] = []
    for spoken_before in (False, True):
        spoken = [i == switch.word or (spoken_before and i < switch.word) for i in range(predicted)]
        sequences.append(
            model.sequence_interleaved(clip.units, part, spoken=spoken, continue_in="text")
        )
    starts = [s.words[switch.word].start - 1 for s in sequences]
    ends = [
        min(start + options.steered_positions, len(s))
        for start, s in zip(starts, sequences, strict=True)
    ]
    runs = [
        MeasuredRun(switch.name, s, (start, end), answer)
        for s, start, end in zip(sequences, starts, ends, strict=True)
    ]
    return _Pair(number, *runs, first_unit=starts[1])


def _measured(
    model: HookedSLM, lens: LogitLens, pairs: Sequence[_Pair], metrics: Mapping[str, Metric]
) -> Steered:
    values = []
    for pair in pairs:
        run = pair.uninterrupted
        of_run = {
            n: next_unit_log_prob(start=pair.first_unit) if n == NEXT_UNIT else m
            for n, m in metrics.items()
        }
        last = residual_stack(model, run.sequence.tokens[None])[-1, 0]
        values.append(Meter(lens, run, of_run, last).baseline.double().numpy())
    return Steered(
        metrics=metrics,
        numbers=tuple(p.number for p in pairs),
        runs=tuple(p.interrupted for p in pairs),
        uninterrupted=np.stack(values, 1),
    )


_next_unit = next_unit_log_prob()
"""The units of an interrupted run are those of the one word that is heard."""


@dataclass(frozen=True, eq=False)
class Sorted:
    """A vector, and how the states behind it were sorted.

    Attributes:
        vector: the vector.
        theta_perception: threshold of the affinity to what is heard.
        theta_generation: threshold of the affinity to what the model gives.
        spoken_share: share of speech among perceiving and among generating positions.
    """

    vector: PerceptionVector
    theta_perception: float
    theta_generation: float
    spoken_share: tuple[float, float]


def fit_vector(model: HookedSLM, switches: Sequence[Switch], options: StreamsOptions) -> Sorted:
    """The perception vector of some switches.

    Args:
        model: the model.
        switches: whose interrupted runs are sorted.
        options: band and quantile.

    Returns:
        The vector with its thresholds.
    """
    lens, band = LogitLens(model), band_layers(int(model.cfg.n_layers), options.band)
    runs = [_until(s.interrupted, s.at + options.horizon + 1) for s in switches]
    sorted_by = [_sorting(model, lens, run, band, options) for run in runs]
    perception, generation = ([s[i] for s in sorted_by] for i in (0, 1))
    thetas = [
        float(torch.cat(values).nanquantile(options.quantile))
        for values in (perception, generation)
    ]
    vector = perception_vector(
        model,
        runs,
        perception,
        generation,
        theta_perception=thetas[0],
        theta_generation=thetas[1],
    )
    is_spoken = torch.tensor([kind == "speech" for run in runs for kind in run.kinds])
    shares = [
        float(is_spoken[torch.cat(values) > theta].float().mean())
        for values, theta in zip((perception, generation), thetas, strict=True)
    ]
    return Sorted(vector, thetas[0], thetas[1], (shares[0], shares[1]))


def _until(sequence: SpeechTextSequence, end: int) -> SpeechTextSequence:
    words = tuple(replace(w, end=min(w.end, end)) for w in sequence.words if w.start < end)
    return SpeechTextSequence(sequence.tokens[:end], sequence.kinds[:end], words)


def _sorting(
    model: HookedSLM,
    lens: LogitLens,
    run: SpeechTextSequence,
    band: tuple[int, int],
    options: StreamsOptions,
) -> tuple[Float[Tensor, " pos"], Float[Tensor, " pos"]]:
    """Affinities in the band to the word that is heard, and to the token that the model gives."""
    stack = residual_stack(model, run.tokens[None])[:, 0]
    top = lens.readout(stack[-1], "top_k", within=["full"], k=1).top_k["full"].ids[:, 0].tolist()
    heard: list[tuple[int, ...]] = [()] * len(run)
    for word in run.words:
        if word.modality == "speech":
            tokens = model.vocab.word_tokens(word.word, model.word_policy)
            heard[word.start : word.end] = [tokens] * (word.end - word.start)
    sets = [[h, (t,)] for h, t in zip(heard, top, strict=True)]
    read = affinity(lens, stack[band[0] : band[1] + 1], sets, within=("text", "full"))
    return read.of[options.within][..., 0].mean(0), read.of["full"][..., 1].mean(0)
