"""Path patching: a sender's clean output reaches some receivers, and nothing else.

Every other head and MLP between them is frozen. So a receiver's input is known without a run of
its own: ``x[corrupted] + sum over senders of (w[clean] - w[corrupted])``. What receivers make of
that (queries, keys, values, an MLP's output) is put into the corrupted run, all of them together,
and everything behind them is computed anew. The logits as a receiver get the senders' change on
top of the run's last stream. A head or MLP that is sender and receiver of one path counts as both:
its recorded change is sent, and what it makes of its new input flows on besides.

For the reverse direction, noising, read "clean" for "corrupted" and the other way round.

Source: Wang et al. 2022, arXiv:2211.00593, appendix B; Goldowsky-Dill et al. 2023,
arXiv:2304.05969. Receivers by group, and unequal lengths, are ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
import torch
from jaxtyping import Float
from torch import Tensor

from slm_lens._console import shown_steps
from slm_lens._pictured import Pictured
from slm_lens.interventions.attribution._pair_task import (
    Question,
    check_question,
    pair_task,
    provenance_if_known,
    same_value,
)
from slm_lens.interventions.attribution._paths import PathRuns
from slm_lens.interventions.attribution._places import Place
from slm_lens.interventions.attribution._writers import writer_hooks
from slm_lens.interventions.attribution.graph import (
    Edge,
    StreamReader,
    StreamWriter,
    residual_graph,
    writes_before,
)
from slm_lens.interventions.metrics import Metric
from slm_lens.interventions.pairs.moving import Fit
from slm_lens.interventions.pairs.run_pair import Direction, RunPair
from slm_lens.lens.jacobian import DifferentiableModel
from slm_lens.lens.logit_lens import LogitLens
from slm_lens.model.provenance import Provenance

Path = tuple[Sequence[StreamWriter], Sequence[StreamReader]]
"""Senders and receivers."""

EdgeAt = tuple[int, Edge, Place]
"""Number of a pair, an edge, and where in the pair's corrupted run."""


@dataclass(frozen=True, eq=False)
class PathEffects(Pictured):
    """What paths do, for each pair.

    Attributes:
        question: pairs, metric, and how words of unequal length were brought together.
        direction: which run's outputs are sent into the other one.
        paths: senders and receivers of each path.
        effects: metric of the changed run with the path, less the metric without.
        source: metric of the run that outputs are taken from; NaN for one that does not compare
            runs.
        target: metric of the run that they are sent into.
        provenance: what the numbers depend on; None for a bridge that does not say.
    """

    question: Question
    direction: Direction
    paths: tuple[Path, ...]
    effects: Float[Tensor, "n_pairs n_paths"]
    source: Float[Tensor, " n_pairs"]
    target: Float[Tensor, " n_pairs"]
    provenance: Provenance | None

    def to_frame(self) -> pl.DataFrame:
        """All effects as a table.

        Returns:
            A row for each pair and path; ``share`` is the effect over the difference of the two
            runs' metrics, not clipped; None where they do not differ or compare.
        """
        rows = [
            {
                "pair": pair.name,
                "senders": ", ".join(sender.label for sender in senders),
                "receivers": ", ".join(receiver.label for receiver in receivers),
                "effect": effect,
                "share": None if same_value(source, target) else effect / (source - target),
            }
            for pair, effects, source, target in zip(
                self.question.pairs,
                self.effects.tolist(),
                self.source.tolist(),
                self.target.tolist(),
                strict=True,
            )
            for (senders, receivers), effect in zip(self.paths, effects, strict=True)
        ]
        return pl.DataFrame(rows)


def patch_paths(
    model: DifferentiableModel,
    pairs: Sequence[RunPair],
    metric: Metric,
    paths: Sequence[Path],
    *,
    direction: Direction = "denoising",
    fit: Fit = "warp",
    progress: bool = True,
) -> PathEffects:
    """Send some writers' outputs to some readers, and measure.

    Args:
        model: the model, in evaluation mode; it is not changed.
        pairs: clean and corrupted runs.
        metric: what is measured.
        paths: senders and receivers; each path is a run of its own. A receiver gets the change of
            those senders that write before it reads.
        direction: ``"denoising"`` sends the clean run's outputs into the corrupted run,
            ``"noising"`` the reverse.
        fit: how words of unequal length are brought together; positions without a match get
            nothing.
        progress: show a progress bar, if the standard output is a terminal.

    Returns:
        The effects.

    Raises:
        ValueError: training mode, no pair or two of one name, an unknown fit, no path, a sender or
            receiver that does not exist or stands twice in a path, or a receiver that reads before
            all of the senders write.
    """
    question = Question(tuple(pairs), metric, fit)
    check_question(model, question, "patch_paths", gradients=False)
    given = tuple((tuple(senders), tuple(receivers)) for senders, receivers in paths)
    graph, lens = residual_graph(model), LogitLens(model)
    edges = [_edges_of(path) for path in given]
    if not given:
        raise ValueError("patch_paths: got no path, expected at least one.")
    for (senders, receivers), of_path in zip(given, edges, strict=True):
        idle = [r.label for r in receivers if r not in {reader for _, reader in of_path}]
        if idle or not senders or not receivers:
            raise ValueError(
                f"patch_paths: got the senders {[s.label for s in senders]} and receivers that "
                f"none of them reaches, {idle}; expected for each receiver a sender that writes "
                "before it reads."
            )
        graph.mask(of_path, "patch_paths")
    names = writer_hooks(model.cfg.n_layers)
    effects, values = [], []
    with shown_steps(question.pairs, "patching paths", shown=progress) as each:
        for pair in each:
            task = pair_task(model, lens, question, pair, direction, names)
            runs = PathRuns(model, task)
            effects.append(runs.effects([(of_path, None) for of_path in edges]))
            values.append((task.source_value, runs.before))
    return PathEffects(
        question=question,
        direction=direction,
        paths=given,
        effects=torch.tensor(effects),
        source=torch.tensor([source for source, _ in values]),
        target=torch.tensor([target for _, target in values]),
        provenance=provenance_if_known(model),
    )


def edge_effects(
    model: DifferentiableModel, question: Question, edges: Sequence[EdgeAt]
) -> list[float]:
    """What single edges really do, each at some positions.

    Args:
        model: the model.
        question: pairs, metric and fit.
        edges: the edges, each in a run of its own.

    Returns:
        Metric of the corrupted run with the clean output on that edge, less the metric without.
    """
    lens = LogitLens(model)
    names = writer_hooks(model.cfg.n_layers)
    effects = [0.0] * len(edges)
    for number in sorted({number for number, _, _ in edges}):
        task = pair_task(model, lens, question, question.pairs[number], "denoising", names)
        own = [i for i, edge in enumerate(edges) if edge[0] == number]
        wanted = [([edges[i][1]], edges[i][2].positions) for i in own]
        for i, effect in zip(own, PathRuns(model, task).effects(wanted), strict=True):
            effects[i] = effect
    return effects


def _edges_of(path: Path) -> list[Edge]:
    """From senders to receivers that read later."""
    for name, ends in zip(("senders", "receivers"), path, strict=True):
        twice = list(dict.fromkeys(end.label for end in ends if list(ends).count(end) > 1))
        if twice:
            raise ValueError(
                f"patch_paths: got a path with the {name} {twice} more than once, expected each "
                "once: what is sent would count as often. Leave the others out."
            )
    return [(w, r) for r in path[1] for w in path[0] if writes_before(w, r)]
