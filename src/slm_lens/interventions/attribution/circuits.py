"""How faithful a circuit is: the clean run with all edges but the circuit's taken from another one.

A circuit is a set of edges. Its run reads the clean tokens; each reader's input is rebuilt,

``input(r) = sum over writers w of (w in this run if w -> r is kept, else w in the corrupted run)``,

so that a kept edge carries whatever its writer makes of *its* kept edges. With every edge kept that
is the clean run, with none its last stream is the corrupted run's.

``faithfulness = (M(circuit) - M(none)) / (M(all) - M(none))``, never clipped.

Each query head has an input of its own, and each group one for its keys and one for its values; so
grouped-query models are measured as they are. Rebuilt inputs go through the model's own norm and
projection into ``hook_q``, ``hook_k``, ``hook_v``, and into the second norm; the rest of the
forward pass is the model's.

Runs of unequal length: corrupted activations are moved to the clean run's positions. A cut edge at
a position without a match carries the clean run's own activation, so nothing is cut there.

Source: Conmy et al. 2023, arXiv:2304.14997; Hanna et al. 2024, arXiv:2403.17806 (faithfulness).
transformer-lens' `faithfulness`, for models without groups, is the oracle of the tests.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
import torch
from jaxtyping import Float
from torch import Tensor

from slm_lens._console import shown_steps
from slm_lens._pictured import Pictured
from slm_lens.interventions.attribution._circuit_run import CircuitRuns, circuit_hooks
from slm_lens.interventions.attribution._pair_task import (
    Question,
    check_question,
    pair_task,
    provenance_if_known,
    same_value,
)
from slm_lens.interventions.attribution.graph import Edge, residual_graph
from slm_lens.interventions.metrics import Metric
from slm_lens.interventions.pairs.moving import Fit
from slm_lens.interventions.pairs.run_pair import RunPair
from slm_lens.lens.jacobian import DifferentiableModel
from slm_lens.lens.logit_lens import LogitLens
from slm_lens.model.provenance import Provenance


@dataclass(frozen=True, eq=False)
class Faithfulness(Pictured):
    """How much of a model's effect circuits keep, for each pair.

    Attributes:
        question: pairs, metric, and how words of unequal length were brought together.
        circuits: edges of each circuit.
        n_edges: how many edges the model has.
        values: metric of each circuit.
        everything: metric with every edge kept: that of the clean run.
        nothing: metric with none.
        provenance: what the numbers depend on; None for a bridge that does not say.
    """

    question: Question
    circuits: tuple[tuple[Edge, ...], ...]
    n_edges: int
    values: Float[Tensor, "n_pairs n_circuits"]
    everything: Float[Tensor, " n_pairs"]
    nothing: Float[Tensor, " n_pairs"]
    provenance: Provenance | None

    def shares(self) -> Float[Tensor, "n_pairs n_circuits"]:
        """Faithfulness of each circuit: 1 as the whole model, 0 as without any edge.

        Returns:
            The shares, not clipped.
        """
        gaps = self.everything - self.nothing
        return (self.values - self.nothing[:, None]) / gaps[:, None]

    def to_frame(self) -> pl.DataFrame:
        """All circuits as a table.

        Returns:
            A row for each pair and circuit.
        """
        rows = [
            {
                "pair": pair.name,
                "circuit": i,
                "n_edges": len(circuit),
                "share_of_edges": len(circuit) / self.n_edges,
                "value": value,
                "faithfulness": share,
            }
            for pair, values, shares in zip(
                self.question.pairs, self.values.tolist(), self.shares().tolist(), strict=True
            )
            for i, (circuit, value, share) in enumerate(
                zip(self.circuits, values, shares, strict=True)
            )
        ]
        return pl.DataFrame(rows)


def faithfulness(
    model: DifferentiableModel,
    pairs: Sequence[RunPair],
    metric: Metric,
    circuits: Sequence[Sequence[Edge]],
    *,
    fit: Fit = "warp",
    progress: bool = True,
) -> Faithfulness:
    """Measure how faithful circuits are to the whole model.

    Keeps, for each circuit, ``pos * d_model`` numbers for every writer with a kept edge.

    Args:
        model: the model, in evaluation mode; it is not changed.
        pairs: clean and corrupted runs.
        metric: what is measured.
        circuits: edges that are kept, such as `EdgeAttribution.circuit` gives; each is a run.
        fit: how words of unequal length are brought together.
        progress: show a progress bar, if the standard output is a terminal.

    Returns:
        The metric of each circuit, with both ends.

    Raises:
        ValueError: training mode, no pair or two of one name, an unknown fit, no circuit, an edge
            that does not exist, a pair whose metric is the same with all edges and none, or a
            model that is not what its writers and readers make of it.
    """
    question = Question(tuple(pairs), metric, fit)
    check_question(model, question, "faithfulness", gradients=False)
    graph, lens = residual_graph(model), LogitLens(model)
    if not circuits:
        raise ValueError("faithfulness: got no circuit, expected at least one.")
    masks = [graph.mask(edges, "faithfulness") for edges in circuits]
    values, everything, nothing = [], [], []
    names = circuit_hooks(model.cfg.n_layers)
    with shown_steps(question.pairs, "circuits", shown=progress) as each:
        for pair in each:
            task = pair_task(model, lens, question, pair, "noising", names)
            runs = CircuitRuns(model, graph, task)
            if same_value(runs.everything, runs.nothing):
                raise ValueError(
                    f"faithfulness: the pair {pair.name!r} has {metric.name} {runs.nothing:.4g} "
                    "with all edges and with none, expected a difference to share out. Does a "
                    "match cover the position that the metric reads, and do the runs differ?"
                )
            values.append([runs.value(mask) for mask in masks])
            everything.append(runs.everything)
            nothing.append(runs.nothing)
    return Faithfulness(
        question=question,
        circuits=tuple(tuple(edges) for edges in circuits),
        n_edges=graph.n_edges,
        values=torch.tensor(values),
        everything=torch.tensor(everything),
        nothing=torch.tensor(nothing),
        provenance=provenance_if_known(model),
    )
