"""What is lost when some heads are silenced, beside random heads of about the same layers.

What a head puts out (``z``) is set to zero or to its mean over reference runs, at the run's span:
all the given heads together, each alone, and as many other heads, drawn at random. Each drawn head
stands for one of the given ones, and is of the same layer as far as that has heads left, else of
the nearest layer that has.

Source: mean-ablation as Wang et al. 2022, arXiv:2211.00593; the control is ours.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import polars as pl
import torch
from jaxtyping import Float
from torch import Tensor

from slm_lens._console import shown_steps
from slm_lens._pictured import Pictured
from slm_lens.interventions.ablation.projection import check_reference, reference_activations
from slm_lens.interventions.metrics import Metric
from slm_lens.interventions.runs.measured_run import (
    MeasuredRun,
    Meter,
    check_runs,
    interval_over_runs,
    provenance_of_runs,
    sign_flip_p,
)
from slm_lens.interventions.runs.patched_runs import Patch, PatchedRuns
from slm_lens.interventions.site import Site, check_sites, n_heads
from slm_lens.lens.logit_lens import LogitLens
from slm_lens.lens.model import LensModel
from slm_lens.model.provenance import Provenance
from slm_lens.sequence.sequence import SpeechTextSequence


@dataclass(frozen=True, eq=False)
class HeadAblation(Pictured):
    """Metrics without some heads.

    Attributes:
        together: without all of the heads.
        alone: without each of them.
        control: without as many random others.
        baseline: of the runs as they are.
        metrics: names along the first axis.
        runs: names of the runs.
        heads: the heads, along the head axis.
        drawn: the heads of each draw.
        how: ``"zero"`` or ``"mean"``.
        n_bootstrap: resamples of runs in intervals.
        seed: seed of the draws and the resamples.
        provenance: what the numbers depend on; None for a plain bridge.
    """

    together: Float[Tensor, "metric run"]
    alone: Float[Tensor, "metric run head"]
    control: Float[Tensor, "metric run draw"]
    baseline: Float[Tensor, "metric run"]
    metrics: tuple[str, ...]
    runs: tuple[str, ...]
    heads: tuple[Site, ...]
    drawn: tuple[tuple[Site, ...], ...]
    how: str
    n_bootstrap: int
    seed: int
    provenance: Provenance | None = field(repr=False)

    def to_frame(self) -> pl.DataFrame:
        """Every measurement.

        Returns:
            One row for each metric, run and set of heads: ``heads`` is ``"all"``, the label of one
            head, or ``"random"`` with the number of its ``draw`` (else null); ``effect`` is
            ``value - baseline``.
        """
        sets: list[tuple[str, int | None, Tensor]] = [("all", None, self.together)]
        sets += [(h.label, None, self.alone[..., i]) for i, h in enumerate(self.heads)]
        sets += [("random", i, self.control[..., i]) for i in range(len(self.drawn))]
        rows = [
            {
                "metric": metric,
                "run": run,
                "heads": label,
                "draw": draw,
                "value": values[m, r].item(),
                "baseline": self.baseline[m, r].item(),
                "effect": (values[m, r] - self.baseline[m, r]).item(),
            }
            for m, metric in enumerate(self.metrics)
            for r, run in enumerate(self.runs)
            for label, draw, values in sets
        ]
        return pl.DataFrame(rows, schema_overrides={"draw": pl.Int64})

    def effects(self) -> pl.DataFrame:
        """Mean effects over runs.

        Returns:
            One row for each metric and set of heads, ``heads`` as in `to_frame`, and ``"all"``
            less the mean of the random draws as ``"all - random"``: ``effect``, ``low``, ``high``
            (bootstrap over runs), and ``p_value`` of a sign-flip permutation test that it is 0.
        """
        base = self.baseline
        sets = [("all", self.together - base)]
        sets += [(h.label, self.alone[..., i] - base) for i, h in enumerate(self.heads)]
        if self.drawn:
            random = self.control.mean(-1)
            sets += [("random", random - base), ("all - random", self.together - random)]
        rows = []
        for m, metric in enumerate(self.metrics):
            for label, effect in sets:
                values = effect[m].double().numpy()
                mean, low, high = interval_over_runs(
                    values[:, None],
                    np.arange(len(values)),
                    n_runs=len(values),
                    n_bootstrap=self.n_bootstrap,
                    seed=self.seed,
                )
                at = {"metric": metric, "heads": label, "effect": float(mean[0])}
                ends = {"low": float(low[0]), "high": float(high[0])}
                rows.append(at | ends | {"p_value": sign_flip_p(values, self.seed)})
        return pl.DataFrame(rows)


def ablate_heads(
    model: LensModel,
    runs: Sequence[MeasuredRun],
    heads: Sequence[Site],
    metrics: Mapping[str, Metric],
    *,
    how: Literal["zero", "mean"] = "mean",
    reference: Sequence[SpeechTextSequence] = (),
    n_random: int = 10,
    n_bootstrap: int = 1000,
    seed: int = 0,
    memory_mb: float = 256.0,
    progress: bool = True,
) -> HeadAblation:
    """Silence heads, and measure.

    Args:
        model: the model, in evaluation mode.
        runs: what is measured; heads are silenced at each one's span.
        heads: outputs of single heads, such as `HeadRoles.top` gives them.
        metrics: what is measured, by the names that tables are to have.
        how: what is put in their place.
        reference: runs whose mean is put for ``"mean"``.
        n_random: draws of as many other heads.
        n_bootstrap: resamples of runs in intervals.
        seed: seed of the draws and the resamples.
        memory_mb: as in `PatchedRuns`.
        progress: show a progress bar, if the standard output is a terminal.

    Returns:
        The metrics.

    Raises:
        ValueError: no run, metric or head; a name or head twice; a site that is no ``z`` of one
            head; reference runs missing or not used; too few other heads for a draw.
    """  # noqa: DOC502 (some raised by the functions it calls)
    check_runs(runs, metrics, "ablate_heads")
    _check_heads(model, heads, how, n_random)
    check_reference(how, reference, "ablate_heads")
    drawn = tuple(_others(model, heads, np.random.default_rng([seed, i])) for i in range(n_random))
    sets = [tuple(heads), *((head,) for head in heads), *drawn]
    needed = sorted({head for of_set in sets for head in of_set})
    means = _means(model, needed, reference) if how == "mean" else {}
    lens = LogitLens(model)
    values, baselines, provenance = [], [], None
    with shown_steps(runs, "silencing heads", shown=progress) as each:
        for run in each:
            engine = PatchedRuns(model, run.sequence.tokens, memory_mb=memory_mb)
            meter = Meter(lens, run, metrics, engine.states[-1])
            where = torch.tensor(run.positions)
            zero = engine.states.new_zeros(model.cfg.d_head)
            cells = [
                [Patch(h, where, means.get(h, zero).expand(len(where), -1)) for h in of_set]
                for of_set in sets
            ]
            values.append(meter.measure(engine, cells).T)
            baselines.append(meter.baseline)
            provenance = provenance_of_runs(model, engine)
    measured = torch.stack(values, 1)  # metric, run, set
    return HeadAblation(
        together=measured[..., 0],
        alone=measured[..., 1 : 1 + len(heads)],
        control=measured[..., 1 + len(heads) :],
        baseline=torch.stack(baselines, 1),
        metrics=tuple(metrics),
        runs=tuple(run.name for run in runs),
        heads=tuple(heads),
        drawn=drawn,
        how=how,
        n_bootstrap=n_bootstrap,
        seed=seed,
        provenance=provenance,
    )


def _check_heads(model: LensModel, heads: Sequence[Site], how: str, n_random: int) -> None:
    check_sites(model, heads, "ablate_heads")
    others = [h.label for h in heads if h.kind != "z" or h.head is None]
    if others or len(set(heads)) != len(heads):
        raise ValueError(
            f"ablate_heads: got {len(heads)} heads, {len(set(heads))} of them different, and the "
            f"sites {others}, expected outputs of single heads, each once: Site('z', 3, 1)."
        )
    if how not in ("zero", "mean"):
        raise ValueError(f"ablate_heads: got how={how!r}, expected 'zero' or 'mean'.")
    free = model.cfg.n_layers * n_heads(model, "z") - len(heads)
    if n_random < 0 or (n_random and free < len(heads)):
        raise ValueError(
            f"ablate_heads: got n_random={n_random} and {len(heads)} heads of a model with "
            f"{free} others, expected n_random >= 0 and as many others. Take fewer heads, or "
            "n_random=0."
        )


def _others(model: LensModel, heads: Sequence[Site], rng: np.random.Generator) -> tuple[Site, ...]:
    """For each head another one, of the nearest layer that has some left."""
    free = [
        Site("z", layer, head)
        for layer in range(model.cfg.n_layers)
        for head in range(n_heads(model, "z"))
        if Site("z", layer, head) not in heads
    ]
    return tuple(sorted(_drawn(heads, free, rng)))


def _drawn(heads: Sequence[Site], free: list[Site], rng: np.random.Generator) -> Iterator[Site]:
    for i in rng.permutation(len(heads)):
        distance = [abs(other.layer - heads[i].layer) for other in free]
        nearest = [j for j, d in enumerate(distance) if d == min(distance)]
        yield free.pop(int(rng.choice(nearest)))


def _means(
    model: LensModel, heads: Sequence[Site], reference: Sequence[SpeechTextSequence]
) -> dict[Site, Float[Tensor, " d_head"]]:
    pools = reference_activations(model, heads, reference)
    return {head: pool.float().mean(0) for head, pool in pools.items()}
