"""Edge attribution: what each writer's output does through each reader, on grouped queries too.

``score(w -> r) = (w[clean] - w[corrupted]) . dM/d(input of r)``, by position, with gradients of the
corrupted run (denoising; as transformer-lens), or their mean over runs between corrupted and clean
embeddings (integrated gradients over the inputs, EAP-IG). It estimates the effect of giving r, and
only r, the clean output of w. All edges out of a writer sum to its node score, so with many
steps those out of the embeddings sum to the difference of the metric.

Two forwards and one backward for each pair and step. Scores are sums of products of
``[writer, pos, d_model]`` and ``[reader, pos, d_model]``, two blocks at a time: what is held for
all blocks are activations and gradients as the model has them, never one vector for each pair of
writer and reader, and at most `memory_mb` for heads written out into the stream.

transformer-lens' edges (equal numbers of heads and key heads, equal lengths, one step) and a
model whose key and value heads are written out are the oracles of the tests.

Source: Syed, Rager and Conmy 2023, arXiv:2310.10348 (EAP); Hanna, Pezzelle and Belinkov 2024,
arXiv:2403.17806 (EAP-IG). Groups, words and unequal lengths are ours.
"""

from collections.abc import Callable, Mapping, Sequence

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
from slm_lens.interventions.attribution._places import membership, places
from slm_lens.interventions.attribution._readers import (
    graph_hooks,
    reader_gradients,
    slope_hooks,
)
from slm_lens.interventions.attribution._runs import EMBEDDED, gradients
from slm_lens.interventions.attribution._steps import Ends, check_steps, parts_of, steps_label
from slm_lens.interventions.attribution._target_runs import TargetRuns
from slm_lens.interventions.attribution._writers import require_sum, writer_hooks, written
from slm_lens.interventions.attribution.edge_result import EdgeAttribution
from slm_lens.interventions.attribution.graph import ResidualGraph, residual_graph
from slm_lens.interventions.metrics import Metric
from slm_lens.interventions.pairs.moving import Fit
from slm_lens.interventions.pairs.run_pair import RunPair
from slm_lens.interventions.patching.patch_pairs import At
from slm_lens.lens.jacobian import DifferentiableModel
from slm_lens.lens.logit_lens import LogitLens
from slm_lens.lens.tuned_lens import unembedding_hash


def attribute_edges(
    model: DifferentiableModel,
    pairs: Sequence[RunPair],
    metric: Metric,
    *,
    at: At = "all",
    fit: Fit = "warp",
    steps: int = 1,
    ends: Ends = "corrupted",
    memory_mb: int = 1024,
    progress: bool = True,
) -> EdgeAttribution:
    """Score every edge from a writer to a reader of the residual stream.

    Args:
        model: the model, in evaluation mode; it is not changed.
        pairs: clean and corrupted runs.
        metric: what is measured; it must have gradients.
        at: what scores are summed over: ``"all"`` positions, ``"roles"`` those of the words of
            one role, ``"words"`` those of a word, ``"positions"`` nothing.
        fit: how words of unequal length are brought together.
        steps: runs over which gradients are averaged; 1 is EAP, more is EAP-IG.
        ends: which end is among them: steps ``k/m`` of the way with k from 0 to m - 1
            (``"corrupted"``), or from 1 to m (``"clean"``).
        memory_mb: how much, in 10^6 bytes, the outputs of all heads may take at once; above that
            they are computed again for each block of readers.
        progress: show a progress bar, if the standard output is a terminal.

    Returns:
        The scores.

    Raises:
        ValueError: training mode, no pair or two of one name, a metric without gradients, an
            unknown fit, end or `at`, no step, or a model whose stream is not the sum of what its
            heads and MLPs write, or has other readers.
    """  # noqa: DOC502 (raised by the checks)
    question = Question(tuple(pairs), metric, fit)
    check_question(model, question, "attribute_edges", gradients=True)
    check_steps("attribute_edges", steps, ends)
    graph, lens = residual_graph(model), LogitLens(model)
    scores, values = [], []
    with shown_steps(question.pairs, "attributing edges", shown=progress) as each:
        for pair in each:
            where = places(pair, "denoising", at, "attribute_edges")
            task = pair_task(
                model, lens, question, pair, "denoising", writer_hooks(model.cfg.n_layers)
            )
            inside = membership(where, len(pair.corrupted))
            found, value = _scores(model, task, graph, inside, parts_of(steps, ends), memory_mb)
            scores.append(found.cpu())
            values.append((task.source_value, value))
    return EdgeAttribution(
        question=question,
        method=f"EAP-IG, {steps_label(steps, ends)}" if steps > 1 else "EAP",
        graph=graph,
        at=at,
        scores=tuple(scores),
        clean=torch.tensor([clean for clean, _ in values]),
        corrupted=torch.tensor([corrupted for _, corrupted in values]),
        provenance=provenance_if_known(model),
        unembedding=unembedding_hash(model),
    )


def _scores(
    model: DifferentiableModel,
    task: PairTask,
    graph: ResidualGraph,
    inside: Float[Tensor, "n_places pos"],
    parts: list[float],
    memory_mb: int,
) -> tuple[Float[Tensor, "n_writers n_readers n_places"], float]:
    """Scores of one pair, and the metric of its corrupted run."""
    n_layers = model.cfg.n_layers
    last = f"blocks.{n_layers - 1}.hook_resid_post"
    names = [*writer_hooks(n_layers), last]
    runs = TargetRuns(model, task, dict.fromkeys([*names, *graph_hooks(n_layers)]))
    differences = {name: task.difference(task.given[name], runs.own[name]) for name in names}
    require_sum(model, runs.own, runs.own[last], "attribute_edges")
    vectors = _vectors(model, differences, len(graph.writers), memory_mb)
    total = torch.zeros(*graph.edges.shape, len(inside), device=differences[EMBEDDED].device)
    inside = inside.to(total.device)
    for part in parts:
        run = runs.towards(part, differences[EMBEDDED])
        measured = task.measure(run[last][0])
        slopes = gradients(measured, {n: run[n] for n in slope_hooks(n_layers)}, retain_graph=True)
        for layer in range(n_layers + 1):
            readers = reader_gradients(model, run, slopes, layer)
            for earlier in range(-1, min(layer + 1, n_layers)):
                rows, columns = graph.writers_of(earlier), graph.readers_of(layer)
                products = torch.einsum("wpd,rpd->wrp", vectors(earlier), readers)
                total[rows, columns] += products @ inside.T
    total *= graph.edges[..., None].to(total.device) / len(parts)
    return total, task.value(runs.own[last])


def _vectors(
    model: DifferentiableModel,
    differences: Mapping[str, Tensor],
    n_writers: int,
    memory_mb: int,
) -> Callable[[int], Float[Tensor, "n_writers pos d_model"]]:
    """What the writers of a block wrote, kept if all of it fits."""
    fits = 4 * n_writers * differences[EMBEDDED].numel() <= memory_mb * 1e6
    kept: dict[int, Tensor] = {}

    def vectors(layer: int) -> Tensor:
        if layer in kept:
            return kept[layer]
        found = written(model, differences, layer)
        if fits:
            kept[layer] = found
        return found

    return vectors
