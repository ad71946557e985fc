"""A run on which the effect of a change is measured, and the reading of its metrics."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from slm_lens.interventions.changing import EVERYWHERE, OpenSpan, check_span
from slm_lens.interventions.metrics import Metric, Scored
from slm_lens.interventions.runs.patched_runs import Cell, Engine, PatchedRuns
from slm_lens.interventions.site import Site
from slm_lens.lens.logit_lens import LogitLens
from slm_lens.lens.model import LensModel, SpeechTextModel
from slm_lens.lens.states import provenance_of
from slm_lens.model.provenance import Provenance
from slm_lens.phases.bootstrap import Curve, resample_weights
from slm_lens.sequence.sequence import SpeechTextSequence


@dataclass(frozen=True, eq=False)
class MeasuredRun:
    """A run that is changed, and what it is scored against.

    Attributes:
        name: unique in a set of runs.
        sequence: what the model reads.
        span: half-open positions that are changed; an end of None is the end of the run.
        answer: token ids that count as the answer, for metrics that need one.
        foil: token ids that the answer is compared with.

    Raises:
        ValueError: the span holds no position of the run.
    """

    name: str
    sequence: SpeechTextSequence
    span: OpenSpan = EVERYWHERE
    answer: tuple[int, ...] = ()
    foil: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_span(self.span, f"MeasuredRun {self.name!r}")
        last = len(self.sequence)
        if self.span[0] >= last or (self.span[1] is not None and self.span[1] > last):
            raise ValueError(
                f"MeasuredRun {self.name!r}: got the span {self.span} of a run of {last} tokens, "
                f"expected positions from 0 up to {last}."
            )

    @property
    def positions(self) -> range:
        """Positions that are changed."""
        start, end = self.span
        return range(start, len(self.sequence) if end is None else end)


def check_names(runs: Sequence[MeasuredRun], caller: str) -> None:
    """Refuse runs that no table can be made of.

    Args:
        runs: the runs.
        caller: the public function, to begin messages with.

    Raises:
        ValueError: there is none, or a name occurs twice.
    """
    twice = [name for name, n in Counter(run.name for run in runs).items() if n > 1]
    if not runs or twice:
        raise ValueError(
            f"{caller}: got {len(runs)} runs with the repeated names {twice[:4]}, expected at "
            "least one, each with a name of its own."
        )


def check_runs(
    runs: Sequence[MeasuredRun],
    metrics: Mapping[str, Metric],
    caller: str,
    example: str = '{"answer": log_prob()}',
) -> None:
    """Refuse runs and metrics that no table can be made of.

    Args:
        runs: the runs.
        metrics: the metrics by their names.
        caller: the public function, to begin messages with.
        example: metrics as that function takes them.

    Raises:
        TypeError: the metrics have no names.
        ValueError: there is no run or metric, or a name occurs twice.
    """
    check_names(runs, caller)
    if not isinstance(metrics, Mapping):
        raise TypeError(
            f"{caller}: got metrics as a {type(metrics).__name__}, expected them by the names that "
            f"tables are to have. Give metrics={example}."
        )
    if not metrics:
        raise ValueError(f"{caller}: got no metric, expected at least one, such as {example}.")


class Meter:
    """The metrics of one run, read from last-layer states.

    Args:
        lens: the model's lens.
        run: the run.
        metrics: the metrics by their names.
        unchanged: last-layer states of the run without changes.

    Attributes:
        positions: positions that the metrics read, rising.
        baseline: the metrics of the run without changes.
    """

    positions: tuple[int, ...]
    baseline: Float[Tensor, " metric"]

    def __init__(
        self,
        lens: LogitLens,
        run: MeasuredRun,
        metrics: Mapping[str, Metric],
        unchanged: Float[Tensor, "pos d_model"],
    ) -> None:
        self._lens, self._metrics = lens, list(metrics.values())
        read = [metric.positions(run.sequence) for metric in self._metrics]
        self.positions = tuple(sorted({p for of_metric in read for p in of_metric}))
        column = {p: i for i, p in enumerate(self.positions)}
        self._columns = [[column[p] for p in of_metric] for of_metric in read]
        tokens = [*run.sequence.tokens.tolist(), -1]
        last = unchanged[-1:]
        self._scored = [
            Scored(run.answer, run.foil, torch.tensor([tokens[p + 1] for p in of_metric]), last)
            for of_metric in read
        ]
        self.baseline = self.read(unchanged[list(self.positions)][None])[0]

    @torch.no_grad()
    def read(
        self, states: Float[Tensor, "batch n_positions d_model"]
    ) -> Float[Tensor, "batch metric"]:
        """The metrics of some runs.

        Args:
            states: their last-layer states at `positions`.

        Returns:
            One number for each run and metric, on the CPU.
        """
        values = [
            metric(self._lens, states[:, columns], scored).float().cpu()
            for metric, columns, scored in zip(
                self._metrics, self._columns, self._scored, strict=True
            )
        ]
        return torch.stack(values, 1)

    def measure(self, runs: PatchedRuns, cells: Sequence[Cell]) -> Float[Tensor, "n_cells metric"]:
        """The metrics of patched runs, a batch at a time.

        Args:
            runs: the engine of this run.
            cells: what is patched in each.

        Returns:
            One row for each cell.
        """
        out = torch.empty(len(cells), len(self._metrics))
        for batch, states in runs.batches(cells, self.positions):
            out[batch] = self.read(states)
        return out


def stream_at(runs: PatchedRuns, site: Site, positions: Int[Tensor, " n"]) -> Float[Tensor, "n d"]:
    """The residual stream of the run without patches.

    Args:
        runs: the engine.
        site: ``resid_pre`` or ``resid_post`` of a block.
        positions: where.

    Returns:
        What stands there.
    """
    states = runs.states[site.layer + (site.kind == "resid_post")]
    return states[positions.to(states.device)]


def interval_over_runs(
    effects: Float[np.ndarray, "word column"],
    run: Int[np.ndarray, " word"],
    *,
    n_runs: int,
    n_bootstrap: int,
    seed: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means with their intervals; whole runs are drawn.

    Args:
        effects: numbers for each word, or each run.
        run: run of each row.
        n_runs: how many runs there are.
        n_bootstrap: resamples.
        seed: seed of the draws; which runs are drawn depends on nothing else.

    Returns:
        Mean, lower and upper end of each column; NaN where a number is.
    """
    curve = Curve.of(effects, run, resample_weights(n_runs, n_bootstrap, seed))
    return (curve.estimate, *curve.interval())


def sign_flip_p(effects: Float[np.ndarray, " run"], seed: int) -> float:
    """P-value that the mean effect is 0, by flipping signs of whole runs.

    Args:
        effects: one for each run.
        seed: seed of the flips, where there are too many to try all.

    Returns:
        The p-value, two-sided.
    """
    from transformer_lens.utilities.statistics import (
        derive_generator,
        sign_flip_permutation_pvalue,
    )

    values = torch.tensor(effects, dtype=torch.float64)
    return float(sign_flip_permutation_pvalue(values, generator=derive_generator(seed)))


def provenance_of_runs(model: LensModel, runs: PatchedRuns) -> Provenance | None:
    """What numbers depend on that come from patched runs.

    Args:
        model: the model.
        runs: the engine.

    Returns:
        The provenance; None for a plain bridge, which has none.
    """
    return provenance_of_engine(model, runs.engine)


def provenance_of_engine(model: LensModel, engine: Engine) -> Provenance | None:
    """What numbers depend on that come from runs of an engine.

    Args:
        model: the model.
        engine: how the runs were made.

    Returns:
        The provenance; None for a plain bridge, which has none.
    """
    if not isinstance(model, SpeechTextModel):
        return None
    return provenance_of(model, "fast" if engine == "resumed" else "hooked")
