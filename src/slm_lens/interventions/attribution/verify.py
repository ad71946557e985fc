"""Really patching nodes: the effects that attribution estimates."""

from collections.abc import Sequence
from typing import Any

import torch

from slm_lens.interventions.attribution._pair_task import (
    PairTask,
    Question,
    pair_task,
    provenance_if_known,
)
from slm_lens.interventions.attribution._places import Place
from slm_lens.interventions.runs.patched_runs import Patch, PatchedRuns
from slm_lens.interventions.site import Site
from slm_lens.lens.jacobian import DifferentiableModel
from slm_lens.lens.logit_lens import LogitLens
from slm_lens.lens.tuned_lens import unembedding_hash
from slm_lens.model.provenance import Provenance

NodeAt = tuple[int, Site, Place]
"""Number of a pair, a node, and where in the pair's corrupted run."""


def node_effects(
    model: DifferentiableModel, question: Question, nodes: Sequence[NodeAt]
) -> list[float]:
    """What putting clean activations into corrupted runs does to the metric.

    Args:
        model: the model.
        question: pairs, metric and fit.
        nodes: what is put where, each in a run of its own.

    Returns:
        Metric with each, less the metric without. Positions without a match stay as they are.
    """
    lens = LogitLens(model)
    effects = [0.0] * len(nodes)
    for number in sorted({number for number, _, _ in nodes}):
        own = [i for i, node in enumerate(nodes) if node[0] == number]
        names = {nodes[i][1].hook for i in own}
        task = pair_task(model, lens, question, question.pairs[number], "denoising", names)
        found = _effects(model, task, [nodes[i][1:] for i in own])
        for i, effect in zip(own, found, strict=True):
            effects[i] = effect
    return effects


def _effects(
    model: DifferentiableModel, task: PairTask, nodes: Sequence[tuple[Site, Place]]
) -> list[float]:
    """Effects in one pair."""
    moved = {site.hook: task.move(task.given[site.hook]) for site, _ in nodes}
    runs = PatchedRuns(model, task.target.tokens)
    cells, changed = [], []
    for i, (site, place) in enumerate(nodes):
        rows = torch.isin(task.move.targets, torch.tensor(place.positions)).nonzero()[:, 0]
        if len(rows):
            values = moved[site.hook][rows]
            values = values if site.head is None else values[:, site.head]
            cells.append([Patch(site, task.move.targets[rows], values)])
            changed.append(i)
    effects = [0.0] * len(nodes)
    if cells:
        before = task.values(runs.states[-1, list(task.positions)][None])
        after = task.values(runs.final_states(cells, task.positions))
        for i, effect in zip(changed, (after - before).tolist(), strict=True):
            effects[i] = effect
    return effects


def check_same_model(
    model: Any, made_with: Provenance | None, unembedding: str, caller: str
) -> None:
    """Refuse another model than the one that scores were computed with.

    Args:
        model: the model.
        made_with: the scores' provenance.
        unembedding: hash of the model's unembedding, for models that say the same of themselves.
        caller: the public function, to begin messages with.

    Raises:
        ValueError: it has another provenance or another unembedding.
    """
    now = provenance_if_known(model)
    if now != made_with:
        raise ValueError(
            f"{caller}: got a model that differs from the one that the scores are of ({now}), "
            f"expected {made_with}. Give the same model, without other hooks, or compute them anew."
        )
    if unembedding_hash(model) != unembedding:
        raise ValueError(
            f"{caller}: got a model whose unembedding differs from that of the one that the scores "
            "are of, expected the same weights. Give the same model, or compute them anew."
        )
