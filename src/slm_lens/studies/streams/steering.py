"""Steering from the switch on: what it changes, by layer, strength and direction."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from jaxtyping import Float, Int

from slm_lens.interventions.steering.dose_response import DoseResponse, dose_response
from slm_lens.interventions.steering.steered import linear_decay
from slm_lens.model.hooked import HookedSLM
from slm_lens.studies.streams.options import StreamsOptions
from slm_lens.studies.streams.recovery import recovery
from slm_lens.studies.streams.runs import Sorted, Steered

MU, MINUS_MU, RANDOM = "mu", "minus mu", "random"
ALL, COSTLY = "all", "costly"
"""Which switches: all, or those at which the interruption itself costs `min_gap` or more."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """One metric under steering.

    Attributes:
        metric: its name.
        clip: clip of each switch.
        half: which half of the clips it is in.
        interrupted: the metric without steering, ``[switch]``.
        uninterrupted: without a text before.
        steered: by direction, ``[switch, layer, alpha]``; of random directions the mean.
        layers: where was steered, counted as in `residual_stack`.
        alphas: strengths.
    """

    metric: str
    clip: Int[np.ndarray, " switch"]
    half: Int[np.ndarray, " switch"]
    interrupted: Float[np.ndarray, " switch"]
    uninterrupted: Float[np.ndarray, " switch"]
    steered: Mapping[str, Float[np.ndarray, "switch layer alpha"]]
    layers: tuple[int, ...]
    alphas: tuple[float, ...]

    def chosen(self, which: str, min_gap: float) -> Int[np.ndarray, " n"]:
        """Numbers of the switches that count."""
        costly = self.uninterrupted - self.interrupted >= min_gap
        return np.flatnonzero(costly if which == COSTLY else np.ones_like(costly))


def steered_layers(n_layers: int, options: StreamsOptions) -> tuple[int, ...]:
    """Layers at which is steered.

    Args:
        n_layers: blocks of the model.
        options: which were asked for.

    Returns:
        They, as in `residual_stack`.

    Raises:
        ValueError: the model has no such layer, or one stands twice.
    """
    chosen = tuple(range(1, n_layers + 1)) if options.layers is None else options.layers
    if (
        not chosen
        or len(set(chosen)) < len(chosen)
        or not 1 <= min(chosen) <= max(chosen) <= (n_layers)
    ):
        raise ValueError(
            f"study streams: got layers={chosen}, expected layers from 1 to {n_layers}, each once: "
            "layer l is the output of block l - 1."
        )
    return chosen


def steer(
    model: HookedSLM,
    steered: Steered,
    clip: Int[np.ndarray, " switch"],
    vectors: Sequence[Sorted],
    options: StreamsOptions,
) -> list[Outcome]:
    """Measure runs at every layer and strength.

    Args:
        model: the model.
        steered: the runs.
        clip: clip of every switch of the study.
        vectors: that of each half, fitted on the other one.
        options: layers, strengths, number of random vectors.

    Returns:
        An outcome for each metric.
    """
    numbers = np.array(steered.numbers)
    half = clip[numbers] % 2
    at = steered_layers(int(model.cfg.n_layers), options)
    own = torch.stack([vectors[h].vector.vectors[list(at)] for h in half.tolist()])
    response = dose_response(
        model,
        steered.runs,
        own,
        [*options.alphas, *(-a for a in options.alphas)],
        steered.metrics,
        layers=[layer - 1 for layer in at],  # blocks whose output is that layer
        schedule=linear_decay(options.steered_positions),
        n_random=options.n_random,
        n_bootstrap=0,
        seed=options.seed,
        progress=False,
    )
    return [
        Outcome(
            metric=metric,
            clip=clip[numbers],
            half=half,
            interrupted=response.baseline[m].double().numpy(),
            uninterrupted=steered.uninterrupted[m],
            steered=_by_direction(response, m, len(options.alphas)),
            layers=at,
            alphas=options.alphas,
        )
        for m, metric in enumerate(steered.metrics)
    ]


def _by_direction(response: DoseResponse, metric: int, n_alphas: int) -> dict[str, np.ndarray]:
    """A random direction and its opposite are two draws."""
    values = response.values[metric].double().numpy()
    control = response.control[metric].double().numpy().mean(-1)
    return {
        MU: values[..., :n_alphas],
        MINUS_MU: values[..., n_alphas:],
        RANDOM: (control[..., :n_alphas] + control[..., n_alphas:]) / 2,
    }


def steering_rows(
    model: str, outcome: Outcome, options: StreamsOptions
) -> Iterator[dict[str, Any]]:
    """Every layer, strength and direction of a metric.

    Args:
        model: its name.
        outcome: what was measured.
        options: of the study.

    Yields:
        A row for each, over all switches and over the costly ones.
    """
    gap = outcome.uninterrupted - outcome.interrupted
    for which in (ALL, COSTLY):
        chosen = outcome.chosen(which, options.min_gap)
        if not len(chosen):
            continue
        for direction, steered in outcome.steered.items():
            effect = (steered - outcome.interrupted[:, None, None])[chosen]
            cells = effect.reshape(len(chosen), -1)
            found = recovery(cells, gap[chosen], outcome.clip[chosen], options)
            for i, (layer, alpha) in enumerate(np.ndindex(effect.shape[1:])):
                yield {
                    "model": model,
                    "metric": outcome.metric,
                    "switches": which,
                    "direction": direction,
                    "layer": outcome.layers[layer],
                    "alpha": outcome.alphas[alpha],
                    **{name: column[i] for name, column in found.items()},
                    "n_switches": len(chosen),
                    "n_clips": len(np.unique(outcome.clip[chosen])),
                }


def chosen_rows(model: str, outcome: Outcome, options: StreamsOptions) -> Iterator[dict[str, Any]]:
    """The same where layer and strength are those that do most on the other half of the clips.

    Args:
        model: its name.
        outcome: what was measured.
        options: of the study.

    Yields:
        A row for the vector and for its opposite, over all switches and over the costly ones,
        with the cost of the interruption beside it, and what random vectors do at the same layers
        and strengths.
    """
    gap = outcome.uninterrupted - outcome.interrupted
    for which in (ALL, COSTLY):
        chosen = outcome.chosen(which, options.min_gap)
        half = outcome.half[chosen]
        if len(np.unique(half)) < 2:
            continue
        cost = recovery(gap[chosen, None], gap[chosen], outcome.clip[chosen], options)
        for direction in (MU, MINUS_MU):
            steered = outcome.steered[direction]
            effect = (steered - outcome.interrupted[:, None, None])[chosen]
            cells = effect.reshape(len(chosen), -1)
            best = [int(cells[half != h].mean(0).argmax()) for h in (0, 1)]
            at = np.arange(len(chosen)), np.array(best)[half]
            random = (outcome.steered[RANDOM] - outcome.interrupted[:, None, None])[chosen]
            own, same = cells[at], random.reshape(len(chosen), -1)[at]
            found = recovery(own[:, None], gap[chosen], outcome.clip[chosen], options)
            over = recovery((own - same)[:, None], gap[chosen], outcome.clip[chosen], options)
            yield {
                "model": model,
                "metric": outcome.metric,
                "switches": which,
                "direction": direction,
                "cells": " and ".join(_cell(outcome, b) for b in best),
                "uninterrupted": float(outcome.uninterrupted[chosen].mean()),
                "interrupted": float(outcome.interrupted[chosen].mean()),
                **_renamed(cost, "cost"),
                **{name: column[0] for name, column in found.items()},
                "random_there": float(same.mean()),
                **_renamed(over, "over_random"),
                "n_switches": len(chosen),
                "n_clips": len(np.unique(outcome.clip[chosen])),
            }


def _renamed(found: Mapping[str, list[float | None]], name: str) -> dict[str, float | None]:
    """Effects of a single cell under another name."""
    return {n.replace("effect", name): c[0] for n, c in found.items() if "effect" in n}


def _cell(outcome: Outcome, number: int) -> str:
    layer, alpha = divmod(number, len(outcome.alphas))
    return f"layer {outcome.layers[layer]}, {outcome.alphas[alpha]:g}"


def outcome_frames(
    model: str, outcomes: Sequence[Outcome], options: StreamsOptions
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The tables ``steering`` and ``chosen``.

    Args:
        model: its name.
        outcomes: what was measured.
        options: of the study.

    Returns:
        Both.
    """
    every = [r for o in outcomes for r in steering_rows(model, o, options)]
    best = [r for o in outcomes for r in chosen_rows(model, o, options)]
    return pl.DataFrame(every, schema=_STEERING), pl.DataFrame(best, schema=_CHOSEN)


_ENDS = ("effect", "effect_low", "effect_high", "recovery", "recovery_low", "recovery_high")
_NAMES = dict.fromkeys(("model", "metric", "switches", "direction"), pl.String)
_COUNTS = dict.fromkeys(("n_switches", "n_clips"), pl.Int64)
_STEERING = {
    **_NAMES,
    "layer": pl.Int64,
    "alpha": pl.Float64,
    **dict.fromkeys(_ENDS, pl.Float64),
    **_COUNTS,
}
_CHOSEN = {
    **_NAMES,
    "cells": pl.String,
    **dict.fromkeys(
        (
            *("uninterrupted", "interrupted", "cost", "cost_low", "cost_high", *_ENDS),
            *("random_there", "over_random", "over_random_low", "over_random_high"),
        ),
        pl.Float64,
    ),
    **_COUNTS,
}
