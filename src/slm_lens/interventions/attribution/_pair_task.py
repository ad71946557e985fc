"""One pair of runs as attribution sees it: what moves where, and the number that is measured."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from slm_lens.interventions.attribution._runs import record
from slm_lens.interventions.metrics import Metric, Scored
from slm_lens.interventions.pairs.moving import FITS, Fit, Move
from slm_lens.interventions.pairs.run_pair import Direction, RunPair
from slm_lens.lens.logit_lens import LogitLens
from slm_lens.lens.model import SpeechTextModel
from slm_lens.lens.states import provenance_of
from slm_lens.model.provenance import Provenance
from slm_lens.sequence.sequence import SpeechTextSequence


@dataclass(frozen=True, eq=False)
class Question:
    """What is asked of pairs of runs.

    Attributes:
        pairs: the pairs, each with a name of its own.
        metric: what is measured.
        fit: how words of unequal length are brought together.
    """

    pairs: tuple[RunPair, ...]
    metric: Metric
    fit: Fit


@dataclass(frozen=True, eq=False)
class PairTask:
    """A source run, a target run, and the metric of the target run.

    Attributes:
        pair: the pair.
        source: run that activations are taken from.
        target: run that they are put into.
        move: where they go, of all matches together.
        metric: what is measured.
        lens: the model's lens.
        positions: where the metric reads the target run.
        scored: what the target run is scored against.
        source_value: the metric of the source run itself; NaN for a metric that does not compare
            runs.
        given: activations of the source run, by the name of their hook.
    """

    pair: RunPair
    source: SpeechTextSequence
    target: SpeechTextSequence
    move: Move
    metric: Metric
    lens: LogitLens
    positions: tuple[int, ...]
    scored: Scored
    source_value: float
    given: Mapping[str, Tensor]

    def measure(self, states: Float[Tensor, "pos d_model"]) -> Tensor:
        """The metric of a run of the target's length, from its last-layer states."""
        return self.metric(self.lens, states[None, list(self.positions)], self.scored)[0]

    @torch.no_grad()
    def value(self, states: Float[Tensor, "pos d_model"]) -> float:
        """`measure` as a number."""
        return float(self.measure(states))

    @torch.no_grad()
    def values(self, states: Float[Tensor, "batch n_scored d_model"]) -> Float[Tensor, " batch"]:
        """The metric of several runs, from their states at `positions`."""
        return self.metric(self.lens, states, self.scored)

    def moved(self, source: Tensor, target: Tensor) -> Tensor:
        """The target run's activations with the source run's at positions that have a match."""
        whole = target.clone()
        whole[self.move.targets.to(target.device)] = self.move(source).to(target.dtype)
        return whole

    def difference(self, source: Tensor, target: Tensor) -> Tensor:
        """What moving adds to the target run's activations: zero where nothing has a match."""
        return self.moved(source, target) - target


def pair_task(
    model: Any,
    lens: LogitLens,
    question: Question,
    pair: RunPair,
    direction: Direction,
    names: Iterable[str],
) -> PairTask:
    """Make the task of one pair; runs the source, once.

    Args:
        model: the model.
        lens: its lens.
        question: what is asked.
        pair: one of its pairs.
        direction: which run gives and which one gets.
        names: hooks of which the source's activations are wanted.

    Returns:
        The task.
    """
    metric = question.metric
    source, target = pair.runs(direction)
    last = f"blocks.{model.cfg.n_layers - 1}.hook_resid_post"
    given = record(model, source.tokens, dict.fromkeys([*names, last]))
    states = given[last]

    def scored(sequence: SpeechTextSequence, positions: Sequence[int]) -> Scored:
        return Scored(pair.answer, pair.foil, _following(sequence, positions), states[-1:])

    read_source, read_target = metric.positions(source), metric.positions(target)
    with torch.no_grad():
        value = metric(lens, states[None, list(read_source)], scored(source, read_source))
    if not metric.comparable:
        value = value * torch.nan
    return PairTask(
        pair=pair,
        source=source,
        target=target,
        move=pair.move(pair.matches, direction, question.fit),
        metric=metric,
        lens=lens,
        positions=read_target,
        scored=scored(target, read_target),
        source_value=float(value),
        given=given,
    )


def check_question(model: Any, question: Question, caller: str, *, gradients: bool) -> None:
    """Refuse what no attribution can answer.

    Args:
        model: the model.
        question: what is asked.
        caller: the public function, to begin messages with.
        gradients: whether the metric must have gradients.

    Raises:
        TypeError: something else than pairs and a metric.
        ValueError: training mode, no pair, two of one name, a metric without gradients, or an
            unknown fit.
    """
    strange = sorted({type(x).__name__ for x in question.pairs if not isinstance(x, RunPair)})
    if strange or not isinstance(question.metric, Metric):
        raise TypeError(
            f"{caller}: got {strange} among the pairs and {type(question.metric).__name__} as the "
            "metric, expected RunPair, and a Metric: what logit_difference() gives, with its "
            "brackets."
        )
    if model.training:
        raise ValueError(
            f"{caller}: got a model in training mode, expected evaluation mode (dropout would "
            "change every number). Call `model.eval()`."
        )
    names = [pair.name for pair in question.pairs]
    if not names or len(set(names)) != len(names):
        raise ValueError(
            f"{caller}: got pairs named {names[:5]}, expected at least one, each with a name of "
            "its own."
        )
    if gradients and not question.metric.differentiable:
        raise ValueError(
            f"{caller}: got the metric {question.metric.name!r}, which has no gradients, "
            "expected one that has: logit_difference, log_prob, divergence, modality_mass or "
            "next_unit_log_prob."
        )
    if question.fit not in FITS:
        raise ValueError(f"{caller}: got fit={question.fit!r}, expected one of {FITS}.")


def same_value(one: float, other: float) -> bool:
    """Whether two metrics differ by rounding only, or not at all (NaN): nothing to share out.

    The same run through two forward passes in float32: measured at most 1e-6 of its metric.
    """
    return not abs(one - other) > 1e-5 * max(1.0, abs(one), abs(other))


def provenance_if_known(model: Any) -> Provenance | None:
    """What numbers of the hooked forward depend on; None for a bridge that does not say."""
    return provenance_of(model, "hooked") if isinstance(model, SpeechTextModel) else None


def _following(sequence: SpeechTextSequence, positions: Sequence[int]) -> Int[Tensor, " n_scored"]:
    padded = torch.cat([sequence.tokens, sequence.tokens.new_tensor([-1])])
    return padded[torch.tensor(positions) + 1]
