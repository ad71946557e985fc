"""Node attribution: the effect of patching any activation, estimated from one backward pass.

``score(n) = (n[clean] - n[corrupted]) . dM/dn``, with the gradient of the metric M on the corrupted
run. It estimates ``M(corrupted run with n[clean]) - M(corrupted run)``: denoising, as in
transformer-lens; positive where the clean activation raises the metric. Two forwards and one
backward give it for every layer, head and position; each layer is one einsum.

| option | changes |
|---|---|
| ``steps=m, ends=...`` | the gradient is a mean over m runs, from corrupted to clean embeddings |
| ``qk_fix=True`` | q and k: the softmax is computed again, and its change meets its gradient |
| ``grad_drop=True`` | each layer in turn passes no gradient: ``sum |score_l| / (L - 1)`` |

The last two together are AtP*; the QK fix takes up to three further forwards, GradDrop a backward
for each layer. With many steps the scores of the embeddings (``resid_pre`` of layer 0) sum to the
difference of the metric, for runs of equal length with every position matched. A head's score is
that of its output: ``z`` and ``z . W_O`` have the same.

Runs of unequal length: the clean activations are moved to the corrupted run's positions by the
pair's matches (`moving`). Where a position has no match the difference is zero, and so is its
score: words that only one run has are not measured. The scores of the embeddings then sum to what
patching all of them does, which is not all of the difference.

transformer-lens' `attribution_patch` is the oracle of the tests. It takes equal lengths, and walks
positions and heads one by one.

Source: Nanda 2023, "Attribution Patching"; Kramár et al. 2024 (AtP*), arXiv:2403.00745, equations
4, 5, 7 and 11; Sundararajan et al. 2017, arXiv:1703.01365 (integrated gradients). Moves are ours.
"""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from slm_lens._console import shown_steps
from slm_lens.interventions.attribution._pair_task import (
    PairTask,
    Question,
    check_question,
    pair_task,
    provenance_if_known,
)
from slm_lens.interventions.attribution._runs import EMBEDDED, gradients
from slm_lens.interventions.attribution._steps import Ends, check_steps, parts_of, steps_label
from slm_lens.interventions.attribution._target_runs import TargetRuns
from slm_lens.interventions.attribution.node_result import NodeAttribution
from slm_lens.interventions.attribution.qk_fix import PatternChange, pattern_changes
from slm_lens.interventions.metrics import Metric
from slm_lens.interventions.pairs.moving import Fit
from slm_lens.interventions.pairs.run_pair import RunPair
from slm_lens.interventions.site import HEAD_KINDS, SITE_KINDS, Site, SiteKind, sites
from slm_lens.lens.jacobian import DifferentiableModel
from slm_lens.lens.logit_lens import LogitLens
from slm_lens.lens.tuned_lens import unembedding_hash

_Scores = Float[Tensor, "n_drops n_sites pos"]


def attribute_nodes(
    model: DifferentiableModel,
    pairs: Sequence[RunPair],
    metric: Metric,
    *,
    kinds: Sequence[SiteKind] = ("resid_pre", "z", "mlp_out"),
    fit: Fit = "warp",
    steps: int = 1,
    ends: Ends = "corrupted",
    qk_fix: bool = False,
    grad_drop: bool = False,
    progress: bool = True,
) -> NodeAttribution:
    """Score every node of some kinds, at every position of the corrupted run.

    Args:
        model: the model, in evaluation mode; it is not changed.
        pairs: clean and corrupted runs.
        metric: what is measured; it must have gradients.
        kinds: activations, in every layer; q, k, v and z by head (k and v by group).
        fit: how words of unequal length are brought together.
        steps: runs over which the gradient is averaged; 1 is attribution patching.
        ends: which end is among them: steps ``k/m`` of the way with k from 0 to m - 1
            (``"corrupted"``), or from 1 to m (``"clean"``).
        qk_fix: compute the softmax again for q and k. Keeps ``3 n_layers n_heads pos^2`` numbers.
        grad_drop: one backward pass for each layer. Scores are then without sign.
        progress: show a progress bar, if the standard output is a terminal.

    Returns:
        The scores.

    Raises:
        ValueError: training mode, no pair or two of one name, a metric without gradients, an
            unknown fit, kind or end, no step, steps together with AtP*, a QK fix without q or k,
            or GradDrop for one layer.
    """  # noqa: DOC502 (raised by the checks)
    question = Question(tuple(pairs), metric, fit)
    check_question(model, question, "attribute_nodes", gradients=True)
    _check_options(model.cfg.n_layers, kinds, steps, ends, qk_fix=qk_fix, grad_drop=grad_drop)
    lens = LogitLens(model)
    nodes = tuple(
        site
        for kind in kinds
        for site in sites(model, kind, heads="each" if kind in HEAD_KINDS else None)
    )
    scores, values = [], []
    with shown_steps(pairs, "attributing nodes", shown=progress) as each:
        for pair in each:
            names = dict.fromkeys([EMBEDDED, *(site.hook for site in nodes)])
            task = pair_task(model, lens, question, pair, "denoising", names)
            found, value = _scores(
                model, task, nodes, parts_of(steps, ends), qk_fix=qk_fix, grad_drop=grad_drop
            )
            scores.append(found.cpu())
            values.append((task.source_value, value))
    return NodeAttribution(
        question=question,
        method=_method(steps, ends, qk_fix=qk_fix, grad_drop=grad_drop),
        sites=nodes,
        scores=tuple(scores),
        signed=not grad_drop,
        clean=torch.tensor([clean for clean, _ in values]),
        corrupted=torch.tensor([corrupted for _, corrupted in values]),
        provenance=provenance_if_known(model),
        unembedding=unembedding_hash(model),
    )


def _scores(
    model: DifferentiableModel,
    task: PairTask,
    nodes: tuple[Site, ...],
    parts: list[float],
    *,
    qk_fix: bool,
    grad_drop: bool,
) -> tuple[_Scores, float]:
    """Scores of one pair, and the metric of its corrupted run."""
    n_layers = model.cfg.n_layers
    names = list(dict.fromkeys([EMBEDDED, *(site.hook for site in nodes)]))
    changes = pattern_changes(model, task, nodes) if qk_fix else {}
    sources = {name: _slope_of(name) for name in names}
    sources |= {change.hook: change.hook for change in changes.values()}
    last = f"blocks.{n_layers - 1}.hook_resid_post"
    wanted = list(dict.fromkeys(sources.values()))
    runs = TargetRuns(model, task, dict.fromkeys([*names, *wanted, last, *_added(n_layers)]))
    differences = {n: task.difference(task.given[n], runs.own[n]) for n in names}
    found = []
    for part in parts:
        graph = runs.towards(part, differences[EMBEDDED])
        measured = task.measure(graph[last][0])
        for layer in range(n_layers) if grad_drop else [None]:
            with _no_gradient_through(graph, layer):
                given = gradients(measured, {n: graph[n] for n in wanted}, retain_graph=True)
            slopes = {name: given[source] for name, source in sources.items()}
            slopes |= {n: torch.zeros_like(slopes[n]) for n in _added_by(layer) if n in slopes}
            found.append(_contract(nodes, differences, slopes, changes))
    scores = torch.stack(found)
    if not grad_drop:
        scores = scores.mean(0, keepdim=True)
    return scores, task.value(runs.own[last])


def _slope_of(name: str) -> str:
    """The hook whose gradient an activation has: within a block that of what attention adds."""
    return name.replace("hook_resid_mid", "hook_attn_out")


def _contract(
    nodes: tuple[Site, ...],
    differences: Mapping[str, Tensor],
    slopes: Mapping[str, Tensor],
    changes: Mapping[str, PatternChange],
) -> Float[Tensor, "n_sites pos"]:
    """Difference times gradient, summed over the features of each node."""
    products: dict[str, Tensor] = {}
    for name in dict.fromkeys(site.hook for site in nodes):
        if name in changes:
            products[name] = changes[name].scores(slopes[changes[name].hook])
            continue
        products[name] = torch.einsum(
            "p...d,p...d->...p", differences[name].float(), slopes[name].float()
        )
    rows = [
        products[site.hook] if site.head is None else products[site.hook][site.head]
        for site in nodes
    ]
    return torch.stack(rows)


class _no_gradient_through:
    """While it lasts, what one layer adds to the stream passes no gradient on.

    Its own gradient is still found; the caller takes that for zero.
    """

    def __init__(self, graph: Mapping[str, Tensor], layer: int | None) -> None:
        self._handles = [graph[n].register_hook(torch.zeros_like) for n in _added_by(layer)]

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()


def _added_by(layer: int | None) -> list[str]:
    return (
        [] if layer is None else [f"blocks.{layer}.hook_attn_out", f"blocks.{layer}.hook_mlp_out"]
    )


def _added(n_layers: int) -> list[str]:
    return [name for layer in range(n_layers) for name in _added_by(layer)]


def _method(steps: int, ends: Ends, *, qk_fix: bool, grad_drop: bool) -> str:
    if steps > 1:
        return f"integrated gradients, {steps_label(steps, ends)}"
    fixes = [n for n, on in (("QK fix", qk_fix), ("GradDrop", grad_drop)) if on]
    return " + ".join(["AtP", *fixes])


def _check_options(
    n_layers: int,
    kinds: Sequence[SiteKind],
    steps: int,
    ends: Ends,
    *,
    qk_fix: bool,
    grad_drop: bool,
) -> None:
    known = [kind for kind in SITE_KINDS if kind != "pattern"]
    if not kinds or not set(kinds) <= set(known):
        raise ValueError(
            f"attribute_nodes: got kinds {tuple(kinds)}, expected some of {known}. A pattern has "
            "no features that could be moved to another length; take q and k with qk_fix=True."
        )
    check_steps("attribute_nodes", steps, ends)
    if steps > 1 and (qk_fix or grad_drop):
        raise ValueError(
            f"attribute_nodes: got steps={steps} with qk_fix or grad_drop, expected one or the "
            "other: AtP* is defined for the corrupted run alone."
        )
    if qk_fix and not set(kinds) & {"q", "k"}:
        raise ValueError(
            f"attribute_nodes: got qk_fix=True for kinds {tuple(kinds)}, expected 'q' or 'k' among "
            "them: it changes no other."
        )
    if grad_drop and n_layers < 2:
        raise ValueError(
            f"attribute_nodes: got grad_drop=True for a model of {n_layers} layer, expected at "
            "least 2: it divides by the number of layers less one."
        )
