"""How much of a vector does how much: metrics by strength, layer and run, beside random vectors.

For every run, layer and strength the vector is added to the stream at the run's span
(`Steering`), and the metrics are read from the last layer. The same is done with random vectors of
the same norm: a vector that does no more than these is long, and not meaningful.

Source: dose and response as in Chang et al. 2026, arXiv:2606.11386; the random control is ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
import torch
from jaxtyping import Float
from torch import Tensor

from slm_lens._atomic import write_atomically
from slm_lens._console import step_progress
from slm_lens._pictured import Pictured
from slm_lens.interventions.directions import random_directions
from slm_lens.interventions.metrics import Metric
from slm_lens.interventions.runs.measured_run import (
    MeasuredRun,
    Meter,
    check_runs,
    interval_over_runs,
    provenance_of_runs,
    stream_at,
)
from slm_lens.interventions.runs.patched_runs import Patch, PatchedRuns
from slm_lens.interventions.site import Site, sites
from slm_lens.interventions.steering.steered import Schedule, Steering, check_width, constant
from slm_lens.lens.logit_lens import LogitLens
from slm_lens.lens.model import LensModel
from slm_lens.model._facts import read_facts, require_provenance, write_facts
from slm_lens.model.provenance import Provenance

StreamKind = Literal["resid_pre", "resid_post"]


@dataclass(frozen=True, eq=False)
class DoseResponse(Pictured):
    """Metrics under steering.

    Attributes:
        values: of the steered runs.
        control: of runs that are steered with random vectors of the same norm.
        baseline: of the runs without steering.
        metrics: names along the first axis.
        runs: names of the runs.
        sites: where the vector is added, along the layer axis.
        strengths: along the strength axis.
        n_bootstrap: resamples of runs in intervals.
        seed: seed of the random vectors and the resamples.
        provenance: what the numbers depend on; None for a plain bridge.
    """

    values: Float[Tensor, "metric run layer strength"]
    control: Float[Tensor, "metric run layer strength draw"]
    baseline: Float[Tensor, "metric run"]
    metrics: tuple[str, ...]
    runs: tuple[str, ...]
    sites: tuple[Site, ...]
    strengths: tuple[float, ...]
    n_bootstrap: int
    seed: int
    provenance: Provenance | None = field(repr=False)

    def to_frame(self) -> pl.DataFrame:
        """Every measurement.

        Returns:
            One row for each metric, run, layer, strength and direction. ``direction`` is
            ``"vector"`` or ``"random"``, with the number of the ``draw`` (null for the vector);
            ``effect`` is ``value - baseline``.
        """
        vector = self.values[..., None].double()
        both = torch.cat([vector, self.control.double()], -1)
        grid = np.indices(both.shape).reshape(both.ndim, -1)
        metric, run, layer, strength, direction = grid
        baseline = self.baseline.double().numpy()[metric, run]
        value = both.numpy().reshape(-1)
        return pl.DataFrame(
            {
                "metric": np.array(self.metrics, dtype=object)[metric].tolist(),
                "run": np.array(self.runs, dtype=object)[run].tolist(),
                "kind": [self.sites[i].kind for i in layer],
                "layer": [self.sites[i].layer for i in layer],
                "strength": np.array(self.strengths)[strength],
                "direction": ["vector" if d == 0 else "random" for d in direction],
                "draw": [None if d == 0 else int(d) - 1 for d in direction],
                "value": value,
                "baseline": baseline,
                "effect": value - baseline,
            },
            schema_overrides={"draw": pl.Int64},
        )

    def write(self, folder: Path) -> None:
        """Write ``dose_response.parquet`` (every measurement) and ``dose_response.json``.

        Each file appears in full or not at all, also after Ctrl-C.

        Args:
            folder: made if needed; earlier files are replaced.

        Raises:
            ValueError: the result knows no provenance.
        """  # noqa: DOC502 (raised by require_provenance)
        require_provenance(self.provenance, "DoseResponse.write")
        write_atomically(folder / "dose_response.parquet", self.to_frame().write_parquet)
        write_facts(folder / "dose_response.json", {name: self.__dict__[name] for name in _FACTS})

    @classmethod
    def read(cls, folder: Path) -> "DoseResponse":
        """Read what `write` wrote.

        Args:
            folder: where it was written.

        Returns:
            An equal result.

        Raises:
            LookupError: the folder holds no such result.
            ValueError: it was written by another version.
        """  # noqa: DOC502 (raised by read_facts)
        facts = read_facts(folder, "dose_response", _FACTS, reader="DoseResponse.read")
        facts["sites"] = tuple(Site(**site) for site in facts["sites"])
        facts |= {name: tuple(facts[name]) for name in ("metrics", "runs", "strengths")}
        axes = [len(facts[name]) for name in ("metrics", "runs", "sites", "strengths")]
        table = pl.read_parquet(folder / "dose_response.parquet")  # in the order of to_frame
        values = torch.tensor(table["value"].to_list()).view(*axes, -1)
        baseline = torch.tensor(table["baseline"].to_list()).view(*axes, -1)[:, :, 0, 0, 0]
        return cls(
            values=values[..., 0].contiguous(),
            control=values[..., 1:].contiguous(),
            baseline=baseline,
            **facts,
        )

    def curves(self) -> pl.DataFrame:
        """Mean effects over runs.

        Returns:
            One row for each metric, layer and strength: the mean ``effect`` with its interval
            (``low``, ``high``, bootstrap over runs), and the same for the control, whose draws are
            averaged in each run: ``control``, ``control_low``, ``control_high`` (null without).
        """
        of_vector = self.values - self.baseline[:, :, None, None]
        of_control = self.control.mean(-1) - self.baseline[:, :, None, None]
        rows = []
        for m, metric in enumerate(self.metrics):
            parts = [self._interval(of_vector[m]), self._interval(of_control[m])]
            for j, (layer, strength) in enumerate(np.ndindex(self.values.shape[2:])):
                named = zip(_COLUMNS, [x[j] for part in parts for x in part], strict=True)
                row = {name: None if np.isnan(x) else float(x) for name, x in named}
                at = {"kind": self.sites[layer].kind, "layer": self.sites[layer].layer}
                rows.append({"metric": metric, **at, "strength": self.strengths[strength], **row})
        return pl.DataFrame(rows, schema_overrides=dict.fromkeys(_COLUMNS, pl.Float64))

    def _interval(
        self, effects: Float[Tensor, "run layer strength"]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return interval_over_runs(
            effects.flatten(1).double().numpy(),
            np.arange(len(self.runs)),
            n_runs=len(self.runs),
            n_bootstrap=self.n_bootstrap,
            seed=self.seed,
        )


_FACTS = [f.name for f in fields(DoseResponse) if f.name not in ("values", "control", "baseline")]
_COLUMNS = ("effect", "low", "high", "control", "control_low", "control_high")


def dose_response(
    model: LensModel,
    runs: Sequence[MeasuredRun],
    vector: Float[Tensor, "*run_layer d_model"],
    strengths: Sequence[float],
    metrics: Mapping[str, Metric],
    *,
    kind: StreamKind = "resid_post",
    layers: Sequence[int] | None = None,
    schedule: Schedule = constant,
    n_random: int = 5,
    n_bootstrap: int = 1000,
    seed: int = 0,
    memory_mb: float = 256.0,
    progress: bool = True,
) -> DoseResponse:
    """Metrics by how much of a vector is added, at each layer.

    Args:
        model: the model, in evaluation mode.
        runs: what is steered, each with its span.
        vector: what is added; or one vector for each of `layers`, such as
            ``contrast(...).vectors[1:]`` for ``resid_post`` of all; or for each run such a stack.
        strengths: how often it is added; negative ones take it away.
        metrics: what is measured, by the names that tables are to have.
        kind: before or after the block.
        layers: blocks; None for all.
        schedule: factor by position since the start of the span.
        n_random: random vectors of the same norm; 0 for none.
        n_bootstrap: resamples of runs in intervals.
        seed: seed of the random vectors and the resamples.
        memory_mb: as in `PatchedRuns`.
        progress: show a progress bar on a terminal.

    Returns:
        The metrics.

    Raises:
        TypeError: a vector that is no tensor of floats, metrics without names, or one strength for
            several.
        ValueError: no run, strength or metric; a name or strength twice; vectors of another width
            or number; a layer that the model does not have; a strength that makes states overflow.
    """  # noqa: DOC502 (raised by the checks)
    check_runs(runs, metrics, "dose_response")
    _check_options(strengths, n_random)
    check_width(vector, model, "dose_response")
    at = sites(model, kind, layers=layers)
    vectors = _directions(vector, (len(runs), len(at)), n_random, seed)
    lens = LogitLens(model)
    values, baselines, provenance = [], [], None
    with step_progress("steering", len(runs), shown=progress) as show:
        for done, (run, of_run) in enumerate(zip(runs, vectors, strict=True)):
            show(done, run.name)
            engine = PatchedRuns(model, run.sequence.tokens, memory_mb=memory_mb)
            meter = Meter(lens, run, metrics, engine.states[-1])
            of_layers = []
            for site, of_site in zip(at, of_run, strict=True):  # to hold the states of one alone
                steerings = [
                    Steering(site, v, s, run.span, schedule) for s in strengths for v in of_site
                ]
                cells = [[_steered_patch(engine, run, steering)] for steering in steerings]
                of_layers.append(meter.measure(engine, cells))
            shape = (len(at), len(strengths), 1 + n_random, len(metrics))
            values.append(torch.cat(of_layers).view(shape))
            provenance = provenance_of_runs(model, engine)
            baselines.append(meter.baseline)
        show(len(runs), "")
    measured = torch.stack(values, 1).permute(4, 1, 0, 2, 3)  # metric, run, layer, strength, draw
    return DoseResponse(
        values=measured[..., 0].contiguous(),
        control=measured[..., 1:].contiguous(),
        baseline=torch.stack(baselines, 1),
        metrics=tuple(metrics),
        runs=tuple(run.name for run in runs),
        sites=at,
        strengths=tuple(float(s) for s in strengths),
        n_bootstrap=n_bootstrap,
        seed=seed,
        provenance=provenance,
    )


def _check_options(strengths: Sequence[float], n_random: int) -> None:
    if isinstance(strengths, int | float):
        raise TypeError(
            f"dose_response: got strengths={strengths}, expected several. Give [{strengths}]."
        )
    if not len(strengths) or len(set(strengths)) < len(strengths) or n_random < 0:
        raise ValueError(
            f"dose_response: got the strengths {list(strengths)} and n_random={n_random}, expected "
            "at least one strength, each once, and n_random >= 0."
        )


def _directions(
    vector: Tensor, wanted: tuple[int, int], n_random: int, seed: int
) -> Float[Tensor, "run layer direction d_model"]:
    """The vector of each run and layer, and behind it random ones of its norm."""
    n_runs, n_layers = wanted
    if tuple(vector.shape[:-1]) not in ((), (n_layers,), wanted):
        raise ValueError(
            f"dose_response: got vectors of shape {tuple(vector.shape)} for {n_runs} runs and "
            f"{n_layers} layers, expected [d_model], or one row for each layer, or for each run "
            "and layer."
        )
    true = vector.detach().float().cpu().expand(n_runs, n_layers, -1)[:, :, None]
    drawn = random_directions(n_random, vector.shape[-1], length=1.0, seed=seed)
    return torch.cat([true, drawn * true.norm(dim=-1, keepdim=True)], 2)


def _steered_patch(engine: PatchedRuns, run: MeasuredRun, steering: Steering) -> Patch:
    where = torch.tensor(run.positions)
    states = stream_at(engine, steering.site, where)
    added = steering.added(where).to(states.device)
    return Patch(steering.site, where, states + added.to(states.dtype))
