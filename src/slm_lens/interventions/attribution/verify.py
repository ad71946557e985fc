"""Really patching a node: the effect that attribution estimates."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from slm_lens.interventions.attribution._pair_task import PairTask, pair_task, provenance_if_known
from slm_lens.interventions.attribution._places import Place
from slm_lens.interventions.attribution._runs import Hook, record
from slm_lens.interventions.site import Site
from slm_lens.lens.jacobian import DifferentiableModel
from slm_lens.lens.logit_lens import LogitLens
from slm_lens.model.provenance import Provenance

if TYPE_CHECKING:
    from slm_lens.interventions.attribution.node_result import NodeAttribution


class NodePatcher:
    """Puts clean activations into corrupted runs, one node and place at a time.

    Args:
        model: the model that the scores were computed with.
        found: the scores.

    Raises:
        ValueError: another model.
    """

    def __init__(self, model: DifferentiableModel, found: "NodeAttribution") -> None:
        check_same_model(model, found.provenance, "NodeAttribution.top")
        self._model, self._found = model, found
        self._lens = LogitLens(model)
        self._tasks: dict[int, PairTask] = {}

    def effect(self, what: tuple[int, Site, Place]) -> float:
        """Metric with the clean activation, less that of the corrupted run."""
        number, site, place = what
        if number not in self._tasks:
            self._tasks[number] = pair_task(
                self._model,
                self._lens,
                self._found.pairs[number],
                self._found.metric,
                "denoising",
                self._found.fit,
            )
        return node_effect(self._model, self._tasks[number], site, place.positions)


def node_effect(
    model: DifferentiableModel, task: PairTask, site: Site, positions: tuple[int, ...]
) -> float:
    """Effect of putting the source run's activation into the target run.

    Args:
        model: the model.
        task: the pair; positions without a match keep the target run's activation.
        site: which activation.
        positions: positions of the target run.

    Returns:
        Metric with it, less the metric without.
    """
    last = f"blocks.{model.cfg.n_layers - 1}.hook_resid_post"
    source = record(model, task.source.tokens, [site.hook])[site.hook]
    target = record(model, task.target.tokens, [site.hook, last])
    change = torch.zeros_like(target[site.hook])
    difference = task.difference(source, target[site.hook])
    rows = list(positions)
    if site.head is None:
        change[rows] = difference[rows]
    else:
        change[rows, site.head] = difference[rows, site.head]
    patched = record(model, task.target.tokens, [last], hooks=[_adding(site, change)])
    return task.value(patched[last]) - task.value(target[last])


def _adding(site: Site, change: Tensor) -> Hook:
    """The hook that changes a site of a run in which nothing else is changed.

    TransformerLens' ``hook_resid_mid`` is the input of the second norm, past the branch: a change
    there reaches the MLP and not the stream. So it is made to what the attention adds.
    """
    name = f"blocks.{site.layer}.hook_attn_out" if site.kind == "resid_mid" else site.hook

    def hook(activation: Tensor, hook: Any) -> Tensor:  # noqa: ARG001 (given by name)
        return activation + change[None].to(activation)

    return name, hook


def check_same_model(model: Any, made_with: Provenance | None, caller: str) -> None:
    """Refuse another model than the one that scores were computed with.

    Args:
        model: the model.
        made_with: the scores' provenance.
        caller: the public function, to begin messages with.

    Raises:
        ValueError: it has another provenance.
    """
    now = provenance_if_known(model)
    if now != made_with:
        raise ValueError(
            f"{caller}: got a model that differs from the one that the scores are of ({now}), "
            f"expected {made_with}. Give the same model, without other hooks, or compute them anew."
        )
